"""What a prediction rests on: which streams, and where and when in them. No network is changed for it."""
