"""Point clouds: loaders of ModelNet40 and of a user's files, and their augmentation (Sec. 4.3)."""
