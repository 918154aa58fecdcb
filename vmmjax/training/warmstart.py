"""Begins a run with the parameters of others."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from vmmjax.errors import UserError
from vmmjax.training import paths
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.distributed import say
from vmmjax.training.state import TrainState


def load(state: TrainState, workdirs: Sequence[Path], skip: tuple[str, ...]) -> TrainState:
    """The state with parameters and running statistics of the newest checkpoints of other runs.

    Args:
      state: freshly initialised.
      workdirs: of the runs to begin from, such as one for each encoder; what several have is the first one's.
      skip: path patterns that stay as initialised, such as a head for other classes.

    Raises:
      UserError: names every array that is missing there or has another shape; nothing is left out silently.
    """
    wanted = {'params': state.params, 'model_state': state.model_state}
    skipped = paths.first_match(list(skip), wanted, 'config.init_from.skip')
    left = {paths.name(path): leaf for (path, leaf), match in
            zip(jax.tree_util.tree_leaves_with_path(wanted), jax.tree.leaves(skipped), strict=True) if match < 0}
    loaded: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for workdir in workdirs:
        checkpoints = Checkpoints(workdir)
        step = checkpoints.newest()
        if step is None:
            raise UserError(f'config.init_from.workdir names {workdir}, where no checkpoint is.')
        shapes = checkpoints.shapes(step)
        take = {name: leaf for name, leaf in left.items() if shapes.get(name) == leaf.shape}
        faults |= {name: f'{name} has shape {shapes[name]} there and {leaf.shape} here' if name in shapes else
                   faults.get(name, f'{name} is not there') for name, leaf in left.items()}
        left = {name: leaf for name, leaf in left.items() if name not in take}
        loaded |= checkpoints.restore_arrays(step, take) if take else {}
        say(f'Began with {len(take)} arrays of {workdir} at step {step}.')
    if left:
        raise UserError(f'The checkpoint of {", ".join(map(str, workdirs))} does not fit: '
                        f'{"; ".join(faults[name] for name in left)}. What shall stay as initialised is named by '
                        f'config.init_from.skip.')
    merged = jax.tree_util.tree_map_with_path(lambda path, leaf: loaded.get(paths.name(path), leaf), wanted)
    say(f'{len(jax.tree.leaves(wanted)) - len(loaded)} arrays stay as initialised.')
    ema = None if state.ema is None else jax.tree.map(lambda leaf: leaf.copy(), merged['params'])
    return dataclasses.replace(state, params=merged['params'], model_state=merged['model_state'], ema=ema)
