"""Plain values, one file a data set, each with `VARIANTS` and `get_config(variant)`."""
