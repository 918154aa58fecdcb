"""How results look: pages, plots, tables, TensorBoard."""
