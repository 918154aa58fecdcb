"""Measures a trained model, exactly, with each subset of its modalities, and writes a report.

  vmmjax evaluate --workdir=runs/motion_sound
  vmmjax evaluate --workdir=runs/motion_sound --split=validation --store=/elsewhere/motion_sound
  vmmjax evaluate --workdir=runs/grid_av --snr=10,5,0,-5,-10 --noise=white,babble

Prints a table and writes <workdir>/eval/<split>.json, <workdir>/report.html and, clip by clip,
<workdir>/eval/<split>.npz. The newest whole checkpoint is used, or with --best the best one of a run that was trained
with config.best.metric; the config is the one the run was trained with.
With --snr everything is measured again with noise in the waveforms at each of these ratios, which makes a further
table, <workdir>/eval/<split>_noise.json and a section of the page.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.cli.setup import Run, several_processes
from vmmjax.errors import UserError
from vmmjax.evaluation import evaluate, noise, report, statistics
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.sharding import replicated
from vmmjax.training.state import TrainState

WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run that `vmmjax train` made.', required=True)
SPLIT = flags.DEFINE_string('split', 'test', 'Split of the store to measure.')
BESIDE = flags.DEFINE_list('beside', [], 'Workdirs of other evaluated runs, as further rows of the table.')
STORE = flags.DEFINE_string('store', '', 'Where the store is now, if not where the run was trained.')
BEST = flags.DEFINE_bool('best', False, 'Measure the best checkpoint by config.best.metric, not the newest.')
SNR = flags.DEFINE_list('snr', [], 'Ratios of sound to noise in decibels, such as 10,5,0,-5,-10, to measure at, too.')
NOISE = flags.DEFINE_list('noise', list(noise.KINDS), 'Kinds of that noise.')


@several_processes
def main() -> None:
    """The command."""
    folder = Path(WORKDIR.value)
    checkpoints = Checkpoints(folder)
    newest = checkpoints.newest()
    if newest is None:
        raise UserError(f'There is no checkpoint in {folder}; train first: vmmjax train --workdir={folder} ...')
    if BEST.value:
        newest = checkpoints.best()
    meta = checkpoints.meta(newest)
    config = configs.from_json(meta['config'])
    config.mesh.update(configs.defaults().mesh)  # Whatever devices there are now.
    if STORE.value:
        config.data.store = STORE.value
    others = [Path(name) for name in BESIDE.value]
    for other in others:
        report.measured(other, SPLIT.value)  # Before the time is spent on measuring.
    run = Run(config)
    if run.classes != meta['classes']:
        raise UserError(f'The store {config.data.store} has other classes of {config.data.target!r} than the run in '
                        f'{folder} was trained on; name its own store with --store.')
    ratios = _ratios(run)
    state = restore(run, checkpoints, newest)
    predictions = run.measure(run.task.predictions, state, SPLIT.value)
    measured = run.task.result(predictions, split=SPLIT.value, step=newest)
    swept = _with_noise(run, state, newest, folder, ratios) if ratios else None
    if jax.process_index() == 0:
        statistics.write_scores(folder / 'eval' / f'{SPLIT.value}.npz', predictions, run.store)
        path = evaluate.write(folder, measured)
        if swept is not None:
            noise.write(folder, swept)
        page = report.write(folder, config=meta['config'], others=others,
                            command=f'vmmjax evaluate --workdir={folder} --split={SPLIT.value}')
        print(report.terminal_table(report.beside(measured, others)))
        if swept is not None:
            print(noise.terminal_table(swept))
        print(f'Wrote {path} and {page}.')


def _ratios(run: Run) -> list[float]:
    """Those of --snr, checked before time is spent on measuring."""
    try:
        ratios = [float(text) for text in SNR.value]
    except ValueError as error:
        raise UserError(f'--snr is {",".join(SNR.value)}, no decibels ({error}); write --snr=10,0,-10.') from error
    if ratios:
        noise.heard(run.config, run.store, NOISE.value)
    return ratios


def _with_noise(run: Run, state: TrainState, step: int, folder: Path, ratios: list[float]) -> dict[str, Any]:
    config = run.config

    def measure(changed: ConfigDict) -> tuple[Any, Any]:
        run.config = changed
        predictions = run.measure(run.task.predictions, state, SPLIT.value)
        return predictions, run.task.result(predictions, split=SPLIT.value, step=step)

    scores = folder / 'eval' / f'{SPLIT.value}{noise.SUFFIX}' if jax.process_index() == 0 else None
    found = noise.sweep(config, run.store, measure, kinds=NOISE.value, ratios=ratios, folder=scores)
    run.config = config
    return found


def restore(run: Run, checkpoints: Checkpoints, step: int) -> TrainState:
    """What evaluation reads of a checkpoint, on every device: parameters (or their average) and model state."""
    where = replicated(run.mesh)
    variables = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
                             dict(jax.eval_shape(run.init, jax.random.key(0))))
    params = variables.pop('params')
    name = 'ema' if run.config.ema_decay > 0 else 'params'
    saved = checkpoints.restore(step, {name: params, 'model_state': variables})
    return TrainState(step=jnp.asarray(step), params=saved[name], model_state=saved['model_state'], opt_state=())
