"""What `vmmjax evaluate` does with clips that are in no store: predicts them, and measures those with a label."""

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from vmmjax.cli import new_clips
from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation import measure_clips, prediction_lines, statistics
from vmmjax.evaluation.result import write, write_text
from vmmjax.experiment import Experiment
from vmmjax.prepare import sources
from vmmjax.prepare.file_store import FileStore
from vmmjax.prepare.sources import listing
from vmmjax.prepare.sources.clip import Clip
from vmmjax.reports import run_page, tensorboard, worst_clips
from vmmjax.serving import explain_split
from vmmjax.serving.explanation import Explanation
from vmmjax.store.store import Store

_MOST = 5  # Classes that a JSON line names.


def measure(run: Experiment, folder: Path, source: str, *, out: Path, split: str, media: str | None, trained_on: str,
            config: str, changes: Mapping[str, Any], streaming: bool,
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
    new_clips.check_free(out, of)
    clips, label = _chosen(_clips(source, out, media), split, source, out.name)
    found = measure_clips.measure(run, clips, name=source, most=_MOST, progress=True)
    new_clips.check_apart(found.store, range(len(found.store)), source, trained_on, run.config.data.fold)
    if jax.process_index() > 0:
        return
    new_clips.mark(out, of)
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
