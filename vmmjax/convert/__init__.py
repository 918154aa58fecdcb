"""Published checkpoints to vmmjax and back, with a report that names every tensor."""

from vmmjax.convert.export import export
from vmmjax.convert.load import load, load_pretrained
from vmmjax.convert.report import Entry, Loaded, Report

__all__ = ['Entry', 'Loaded', 'Report', 'export', 'load', 'load_pretrained']
