"""The training loop: one page, one way."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vmmjax.errors import UserError
from vmmjax.objectives import Objective
from vmmjax.objectives.base import Apply
from vmmjax.training import optimizer as optimizers
from vmmjax.training import sharding, sharding_table, warmstart, workdir
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.log import Log
from vmmjax.training.prefetch import to_device
from vmmjax.training.state import TrainState, initializer
from vmmjax.training.step import compile_train_step, make_train_step


def train(config: Any, folder: Path, *, mesh: jax.sharding.Mesh, apply: Apply,
          init: Callable[[jax.Array], Any], objective: Objective,
          batches: Callable[[int], Iterator[Mapping[str, np.ndarray]]],
          evaluate: Callable[[TrainState], dict[str, float]], identity: dict[str, Any],
          allow_changed: Sequence[str] = ()) -> TrainState:
    """Trains to `config.steps`, from the newest whole checkpoint in the folder where there is one.

    Args:
      config: see `vmmjax.config.defaults`.
      folder: the workdir; the caller holds it.
      mesh: from `make_mesh`.
      apply: the model on a raw clip batch.
      init: the model's variables from a key.
      objective: what is minimised.
      batches: an endless iterator of this process's rows, from a given step on.
      evaluate: measures the state; its values, where there are any, are logged.
      identity: what a resumed run must find unchanged: see `workdir.check_same_run`.
      allow_changed: config keys that may differ from the checkpoint's.

    Returns:
      The state after the last step.

    Raises:
      UserError: for a workdir of another run, and where the loss is no longer finite.
    """
    key = jax.random.key(config.seed)
    optimizer = optimizers.create(config)
    create = initializer(init, optimizer, use_ema=config.ema_decay > 0,
                         scale_loss=config.model.dtype == 'float16')
    abstract = jax.eval_shape(create, key)
    shardings = sharding.state_shardings(abstract, mesh, config.sharding)
    checkpoints = Checkpoints(folder, config.keep_checkpoints)
    newest = checkpoints.newest()
    if newest is None:
        # Drawing weights once is not worth half a minute of optimisation by the CPU's compiler.
        quick = {'xla_backend_optimization_level': 0} if jax.default_backend() == 'cpu' else None
        state = jax.jit(create, out_shardings=shardings, compiler_options=quick)(key)
        if config.init_from.workdir:
            state = warmstart.load(state, Path(config.init_from.workdir), tuple(config.init_from.skip))
    else:
        workdir.check_same_run(folder, checkpoints.meta(newest), identity, allow_changed)
        print(f'Going on from step {newest} of {folder}.', flush=True)
        state = checkpoints.restore(newest, jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
            abstract, shardings))
    checkpoints.discard_after(newest)

    step_function = compile_train_step(
        make_train_step(apply, objective, optimizer, seed=config.seed, freeze=tuple(config.freeze),
                        ema_decay=config.ema_decay, microbatches=config.microbatches,
                        rows=sharding.batch_sharding(mesh)), mesh, shardings)
    schedule = optimizers.learning_rate(config.optimizer.lr, config.steps)
    start = newest or 0
    feed = to_device(batches(start), sharding.batch_sharding(mesh))
    if start < config.steps:
        count = sum(leaf.size for leaf in jax.tree.leaves(abstract.params))
        if mesh.size > 1:
            print(sharding_table.table(abstract, shardings))
        print(f'{count:,} parameters on {mesh.size} device(s); compiling the first step.', flush=True)
    with closing(checkpoints), Log(folder, config.steps, start) as log:
        pending: list[dict[str, jax.Array]] = []
        began = time.monotonic()
        for step in range(start + 1, config.steps + 1):
            state, metrics = step_function(state, next(feed))
            pending.append(metrics)
            last = step == config.steps
            if step % config.log_every == 0 or last:
                # The only fetch from the device between evaluations.
                values = {f'train/{name}': float(np.mean([float(each[name]) for each in pending]))
                          for name in pending[0]}
                seconds, count = time.monotonic() - began, len(pending)
                log.write(step, {**values, 'learning_rate': float(schedule(step - 1)),
                                 'clips_per_second': count * config.batch_size / seconds})
                if not np.isfinite(values['train/loss']):
                    raise UserError(f'The loss is {values["train/loss"]} at step {step}; lower '
                                    f'config.optimizer.lr.peak and start again in another workdir.')
                pending, began = [], time.monotonic()
            if last or (config.evaluate_every and step % config.evaluate_every == 0):
                paused = time.monotonic()
                if values := evaluate(state):
                    log.write(step, values)
                began += time.monotonic() - paused
            if last or step % config.checkpoint_every == 0:
                checkpoints.save(state, identity)
    return state
