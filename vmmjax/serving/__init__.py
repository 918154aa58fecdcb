"""Prediction on files."""
