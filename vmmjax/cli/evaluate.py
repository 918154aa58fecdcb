"""Measures a trained model, exactly, with each subset of its modalities, and writes a report.

  vmmjax evaluate --workdir=runs/motion_sound
  vmmjax evaluate --workdir=runs/motion_sound --split=validation --store=/elsewhere/motion_sound
  vmmjax evaluate --workdir=runs/grid_av --snr=10,5,0,-5,-10 --noise=white,babble
  vmmjax evaluate --fuse=runs/rgb/eval/test.npz,runs/flow/eval/test.npz --weights=1,1

Prints a table and writes <workdir>/eval/<split>.json, <workdir>/report.html and, clip by clip,
<workdir>/eval/<split>.npz. The newest whole checkpoint is used, or with --best the best one of a run that was trained
with config.best.metric; the config is the one the run was trained with.
With --snr everything is measured again with noise in the waveforms at each of these ratios, which makes a further
table, <workdir>/eval/<split>_noise.json and a section of the page.

With --fuse nothing is run: the scores that runs were given for the same clips are added up, as the results of
two-stream networks are made, and the table says what it is worth. --weights=search looks for the best weights, in
tenths, on the files of --tune, which are the same runs' scores of another split.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.cli.setup import Run, several_processes
from vmmjax.data.folds import folded
from vmmjax.data.store import Store
from vmmjax.errors import UserError
from vmmjax.evaluation import evaluate, fusing, noise, report, statistics
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.sharding import replicated
from vmmjax.training.state import TrainState

WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run that `vmmjax train` made.')
SPLIT = flags.DEFINE_string('split', 'test', 'Split of the store to measure.')
BESIDE = flags.DEFINE_list('beside', [], 'Workdirs of other evaluated runs, as further rows of the table.')
STORE = flags.DEFINE_string('store', '', 'Where the store is now, if not where the run was trained.')
BEST = flags.DEFINE_bool('best', False, 'Measure the best checkpoint by config.best.metric, not the newest.')
SNR = flags.DEFINE_list('snr', [], 'Ratios of sound to noise in decibels, such as 10,5,0,-5,-10, to measure at, too.')
NOISE = flags.DEFINE_list('noise', list(noise.KINDS), 'Kinds of that noise.')
FUSE = flags.DEFINE_list('fuse', [], 'Score files of several runs, to be added up.')
WEIGHTS = flags.DEFINE_list('weights', [], 'One a file of --fuse, all the same unless given, or `search`.')
TUNE = flags.DEFINE_list('tune', [], 'Score files, one a file of --fuse, on which --weights=search looks for them.')
AVERAGE = flags.DEFINE_enum('average', 'logits', fusing.AVERAGES, 'What --fuse adds up.')


@several_processes
def main() -> None:
    """The command."""
    if FUSE.value:
        _fuse([Path(name) for name in FUSE.value])
        return
    if not WORKDIR.value:
        raise UserError('--workdir is missing: name the folder of a run, or score files with --fuse.')
    folder = Path(WORKDIR.value)
    checkpoints = Checkpoints(folder)
    newest = checkpoints.newest()
    if newest is None:
        raise UserError(f'There is no checkpoint in {folder}; train first: vmmjax train --workdir={folder} ...')
    if BEST.value:
        newest = checkpoints.best()
    meta = checkpoints.meta(newest)
    config = configs.from_json(meta['config'])
    trained_on = config.data.store
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
    if run.store.fingerprint != meta['fingerprint']:
        _check_apart(run.store, SPLIT.value, trained_on, config.data.fold)
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


def _fuse(paths: list[Path]) -> None:
    runs = fusing.read(paths)
    if WEIGHTS.value == ['search']:
        if len(TUNE.value) != len(paths):
            raise UserError('--weights=search needs --tune: a score file of another split for each of --fuse.')
        tuned = [Path(name) for name in TUNE.value]
        weights: tuple[float, ...] = fusing.search(fusing.read(tuned, measured=runs[0]), AVERAGE.value)
    else:
        try:
            weights = tuple(float(text) for text in WEIGHTS.value) or (1.0,) * len(paths)
        except ValueError as error:
            raise UserError(f'--weights is {",".join(WEIGHTS.value)} ({error}); give numbers, or `search`.') from error
    fused = fusing.fuse(runs, weights, AVERAGE.value)
    print(fusing.table(FUSE.value, runs, fused))
    print(f'{len(fused.clip)} clips; weights {", ".join(f"{weight:g}" for weight in weights)} of {AVERAGE.value}.')


def _check_apart(store: Store, split: str, trained_on: str, fold: int | None) -> None:
    """Refuses clips that were trained on, such as those of another of the official splits of one data set."""
    try:
        before = folded(Store(trained_on), fold)
    except UserError:
        return  # It is no longer there, and what was trained on is not known.
    trained = set(before.values('id')[before.rows('train')].tolist())
    shared = [clip for clip in store.values('id')[store.rows(split)].tolist() if clip in trained]
    if shared:
        raise UserError(f'{len(shared)} clips of the split {split} of {store.name}, such as {shared[0]!r}, are among '
                        f'those that the run was trained on in {trained_on}; measure it on that store.')


def _ratios(run: Run) -> list[float]:
    """Those of --snr, checked before time is spent on measuring."""
    ratios = noise.ratios(SNR.value)
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
