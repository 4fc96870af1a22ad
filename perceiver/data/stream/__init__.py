"""Examples in order, as batches: the training stream and its position, evaluation, records."""
