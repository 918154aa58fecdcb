"""Prediction on files."""

from vmmjax.serving.classes import kinetics_classes

__all__ = ['kinetics_classes']
