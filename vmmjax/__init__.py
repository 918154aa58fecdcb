"""Multimodal video understanding in JAX: frames, motion, sound and words in one model."""

import importlib
from typing import TYPE_CHECKING, Any

from vmmjax import renamed

if TYPE_CHECKING:
    from vmmjax.convert import load_pretrained
    from vmmjax.experiment import Experiment
    from vmmjax.models import create_model, list_models
    from vmmjax.prepare.array_store import ArrayStore

renamed.install()

__version__ = '0.2.0'
__all__ = ['ArrayStore', 'Experiment', 'create_model', 'list_models', 'load_pretrained']

_MEMBERS = {'ArrayStore': 'prepare.array_store', 'Experiment': 'experiment', 'create_model': 'models',
            'list_models': 'models', 'load_pretrained': 'convert'}
_MODULES = ('config', 'convert', 'evaluation', 'media', 'models', 'ops', 'pipeline', 'planning', 'prepare', 'reports',
            'serving', 'store', 'tasks', 'training')


def __getattr__(name: str) -> Any:
    # Found when first asked for (PEP 562): `import vmmjax` alone must not cost the import of JAX.
    if name in _MEMBERS:
        return getattr(importlib.import_module(f'vmmjax.{_MEMBERS[name]}'), name)
    if name == 'distributed':  # `vmmjax.distributed.initialize()`.
        return importlib.import_module('vmmjax.training.distributed')
    if name in _MODULES:
        return importlib.import_module(f'vmmjax.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_MODULES, 'distributed'])
