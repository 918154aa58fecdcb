"""A store to clip batches with tf.data: streams, sampling, targets, tokenizers, folds, views. No JAX."""
