"""What `vmmjax evaluate` does with clips that are not of the run's own store."""

import dataclasses
import functools
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation import measure_clips, prediction_lines, statistics
from vmmjax.evaluation.result import write, write_text
from vmmjax.experiment import Experiment
from vmmjax.pipeline import inputs
from vmmjax.pipeline.folds import folded
from vmmjax.prepare import sources
from vmmjax.prepare.file_store import FileStore
from vmmjax.prepare.sources import listing
from vmmjax.prepare.sources.clip import Clip
from vmmjax.reports import run_page, tensorboard, worst_clips
from vmmjax.serving import explain_split
from vmmjax.serving.explanation import Explanation
from vmmjax.store.store import RowIndices, Store
from vmmjax.training import workdir

_MOST = 5  # Classes that a JSON line names.
_OF = 'clips_of.txt'


def folder_of(workdir: Path, name: str, source: str) -> Path:
    """Where the results of new clips are: named by the user, or after the source."""
    stem = Path(source.rpartition(':')[2].rstrip('/')).name.removesuffix('.csv')
    return workdir / 'new_clips' / (name or re.sub(r'[^\w.=+-]+', '_', stem).strip('_.') or 'clips')


def check_free(out: Path, of: str) -> None:
    """Refuses a folder with results of other clips, such as of another folder of the same name.

    Args:
      out: the folder.
      of: what identifies the clips, which `mark` has written there.
    """
    file = out / _OF
    if file.is_file() and file.read_text(encoding='utf-8') != of:
        raise UserError(f'{out} holds results of other clips; give these a name of their own with --name.')


def mark(out: Path, of: str) -> None:
    """Writes down which clips the results in a folder are of, see `check_free`."""
    write_text(out / _OF, of)


def identity(run: Experiment) -> str:
    """Of the store of an experiment: its catalog, and how the columns that its streams read were made."""
    now = inputs.describe(run.store, {'streams': {
        name: stream for name, stream in run.config.data.streams.items() if stream.modality in run.store.columns}})
    return json.dumps([run.store.fingerprint, now['columns']], sort_keys=True)


def is_own(of: str, fingerprint: str, recorded: Mapping[str, Any] | None) -> bool:
    """Whether a store is the one that a run was trained on, wherever it lies now.

    Args:
      of: its `identity`.
      fingerprint: of the store that the run was trained on.
      recorded: what the run has written down of that, see `Experiment.run_inputs`.
    """
    found, columns = json.loads(of)
    return bool(found == fingerprint and not (
        recorded and workdir.column_differences(recorded, {'data': {'columns': columns}})))


def opened(config: Any, fingerprint: str, recorded: Mapping[str, Any] | None) -> Store:
    """The store to be measured.

    Args:
      config: of the run; its fold belongs to its own store, and to another with the same catalog columns.
      fingerprint: of the run's own store.
      recorded: what the run has written down of that, see `Experiment.run_inputs`: its vocabularies are the store's.
    """
    store = Store(config.data.store)
    if store.fingerprint == fingerprint or store.has_values('fold'):
        store = folded(store, config.data.fold, config.data.fold_validates)
    if recorded is not None:
        store.vocabularies = {name: text['vocabulary'] for name, text in recorded['data']['texts'].items()}
    return store


def check_classes(run: Experiment, classes: Any, folder: Path) -> None:
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


def check_apart(store: Store, rows: RowIndices, what: str, trained_on: str, fold: int | None) -> None:
    """Refuses clips that were trained on, such as those of another of the official splits of one data set."""
    try:
        before = folded(Store(trained_on), fold)
    except UserError:
        return  # It is no longer there, and what was trained on is not known.
    trained = set(_identities(before, before.rows('train')))
    shared = [clip for clip in _identities(store, rows) if clip in trained]
    if shared:
        raise UserError(f'{len(shared)} clips of {what}, such as {shared[0][0]!r}, are among those that the run was '
                        f'trained on in {trained_on}; measure it on that store.')


def _identities(store: Store, rows: RowIndices) -> list[tuple[str, ...]]:
    """By what clips of different stores are known to be the same: id, start and end."""
    return list(zip(*(store.values(name)[rows].tolist() for name in ('id', 'start', 'end')), strict=True))


