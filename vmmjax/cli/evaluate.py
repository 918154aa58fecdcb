"""Measures a trained model, exactly, with each subset of its modalities, and writes a report.

  vmmjax evaluate --workdir=runs/motion_sound
  vmmjax evaluate --workdir=runs/motion_sound --split=validation --store=/elsewhere/motion_sound

Prints a table and writes <workdir>/eval/<split>.json and <workdir>/report.html. The newest whole checkpoint is
used; the config is the one the run was trained with.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from absl import flags

from vmmjax import config as configs
from vmmjax.cli.setup import Run
from vmmjax.errors import UserError
from vmmjax.evaluation import evaluate, report
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.sharding import replicated
from vmmjax.training.state import TrainState

WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run that `vmmjax train` made.', required=True)
SPLIT = flags.DEFINE_string('split', 'test', 'Split of the store to measure.')
BESIDE = flags.DEFINE_list('beside', [], 'Workdirs of other evaluated runs, as further rows of the table.')
STORE = flags.DEFINE_string('store', '', 'Where the store is now, if not where the run was trained.')


def main() -> None:
    """The command."""
    folder = Path(WORKDIR.value)
    checkpoints = Checkpoints(folder)
    newest = checkpoints.newest()
    if newest is None:
        raise UserError(f'There is no checkpoint in {folder}; train first: vmmjax train --workdir={folder} ...')
    meta = checkpoints.meta(newest)
    config = configs.from_json(meta['config'])
    if STORE.value:
        config.data.store = STORE.value
    others = [Path(name) for name in BESIDE.value]
    for other in others:
        report.measured(other, SPLIT.value)  # Before the time is spent on measuring.
    run = Run(config)
    if run.classes != meta['classes']:
        raise UserError(f'The store {config.data.store} has other classes of {config.data.target!r} than the run in '
                        f'{folder} was trained on; name its own store with --store.')
    state = restore(run, checkpoints, newest)
    measured = evaluate.result(run.measure(evaluate.subsets, state, SPLIT.value), split=SPLIT.value, step=newest,
                               classes=run.classes, parts=run.parts())
    if jax.process_index() == 0:
        path = evaluate.write(folder, measured)
        page = report.write(folder, config=meta['config'], others=others,
                            command=f'vmmjax evaluate --workdir={folder} --split={SPLIT.value}')
        print(report.terminal_table(report.beside(measured, others)))
        print(f'Wrote {path} and {page}.')


def restore(run: Run, checkpoints: Checkpoints, step: int) -> TrainState:
    """What evaluation reads of a checkpoint, on every device: parameters (or their average) and model state."""
    where = replicated(run.mesh)
    variables = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
                             dict(jax.eval_shape(run.init, jax.random.key(0))))
    params = variables.pop('params')
    name = 'ema' if run.config.ema_decay > 0 else 'params'
    saved = checkpoints.restore(step, {name: params, 'model_state': variables})
    return TrainState(step=jnp.asarray(step), params=saved[name], model_state=saved['model_state'], opt_state=())
