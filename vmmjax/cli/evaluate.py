"""Measures a trained model, exactly, with each subset of its modalities, and writes a report.

  vmmjax evaluate --workdir=runs/motion_sound
  vmmjax evaluate --workdir=runs/motion_sound --split=validation --store=/elsewhere/motion_sound
  vmmjax evaluate --workdir=runs/motion_sound --base=runs/motion_sound_rgb
  vmmjax evaluate --workdir=runs/grid_av --snr=10,5,0,-5,-10 --noise=white,babble
  vmmjax evaluate --fuse=runs/rgb/eval/test.npz,runs/flow/eval/test.npz --weights=1,1

Prints a table and writes <workdir>/eval/<split>.json, <workdir>/report.html and, clip by clip,
<workdir>/eval/<split>.npz. The newest whole checkpoint is used, or with --best the best one of a run that was trained
with config.best.metric; the config is the one the run was trained with.
On the page the clips with the greatest losses play; with --base it says where the config differs from another run's.
TensorBoard shows the figures, too, and the confusion matrix.
With --snr everything is measured again with noise in the waveforms at each of these ratios, which makes a further
table, <workdir>/eval/<split>_noise.json and a section of the page.
With --change clips are looked at otherwise than in training, as published protocols do: 10 windows of 3 larger crops by
--change='data.views.clips=10;data.views.crops=3;data.streams.rgb.size=256'. Any key of config.data can be changed but
the store, the target and the fold; --change="task.generation={'name': 'beam', 'beam': 20}" looks for texts otherwise.
The files are those of the measurement without, so copy what you want to keep.
With --streaming a network that looks at the past alone, such as a uni-directional TSM, is given one frame after the
other, as a live stream does, and measured by the mean of what it says; it is to be as right as with whole clips.

With --fuse nothing is run: the scores that runs were given for the same clips are added up, as the results of
two-stream networks are made, and the table says what it is worth. --weights=search looks for the best weights, in
tenths, on the files of --tune, which are the same runs' scores of another split.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.cli import rows
from vmmjax.cli.processes import several_processes
from vmmjax.errors import UserError
from vmmjax.evaluation import noise_sweep, score_fusion, statistics
from vmmjax.evaluation.config_diff import Difference, differing, without_paths
from vmmjax.evaluation.result import read_split, write
from vmmjax.experiment import Experiment
from vmmjax.pipeline import options
from vmmjax.pipeline.folds import folded
from vmmjax.pipeline.views import AVERAGES, ViewsConfig
from vmmjax.planning.counting import macs
from vmmjax.reports import noise_table, results_page, run_page, tensorboard, worst_clips
from vmmjax.store.store import Store
from vmmjax.training import workdir
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.objective import Context

WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run that `vmmjax train` made.')
SPLIT = flags.DEFINE_string('split', 'test', 'Split of the store to measure.')
BESIDE = flags.DEFINE_list('beside', [], 'Workdirs of other evaluated runs, as further rows of the table.')
BASE = flags.DEFINE_string('base', '', 'Workdir of another run; the page says where this config differs from its.')
STORE = flags.DEFINE_string('store', '', 'Where the store is now, if not where the run was trained.')
BEST = flags.DEFINE_bool('best', False, 'Measure the best checkpoint by config.best.metric, not the newest.')
CHANGE = flags.DEFINE_string('change', '', "Test protocol: keys of config.data that are other than in training, as "
                             "'key=value;key=value'.")
STREAMING = flags.DEFINE_bool('streaming', False, 'Give the network one frame after the other, as a live stream does.')
SNR = flags.DEFINE_list('snr', [], 'Ratios of sound to noise in decibels, such as 10,5,0,-5,-10, to measure at, too.')
NOISE = flags.DEFINE_list('noise', list(noise_sweep.KINDS), 'Kinds of that noise.')
FUSE = flags.DEFINE_list('fuse', [], 'Score files of several runs, to be added up.')
WEIGHTS = flags.DEFINE_list('weights', [], 'One a file of --fuse, all the same unless given, or `search`.')
TUNE = flags.DEFINE_list('tune', [], 'Score files, one a file of --fuse, on which --weights=search looks for them.')
AVERAGE = flags.DEFINE_enum('average', 'logits', AVERAGES, 'What --fuse adds up.')


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
    changes = _changes()
    config = _changed(configs.from_json(meta['config']), changes)
    trained_on = config.data.store
    config.mesh.update(configs.defaults().mesh)  # Whatever devices there are now.
    if STORE.value:
        config.data.store = STORE.value
    others = [Path(name) for name in BESIDE.value]
    for other in others:
        read_split(other, SPLIT.value)  # Before the time is spent on measuring.
    base = _base(Path(BASE.value), meta['config']) if BASE.value else None
    run = Experiment(config, streaming=STREAMING.value, run_inputs=workdir.run_inputs(folder, meta))
    if run.classes_of_store != meta['classes']:
        raise UserError(f'The store {config.data.store} has other classes of {config.data.target!r} than the run in '
                        f'{folder} was trained on; name its own store with --store.')
    if run.store.fingerprint != meta['fingerprint']:
        _check_apart(run.store, SPLIT.value, trained_on, config.data.fold)
    ratios = _ratios(run)
    run.restore(checkpoints, newest)
    predictions = run.predictions(SPLIT.value)
    measured = run.result(predictions, SPLIT.value)
    swept = _with_noise(run, folder, ratios) if ratios else None
    if jax.process_index() == 0:
        whole = next(iter(predictions.values()))
        measured = dataclasses.replace(
            measured, changes=changes, streaming=STREAMING.value, cost=_cost(run),
            worst=worst_clips.listed(run.task, whole, run.store))
        statistics.write_scores(folder / 'eval' / f'{SPLIT.value}.npz', predictions, run.store)
        path = write(folder, measured)
        tensorboard.write(folder, measured)
        if swept is not None:
            noise_sweep.write(folder, swept)
        page = run_page.write(folder, config=meta['config'], others=others, base=base,
                            show=functools.partial(worst_clips.shown, store=run.store, data=config.data.to_dict()),
                            command=f'vmmjax evaluate --workdir={folder} --split={SPLIT.value}')
        print(run_page.terminal_table(run_page.beside(measured, others)))
        if swept is not None:
            print(noise_table.terminal_table(swept))
        print(f'Wrote {path} and {page}.')


def _changes() -> dict[str, Any]:
    """The keys of --change, with their values."""
    changes = {}
    for part in filter(str.strip, CHANGE.value.split(';')):
        key, equals, value = (text.strip() for text in part.partition('='))
        of_data = key.startswith('data.') and key not in ('data.store', 'data.target', 'data.fold')
        if not equals or not (of_data or key == 'task.generation'):
            raise UserError(f"--change has {part.strip()!r}, where key=value of config.data is meant, such as "
                            f"--change='data.views.clips=10;data.streams.rgb.size=256'.")
        changes[key] = rows.literal(value)
    return changes


def _changed(config: ConfigDict, changes: dict[str, Any]) -> ConfigDict:
    values = config.to_dict()
    for key, value in changes.items():
        rows.put(values, key, value, '--change')
    return configs.lock(ConfigDict(values))


def _base(folder: Path, config: str) -> tuple[str, list[Difference]]:
    """The name of a run, and where this config differs from its."""
    _, meta = Checkpoints(folder).newest_meta()
    return without_paths(str(folder)), differing(meta['config'], config)


def _cost(run: Experiment) -> dict[str, Any]:
    """What `cost.facts` reads; nothing is compiled for it."""
    shapes = run.pipeline(SPLIT.value, train=False).spec
    view = {name: jax.ShapeDtypeStruct((1, *shape[1:]), dtype) for name, (shape, dtype) in shapes.items()}
    variables = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
                             run.variables)

    def forward(variables: Any, view: Any) -> Any:
        rest = {name: values for name, values in variables.items() if name != 'params'}
        return run.task.compute(Context(run.apply, variables['params'], rest, view))

    operations: int | None
    try:
        operations = macs(forward, variables, view)
    except ValueError:  # A loop of a user's own, of any number of turns.
        operations = None
    devices = jax.devices()
    return {'parameters': sum(leaf.size for leaf in jax.tree.leaves(run.variables['params'])), 'macs': operations,
            'views': len(options.read(ViewsConfig, run.config.data.views, 'data.views')),
            'batch_size': run.config.batch_size,
            'machine': f'{len(devices)} x {devices[0].device_kind}: {results_page.hardware()}'}


def _fuse(paths: list[Path]) -> None:
    runs = score_fusion.read(paths)
    if WEIGHTS.value == ['search']:
        if len(TUNE.value) != len(paths):
            raise UserError('--weights=search needs --tune: a score file of another split for each of --fuse.')
        tuned = [Path(name) for name in TUNE.value]
        weights: tuple[float, ...] = score_fusion.search(score_fusion.read(tuned, measured=runs[0]), AVERAGE.value)
    else:
        try:
            weights = tuple(float(text) for text in WEIGHTS.value) or (1.0,) * len(paths)
        except ValueError as error:
            raise UserError(f'--weights is {",".join(WEIGHTS.value)} ({error}); give numbers, or `search`.') from error
    fused = score_fusion.fuse(runs, weights, AVERAGE.value)
    print(score_fusion.table(FUSE.value, runs, fused))
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


def _ratios(run: Experiment) -> list[float]:
    """Those of --snr, checked before time is spent on measuring."""
    ratios = noise_sweep.ratios(SNR.value)
    if ratios:
        noise_sweep.heard(run.config, run.store, NOISE.value)
    return ratios


def _with_noise(run: Experiment, folder: Path, ratios: list[float]) -> dict[str, Any]:
    config = run.config

    def measure(changed: ConfigDict) -> tuple[Any, Any]:
        run.config = changed
        predictions = run.predictions(SPLIT.value)
        return predictions, run.result(predictions, SPLIT.value)

    scores = folder / 'eval' / f'{SPLIT.value}{noise_sweep.SUFFIX}' if jax.process_index() == 0 else None
    found = noise_sweep.sweep(config, run.store, measure, kinds=NOISE.value, ratios=ratios, folder=scores)
    run.config = config
    return found
