"""Prediction on files, and what it rests on."""

from vmmjax.serving.classes import kinetics_classes

__all__ = ['kinetics_classes']
