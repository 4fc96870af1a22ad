"""TensorFlow for input pipelines only: on the CPU, and quiet.

Every module of this package takes ``tf`` from here. TensorFlow would otherwise reserve nearly all
memory of each GPU, which the model needs, and log a line for each iterator that it saves.
"""

import os

# TensorFlow reads this as it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

import tensorflow as tf

tf.config.set_visible_devices([], "GPU")

__all__ = ["tf"]
