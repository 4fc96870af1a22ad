"""Configs: plain values, one file per data set, each with `VARIANTS` and `get_config(variant)`."""
