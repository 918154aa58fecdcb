"""What `vmmjax evaluate` does with clips of a store, the run's own or another: measures a split and writes a report."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from vmmjax.cli import measuring, new_clips
from vmmjax.convert import own
from vmmjax.convert.saved_run import SavedRun
from vmmjax.errors import UserError
from vmmjax.evaluation import noise_sweep, statistics
from vmmjax.evaluation.config_diff import Difference, differing, without_paths
from vmmjax.evaluation.predictions import Predictions
from vmmjax.evaluation.result import Result, count_evaluation, read_split, write
from vmmjax.experiment import Experiment
from vmmjax.pipeline.folds import folded
from vmmjax.reports import noise_table, reconstructions, run_page, tensorboard, worst_clips
from vmmjax.serving import explain_split
from vmmjax.store.store import Store


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What is measured, and what stands beside it; the flags of the command.

    Attributes:
      split: of the store.
      changes: the keys of the config that are other than in training.
      streaming: whether clips are given frame by frame.
      name: of the folder in `new_clips` for another store than the run's own; empty for the store's.
      beside: workdirs of other runs, as further rows of the table.
      base: workdir of another run that the page compares the config with; None for none.
      snr: ratios of sound to noise in decibels, as texts, to measure at, too.
      noise: kinds of that noise.
      explain: whether the page shows where the worst clips spoke for their class.
      command: that repeats it.
    """

    split: str
    changes: Mapping[str, Any]
    streaming: bool
    name: str
    beside: Sequence[Path]
    base: Path | None
    snr: Sequence[str]
    noise: Sequence[str]
    explain: bool
    command: str


class _Place(NamedTuple):
    """Where results go: the folder, and for clips of another store than the run's own what identifies them."""

    folder: Path
    of: str | None


def measure(saved: SavedRun, config: ConfigDict, folder: Path, asked: Measurement) -> None:
    """Measures a run on a split, and writes and prints what was found.

    Args:
      saved: the run.
      config: its own with the `changes`, and with the store where it is now.
      folder: for the results; those of another store go into one of their own below it.
      asked: what is measured.

    Raises:
      UserError: before anything is measured, for what is not there or was trained on.
    """
    base = None if asked.base is None else _differences(asked.base, saved.meta['config'])
    run = _opened(saved, config, folder, asked.streaming)
    place = _place(run, saved, folder, asked)
    for other in asked.beside:
        read_split(other, asked.split)  # Before the time is spent on measuring.
    ratios = noise_sweep.ratios(asked.snr)
    if ratios:
        noise_sweep.heard(run.config, run.store, asked.noise)
    run.restore(saved.checkpoints, saved.step)
    explain = measuring.explainer(run) if asked.explain else None
    predictions = run.predictions(asked.split)
    result = run.result(predictions, asked.split)
    swept = measuring.with_noise(run, place.folder, ratios, asked.split, asked.noise) if ratios else None
    is_first = jax.process_index() == 0
    if is_first:
        result = _completed(run, predictions, result, asked)
        path, times = _write(run, place, predictions, result, swept)
    made = reconstructions.shown(run, asked.split)  # By all processes; what was measured is written by now.
    if is_first:
        page = run_page.write(
            place.folder, config=saved.meta['config'], others=asked.beside, base=base,
            show=functools.partial(worst_clips.shown, store=run.store, data=config.data.to_dict(), explain=explain),
            made=made, command=asked.command)
        print(run_page.terminal_table(run_page.beside(result, asked.beside)))
        if swept is not None:
            print(noise_table.terminal_table(swept))
        print(f'Wrote {path} and {page}; the clips are of {run.store.name}.')
        if times > 1:
            print(f'This is the evaluation number {times} of the split {asked.split} by this run.')


def _differences(folder: Path, config: str) -> tuple[str, list[Difference]]:
    """The name of a run, and where a config differs from its."""
    _, meta = own.opened(folder).newest_meta()
    return without_paths(str(folder)), differing(meta['config'], config)


def _opened(saved: SavedRun, config: ConfigDict, folder: Path, streaming: bool) -> Experiment:
    """The run on the config's store, as yet without parameters; the store's classes are its own."""
    recorded = saved.run_inputs
    store = Store(config.data.store)
    # The fold belongs to the run's own store, and to another with the same catalog column.
    if store.fingerprint == saved.meta['fingerprint'] or store.has_values('fold'):
        store = folded(store, config.data.fold, config.data.fold_validates)
    if recorded is not None:
        store.vocabularies = {name: text['vocabulary'] for name, text in recorded['data']['texts'].items()}
    run = Experiment(config, store, streaming=streaming, run_inputs=recorded)
    _check_classes(run, saved.meta['classes'], folder)
    return run


def _check_classes(run: Experiment, classes: Any, folder: Path) -> None:
    """Refuses labels of a store that the run in a folder does not know, given its classes."""
    try:
        found = run.classes_of_store
    except UserError:
        # Some tasks describe the training split, which new clips need not have.
        if 'train' in run.store.splits:
            raise
        run.task.targets(run.store, run.config.data)
        return
    if found != classes:
        raise UserError(f'The store {run.store.name} has other classes of {run.config.data.target!r} than the run in '
                        f'{folder} was trained on; name its own store with --store.')


def _place(run: Experiment, saved: SavedRun, folder: Path, asked: Measurement) -> _Place:
    """Where the results go; clips that were trained on are refused, and a folder with results of others."""
    store, fingerprint = run.store, saved.meta['fingerprint']
    if store.fingerprint != fingerprint:
        new_clips.check_apart(store, store.rows(asked.split), f'the split {asked.split} of {store.name}',
                              saved.config.data.store, run.config.data.fold)
    of = new_clips.identity(run)
    if new_clips.is_own(of, fingerprint, saved.run_inputs):
        return _Place(folder, None)
    out = new_clips.folder_of(folder, asked.name, store.name)
    new_clips.check_free(out, of)
    return _Place(out, of)


def _completed(run: Experiment, predictions: Mapping[str, Predictions], result: Result, asked: Measurement) -> Result:
    """The result with how it was measured, what it costs, the worst clips, and which stream said what."""
    result = dataclasses.replace(
        result, changes=dict(asked.changes), streaming=asked.streaming, cost=measuring.cost(run, asked.split),
        worst=measuring.worst(run, next(iter(predictions.values()))))
    return explain_split.added(run, predictions, result, run.store)


def _write(run: Experiment, place: _Place, predictions: Mapping[str, Predictions], result: Result,
           swept: dict[str, Any] | None) -> tuple[Path, int]:
    """Writes figures and scores; returns the file of the figures, and how often the run measured this split."""
    if place.of is not None:
        new_clips.mark(place.folder, place.of)
    statistics.write_scores(place.folder / 'eval' / f'{result.split}.npz', predictions, run.store)
    path, times = write(place.folder, result), count_evaluation(place.folder, result)
    tensorboard.write(place.folder, result)
    if swept is not None:
        noise_sweep.write(place.folder, swept)
    return path, times
