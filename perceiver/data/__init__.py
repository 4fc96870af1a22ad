"""Input pipelines: data sets as tf.data graphs, NumPy batches out.

Nothing is imported here, so that ``perceiver.data.errors`` can be had without TensorFlow.
``perceiver.data.registry`` finds a data set by name and ``perceiver.data.stream.batches`` turns it
into batches.
"""
