"""Imports TensorFlow for input pipelines: on the CPU only, and with fewer log lines.

Every module of this package imports ``tf`` from here. Otherwise TensorFlow would reserve nearly all
GPU memory, which the model needs, and log a line for each saved iterator.
"""

import os

# TensorFlow reads these variables when it is imported. oneDNN, which logs a line, speeds up network
# layers only, and pipelines have none.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf

tf.config.set_visible_devices([], "GPU")

__all__ = ["tf"]
