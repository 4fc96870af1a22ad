"""Pictures: loaders of ImageNet, folders and TFDS data sets, and their augmentation (Sec. 4.1)."""
