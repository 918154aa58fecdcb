"""The training loop: one page, one way."""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vmmjax.training import optimizer as optimizers
from vmmjax.training import runtime, sharding, workdir
from vmmjax.training.build import Built, build
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.distributed import Preempted, preemption, say
from vmmjax.training.early_stopping import Evaluations
from vmmjax.training.log import Log
from vmmjax.training.metric_buffer import Unfetched
from vmmjax.training.objective import Apply, Objective
from vmmjax.training.profile import Profile
from vmmjax.training.sharding import to_device
from vmmjax.training.state import TrainState, parameters
from vmmjax.training.throughput import Meter


def train(config: Any, folder: Path, *, mesh: jax.sharding.Mesh, apply: Apply,
          init: Callable[[jax.Array], Any], objective: Objective,
          batches: Callable[[int], Iterator[Mapping[str, np.ndarray]]],
          evaluate: Callable[[TrainState], dict[str, float]], identity: dict[str, Any],
          allow_changed: Sequence[str] = (), complete: Callable[[Any], Any] | None = None) -> TrainState:
    """Trains to `config.steps`, from the newest whole checkpoint in the folder where there is one.

    Args:
      config: see `vmmjax.config.defaults`.
      folder: the workdir; the caller holds it.
      mesh: from `make_mesh`.
      apply: the model on a raw clip batch.
      init: the model's variables from a key.
      objective: what is minimised.
      batches: an endless iterator of this process's rows, from a given step on; each with `id` (B,).
      evaluate: measures the state, once its checkpoint is whole; its figures, where there are any, are logged.
      identity: what a resumed run must find unchanged: see `workdir.check_same_run`.
      allow_changed: config keys that may differ from the checkpoint's.
      complete: adds to a batch on the devices what else the objective reads, such as what a teacher says of it.

    Returns:
      The state after the last step.

    Raises:
      UserError: for a workdir of another run, after too many steps without finite gradients, and where the last
        checkpoint cannot be written.
      Preempted: after SIGTERM, once the state is saved.
    """
    began = time.monotonic()
    built = build(config, mesh, apply, init, objective)
    checkpoints = Checkpoints(folder, config.keep_checkpoints)
    newest = checkpoints.newest()
    start, meta = newest or 0, {} if newest is None else checkpoints.meta(newest)
    cores = runtime.cores()
    evaluations = Evaluations(config.best, folder, start, meta.get('best'))
    if newest is None:
        state = _first(config, built, identity['classes'])
    else:
        workdir.check_same_run(folder, meta, identity, allow_changed)
        say(f'Going on from step {newest} of {folder}.')
        if None not in (before := meta.get('cores'), cores) and before != cores:
            say(f'Steps to here were computed on {before} CPU cores, and from here on {cores}: sums are added up in '
                f'another order, and the result differs in its last bits.')
        state = checkpoints.restore(newest, built.spec)
    checkpoints.discard_after(newest)

    def due(step: int) -> bool:
        return step == config.steps or bool(config.evaluate_every and step % config.evaluate_every == 0)

    with (closing(checkpoints), Log(folder, config.steps, start, config.wandb) as log, preemption() as preempted,
          Profile(folder, config.profile) as profile):

        def measure(step: int, saved: bool = True) -> None:
            if figures := evaluate(state):
                log.write(step, figures)
                if saved:
                    evaluations.add(step, figures)

        if newest is not None and due(newest) and not evaluations.has(newest):
            measure(newest)  # It failed, or the run was killed in it.
        schedule = optimizers.learning_rate(config.optimizer.lr, config.steps)
        steps = range(start + 1, (start if evaluations.exhausted else config.steps) + 1)
        feed: Iterator[Any] = to_device(batches(start), sharding.batch_sharding(mesh))
        if complete is not None:
            feed = map(complete, feed)
        step_function: Any = None
        if steps:
            first = next(feed)
            step_function = _compiled(built, mesh, state, first)
            feed = itertools.chain([first], feed)
        unfetched = Unfetched(folder, config.max_skipped)
        meter = Meter(config.batch_size, step_function, began, log.elapsed, log.goodput, config.microbatches)
        metrics: Any = {}
        for step in steps:
            profile.before(step)
            with meter.waiting(metrics):
                batch = next(feed)
            state, metrics = step_function(state, batch)
            unfetched.add(step, metrics, batch['id'])
            profile.after(step, metrics)
            last, stop = step == config.steps, preempted(step)
            if last or stop or step % config.log_every == 0:
                # The only fetch from the device between evaluations.
                means = {f'train/{name}': value for name, value in unfetched.fetch().items()}
                log.write(step, {**means, 'learning_rate': float(schedule(step - 1)), **meter.interval()})
            if due(step) or stop or step % config.checkpoint_every == 0:
                with meter.apart():
                    checkpoints.save(state, {**identity, 'cores': cores}, evaluations.step)
            if stop and not last:
                raise Preempted(f'Stopped at step {step} of {config.steps} by SIGTERM.')
            if due(step):
                with meter.apart():
                    # Once the state is safe: whatever fails in an evaluation loses nothing.
                    measure(step, checkpoints.wait())
            if evaluations.exhausted:
                assert evaluations.best is not None
                best, value = evaluations.best
                say(f'No better {config.best.metric} than {value:.4g} of step {best} in {evaluations.since} '
                    f'evaluations: the run ends at step {step}.')
                break
    return state


def _first(config: Any, built: Built, classes: Any) -> TrainState:
    """The state before the first step; with the names of the model's outputs."""
    # Drawing weights once is not worth half a minute of optimisation by the CPU's compiler.
    quick = {'xla_backend_optimization_level': 0} if jax.default_backend() == 'cpu' else None
    state = jax.jit(built.create, out_shardings=built.shardings, compiler_options=quick)(jax.random.key(config.seed))
    if not config.init_from.workdir:
        return state
    from vmmjax.training import warmstart

    begin = [Path(name) for name in config.init_from.workdir.split(',')]
    state = warmstart.load(state, begin, config.init_from.skip, config.init_from.rename, config.init_from.fit,
                           config.task.name, classes if config.init_from.classes else None)
    return dataclasses.replace(state, ema=built.players.averages(state.params))


def _compiled(built: Built, mesh: jax.sharding.Mesh, state: TrainState, batch: Any) -> Any:
    """The step for batches like one, and says so."""
    if mesh.size > 1:
        from vmmjax.training import sharding_table

        say(sharding_table.table(built.abstract, built.shardings))
    say(f'{parameters(built.abstract.params):,} parameters on {mesh.size} device(s); compiling the first step ...')
    compiling = time.monotonic()
    step: Any = built.step  # Jitted.
    compiled = step.lower(state, batch).compile()
    say(f'Compiled in {time.monotonic() - compiling:.0f} s.')
    return compiled
