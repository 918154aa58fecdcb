"""The first tokens of every vocabulary that is written, as `pipeline.text_targets` numbers them."""

PAD_ID = 0
"""Padding; also CTC's blank, and what stands before a text."""
END_ID = 1
"""The end of a text; CTC never says it."""
UNKNOWN_ID = 2
"""What the vocabulary lacks."""
