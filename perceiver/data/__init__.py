"""Input pipelines: data sets as tf.data graphs that yield batches of NumPy arrays.

``registry`` loads a data set by its name, ``dataset`` defines what a loader returns and
``single_files`` reads files outside any data set. These three and ``errors`` import without
TensorFlow: they import a loader or the stream of batches when it is needed.
"""
