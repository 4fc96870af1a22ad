"""Decoding clips and writing them as a TFDS data set (Sec. 4.2)."""
