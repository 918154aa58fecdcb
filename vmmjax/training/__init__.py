"""Mesh and sharding, state, optimizer, the step, the loop, device prefetch, checkpoints."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmmjax.training.checkpoint import Checkpoints
    from vmmjax.training.loop import train
    from vmmjax.training.objective import Context, Loss, Objective
    from vmmjax.training.players import Player, Players
    from vmmjax.training.sharding import make_mesh, state_shardings
    from vmmjax.training.state import TrainState
    from vmmjax.training.step import make_eval_step, make_train_step

__all__ = ['Checkpoints', 'Context', 'Loss', 'Objective', 'Player', 'Players', 'TrainState', 'make_eval_step',
           'make_mesh', 'make_train_step', 'state_shardings', 'train']

_MEMBERS = {'Checkpoints': 'checkpoint', 'Context': 'objective', 'Loss': 'objective', 'Objective': 'objective',
            'Player': 'players', 'Players': 'players', 'TrainState': 'state', 'make_eval_step': 'step',
            'make_mesh': 'sharding', 'make_train_step': 'step', 'state_shardings': 'sharding', 'train': 'loop'}


def __getattr__(name: str) -> Any:
    # Found when first asked for (PEP 562): who needs the mesh alone does not wait for Orbax and Optax.
    if name not in _MEMBERS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_MEMBERS[name]}'), name)
