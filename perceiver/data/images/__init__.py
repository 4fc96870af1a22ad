"""Pictures: ImageNet, folders and TFDS data sets, and what is done to them (Sec. 4.1)."""
