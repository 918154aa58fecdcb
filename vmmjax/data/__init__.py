"""Arrays to columns in a store, and a store to clip batches. No JAX."""
