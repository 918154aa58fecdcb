"""Begins a run with the parameters of others."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.training import lora, path_patterns
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.distributed import say
from vmmjax.training.fitting import fitted
from vmmjax.training.state import TrainState

GROWN = object()
"""How an array with a last axis of classes fits one that has further classes behind them."""


def grown(workdir: str, classes: Any) -> Any:
    """The names of the outputs of the run in a workdir, the first of several, and behind them those that it lacks.

    Args:
      workdir: `config.init_from.workdir`.
      classes: of a store; of several targets by target.

    Raises:
      UserError: where no run is, or one with other targets.
    """
    folder = workdir.split(',')[0]
    step = Checkpoints(Path(folder)).newest() if folder else None
    if step is None:
        raise UserError(f'config.init_from.classes takes the classes of a run, and config.init_from.workdir is '
                        f'{folder!r}, where no checkpoint is.')
    known = Checkpoints(Path(folder)).meta(step)['classes']
    if isinstance(known, Mapping) != isinstance(classes, Mapping) or (
            isinstance(classes, Mapping) and classes.keys() != known.keys()):
        raise UserError(f'The run in {folder} has other targets than config.data.target; leave '
                        f'config.init_from.classes out.')
    if isinstance(classes, Mapping):
        return {target: _behind(known[target], names) for target, names in classes.items()}
    return _behind(known, classes)


def _behind(known: Sequence[str], names: Sequence[str]) -> list[str]:
    return [*known, *(name for name in names if name not in known)]


def _sizes(classes: Any) -> list[int]:
    """How many names there are of each target."""
    return [len(names) for names in classes.values()] if isinstance(classes, Mapping) else [len(classes)]


def load(state: TrainState, workdirs: Sequence[Path], skip: Sequence[str], rename: Sequence[tuple[str, str]] = (),
         fit: Sequence[tuple[str, Any]] = (), task: str = '', classes: Any = None) -> TrainState:
    """The state with parameters and running statistics of the newest checkpoints of other runs.

    Where another run has adapted kernels by low-rank factors, they are merged.

    Args:
      state: freshly initialised; its moving averages stay those of what it was.
      workdirs: of the runs to begin from, such as one for each encoder; what several have is the first one's.
      skip: path patterns that stay as initialised, such as a head for other classes.
      rename: (path pattern, replacement): where in the other runs that is which has this path here, by `re.sub`; the
        first pair whose pattern is found counts. Several arrays may begin with the same one.
      fit: (path pattern, how): arrays that have another shape there, see `fitting.fitted`.
      task: `config.task.name` of this run. What only training needs (`task_training`, `lora`) stays as initialised, and
        so does what prediction of a task needs (`task`) where another run has another task.
      classes: the names of this run's outputs, from `grown`: what the first run has for its own (the last axis of
        heads) is taken bit for bit, and what is behind them stays as initialised. None: heads are of one size.

    Raises:
      UserError: names every array that is missing there or has another shape; nothing is left out silently.
    """
    wanted = {'params': state.params, 'model_state': state.model_state}
    skipped, renamed, refitted = (
        jax.tree.leaves(path_patterns.first_match(patterns, wanted, f'config.init_from.{key}')) for key, patterns in (
            ('skip', list(skip)), ('rename', [pattern for pattern, _ in rename]),
            ('fit', [pattern for pattern, _ in fit])))
    left, there, how, own = {}, {}, {}, 0
    for (path, leaf), skips, renames, fits in zip(jax.tree_util.tree_leaves_with_path(wanted), skipped, renamed,
                                                  refitted, strict=True):
        name = path_patterns.name(path)
        if _part(name) in ('task_training', lora.LORA):
            own += 1
        elif skips < 0:
            left[name] = leaf
            there[name] = _renamed(name, *rename[renames]) if renames >= 0 else name
            how[name] = fit[fits][1] if fits >= 0 else None
    loaded: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for workdir in workdirs:
        checkpoints = Checkpoints(workdir)
        step = checkpoints.newest()
        if step is None:
            raise UserError(f'config.init_from.workdir names {workdir}, where no checkpoint is.')
        shapes = checkpoints.shapes(step)
        own_task = [name for name in left if _part(name) == 'task']
        if own_task and (other := json.loads(checkpoints.meta(step)['config'])['task'].get('name')) != task:
            say(f'{len(own_task)} arrays of the task stay as initialised: {workdir} has the task {other}.')
            left = {name: leaf for name, leaf in left.items() if name not in own_task}
        if classes is not None:
            sizes = set(zip(_sizes(checkpoints.meta(step)['classes']), _sizes(classes), strict=False))
            how |= {name: GROWN for name, leaf in left.items() if how[name] is None and (
                before := shapes.get(there[name], leaf.shape)) != leaf.shape and before[:-1] == leaf.shape[:-1]
                and (before[-1], leaf.shape[-1]) in sizes}
        take = [name for name, leaf in left.items() if there[name] in shapes
                and (how[name] is not None or shapes[there[name]] == leaf.shape)]
        faults |= {name: f'{_called(name, there)} has shape {shapes[there[name]]} there and {leaf.shape} here'
                   if there[name] in shapes else faults.get(name, f'{_called(name, there)} is not there')
                   for name, leaf in left.items()}
        begun = _merged(checkpoints, step, shapes, {
            there[name]: _like(left[name], shapes[there[name]]) for name in take}) if take else {}
        for name in take:
            array, leaf = begun[there[name]], left[name]
            if how[name] == GROWN:
                loaded[name] = jax.jit(lambda old, new: jnp.concatenate([old, new[..., old.shape[-1]:]], -1),
                                       out_shardings=leaf.sharding)(array, leaf)
            elif how[name] is not None:
                loaded[name] = _placed(fitted(np.asarray(array), leaf.shape, how[name], name), leaf)
            else:
                # In a place of its own, where others begin with it, too: the step takes its arrays over.
                loaded[name] = jax.device_put(jnp.copy(array), leaf.sharding) if there[name] != name else array
        left = {name: leaf for name, leaf in left.items() if name not in loaded}
        say(f'Began with {len(take)} arrays of {workdir} at step {step}.')
    if left:
        raise UserError(f'The checkpoint of {", ".join(map(str, workdirs))} does not fit: '
                        f'{"; ".join(faults[name] for name in left)}. What shall stay as initialised is named by '
                        f'config.init_from.skip.')
    merged = jax.tree_util.tree_map_with_path(lambda path, leaf: loaded.get(path_patterns.name(path), leaf), wanted)
    say(f'{len(jax.tree.leaves(wanted)) - len(loaded)} arrays stay as initialised'
        f'{f", {own} of them of what only training needs (task_training, lora)" if own else ""}.')
    return dataclasses.replace(state, params=merged['params'], model_state=merged['model_state'])


def _merged(checkpoints: Checkpoints, step: int, shapes: Mapping[str, tuple[int, ...]], wanted: dict[str, Any]
            ) -> dict[str, jax.Array]:
    """Arrays of a checkpoint by name, with the products of the factors that it has for some of them."""
    pairs = {name: [name.replace('params/', f'params/{lora.LORA}/', 1) + f'/{part}' for part in 'ab']
             for name in wanted if name.startswith('params/')}
    pairs = {name: pair for name, pair in pairs.items() if pair[0] in shapes}
    factors = {factor: _like(wanted[name], shapes[factor]) for name, pair in pairs.items() for factor in pair}
    found = checkpoints.restore_arrays(step, {**wanted, **factors})
    if pairs:
        options = configs.from_json(checkpoints.meta(step)['config']).lora
        for name, (a, b) in pairs.items():
            found[name] = lora.added(found[name], found[a], found[b], options)
    return {name: found[name] for name in wanted}


def _part(name: str) -> str:
    """`head` of `params/head/kernel` and of `model_state/batch_stats/head/mean`: what stands first in a collection."""
    parts = name.split('/')
    return parts[1] if parts[0] == 'params' else parts[2] if len(parts) > 2 else ''


def _renamed(name: str, pattern: str, replacement: str) -> str:
    try:
        return re.sub(pattern, replacement, name)
    except re.error as error:
        raise UserError(f'config.init_from.rename has {replacement!r} in place of {pattern!r}: {error}.') from error


def _called(name: str, there: Mapping[str, str]) -> str:
    """The name of an array here, and in the other run where that is another."""
    return name if there[name] == name else f'{name}, {there[name]} there,'


def _like(leaf: jax.Array, shape: tuple[int, ...]) -> Any:
    """What is to be restored in place of a leaf: where it has another shape, whole on every device."""
    where = leaf.sharding
    if leaf.shape != shape and isinstance(where, NamedSharding):
        where = NamedSharding(where.mesh, PartitionSpec())
    return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=where)


def _placed(array: np.ndarray, leaf: jax.Array) -> jax.Array:
    """An array that all processes have, sharded as the leaf is."""
    whole = array.astype(leaf.dtype)
    return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: whole[index])