def measure_source(run: Experiment, folder: Path, source: str, *, out: Path, split: str, media: str | None,
                   trained_on: str, config: str, changes: Mapping[str, Any], streaming: bool,
                   explain: Callable[[Store, int], Explanation] | None = None) -> None:
    """Predicts the clips of a source, measures those with a target, and writes both.

    Args:
      run: with parameters.
      folder: its workdir.
      source: see `prepare.sources.read`.
      out: the folder for what is written.
      split: of the source; empty for the only one, or `test`.
      media: see `prepare.sources.read`.
      trained_on: the store that the run was trained on, which may be gone.
      config: of the run, as text.
      changes: the keys of the config that are other than in training.
      streaming: whether clips are given frame by frame.
      explain: see `worst_clips.shown`.

    Raises:
      UserError: see `measure_clips.measure`.
    """
    of = str(Path(source).resolve()) if Path(source).exists() else source
    check_free(out, of)
    clips, label = _chosen(_clips(source, out, media), split, source, out.name)
    found = measure_clips.measure(run, clips, name=source, most=_MOST, progress=True)
    check_apart(found.store, range(len(found.store)), source, trained_on, run.config.data.fold)
    if jax.process_index() > 0:
        return
    mark(out, of)
    written = _write_predictions(out, label, found.told)
    if found.predictions:
        whole = next(iter(found.predictions.values()))
        result = dataclasses.replace(run.result(found.predictions, label, found.store), changes=dict(changes),
                                     streaming=streaming, worst=worst_clips.listed(run.task, whole, found.store))
        result = explain_split.added(run, found.predictions, result, found.store)
        statistics.write_scores(out / 'eval' / f'{label}.npz', found.predictions, found.store)
        written += [write(out, result), tensorboard.write(out, result)]
        written.append(run_page.write(
            out, title=f'{folder.resolve().name}: {out.name}', config=config, splits=[label],
            show=functools.partial(_shown, run, clips, explain),
            command=f'vmmjax evaluate --workdir={folder} --source={source}'))
        print(run_page.terminal_table(result))
    else:
        print('No clip has a label, so nothing was measured.')
    errors = [told for told in found.told if told.error]
    if errors:
        print(f'{len(errors)} of {len(clips)} clips could not be read; the first: {errors[0].error}', file=sys.stderr)
    print(f'Wrote {", ".join(map(str, written))}.')


def _clips(source: str, out: Path, media: str | None) -> list[Clip]:
    """Those of a source, or, of a folder without folders, of its files, which have no labels."""
    path = Path(source)
    if path.is_dir() and not any(each.is_dir() for each in path.iterdir() if not each.name.startswith('.')):
        return listing.read([source])
    return sources.read(source, media=None if media is None else Path(media), generated=out / 'files', split='clips')


def _chosen(clips: list[Clip], split: str, source: str, name: str) -> tuple[list[Clip], str]:
    """The clips to be measured, and what their results are called."""
    splits = list(dict.fromkeys(clip.split for clip in clips))
    if not split and len(splits) == 1:
        return clips, name
    split = split or 'test'
    if split not in splits:
        raise UserError(f'{source} has no split {split!r}: {did_you_mean(split, splits)}. Name one as --split.')
    return [clip for clip in clips if clip.split == split], split


def _write_predictions(out: Path, label: str, told: Sequence[Any]) -> list[Path]:
    texts = {'.jsonl': ''.join(map(prediction_lines.of_json, told)),
             '.csv': prediction_lines.header() + ''.join(map(prediction_lines.of_csv, told))}
    written = []
    for ending, text in texts.items():
        written.append(out / 'eval' / f'{label}{ending}')
        write_text(written[-1], text)
    return written


def _shown(run: Experiment, clips: Sequence[Clip], explain: Callable[[Store, int], Explanation] | None,
           worst: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the page shows of the worst clips, whose files are read again."""
    of_id = {clip.id: clip for clip in clips}
    data = run.config.data.to_dict()
    store = FileStore(run.run_inputs['data'], [of_id[each['clip']] for each in worst])
    return worst_clips.shown(worst, store, data, explain)
