"""Begins a run with another run's parameters."""

import dataclasses
from pathlib import Path
from typing import Any

import jax

from vmmjax.errors import UserError
from vmmjax.training import paths
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.state import TrainState


def load(state: TrainState, workdir: Path, skip: tuple[str, ...]) -> TrainState:
    """The state with parameters and running statistics of the newest checkpoint in `workdir`.

    Args:
      state: freshly initialised.
      workdir: of the run to begin from.
      skip: path patterns that stay as initialised, such as a head for other classes.

    Raises:
      UserError: names every array that is missing there or has another shape; nothing is left out silently.
    """
    checkpoints = Checkpoints(workdir)
    step = checkpoints.newest()
    if step is None:
        raise UserError(f'config.init_from.workdir names {workdir}, where no checkpoint is.')
    wanted = {'params': state.params, 'model_state': state.model_state}
    skipped = paths.first_match(list(skip), wanted, 'config.init_from.skip')
    shapes = checkpoints.shapes(step)
    take: dict[str, Any] = {}
    faults = []
    for (path, leaf), match in zip(jax.tree_util.tree_leaves_with_path(wanted), jax.tree.leaves(skipped),
                                   strict=True):
        name = paths.name(path)
        if match >= 0:
            continue
        if name not in shapes:
            faults.append(f'{name} is not there')
        elif shapes[name] != leaf.shape:
            faults.append(f'{name} has shape {shapes[name]} there and {leaf.shape} here')
        else:
            take[name] = leaf
    if faults:
        raise UserError(f'The checkpoint of {workdir} does not fit: {"; ".join(faults)}. What shall stay as '
                        f'initialised is named by config.init_from.skip.')
    loaded = checkpoints.restore_arrays(step, take)
    merged = jax.tree_util.tree_map_with_path(lambda path, leaf: loaded.get(paths.name(path), leaf), wanted)
    print(f'Began with {len(loaded)} arrays of {workdir} at step {step}; '
          f'{len(jax.tree.leaves(wanted)) - len(loaded)} stay as initialised.', flush=True)
    ema = None if state.ema is None else jax.tree.map(lambda leaf: leaf.copy(), merged['params'])
    return dataclasses.replace(state, params=merged['params'], model_state=merged['model_state'], ema=ema)
