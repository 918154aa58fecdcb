"""What is done to frames, sound and pairs of clips on their way into a batch."""
