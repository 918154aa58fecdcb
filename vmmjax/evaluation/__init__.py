"""How good a trained model is: exact predictions, metrics, every subset of its streams, and a report."""
