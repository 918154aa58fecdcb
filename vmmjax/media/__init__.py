"""Files to arrays: pictures, sound and motion out of media files, and clips written. No JAX, no TensorFlow."""
