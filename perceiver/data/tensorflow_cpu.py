"""TensorFlow for input pipelines only: on the CPU, and quiet.

Every module of this package takes ``tf`` from here. TensorFlow would otherwise reserve nearly all
memory of each GPU, which the model needs, and log a line for each iterator that it saves.
"""

import os

# TensorFlow reads these as it is imported. oneDNN would speed up layers, which pipelines have none
# of, and announces itself.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf

tf.config.set_visible_devices([], "GPU")

__all__ = ["tf"]
