"""Predictions as lines: of JSON for programs, of CSV for tables, of text for people."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from vmmjax.store.catalog import JOIN

COLUMNS = ('clip', 'start', 'end', 'absent', 'target', 'predicted', 'probability', 'error')
"""Those of the lines of `of_csv`; times are seconds in the file."""


@dataclasses.dataclass(frozen=True)
class ClipPrediction:
    """What a run predicts of one clip, or of one window of it.

    Attributes:
      clip: its name: the file, or the id that it was given.
      start: seconds in the file where it begins.
      seconds: its length.
      present: which of the run's streams it has.
      reading: of each target its name as `target`, and as `named` what is predicted, the likeliest first, each with its
        probability (None of numbers), and what else `Task.reading` gives.
      scores: the run's scores, averaged over its test views: float32 (C,), of several targets a dict; of a task with
        answers over time those of every view, (V, ...).
      error: why there is no prediction; empty where there is one.
    """

    clip: str
    start: float = 0.0
    seconds: float = 0.0
    present: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    reading: Sequence[Mapping[str, Any]] = ()
    scores: Any = None
    error: str = ''

    @property
    def end(self) -> float:
        """Seconds in the file where it ends."""
        return self.start + self.seconds

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for a line of a file; times to a microsecond."""
        if self.error:
            return {'clip': self.clip, 'error': self.error}
        told = [{key: value for key, value in each.items() if key not in ('truth', 'probability')}
                for each in self.reading]
        return {'clip': self.clip, 'start': round(self.start, 6), 'end': round(self.end, 6),
                'seconds': round(self.seconds, 6), 'present': dict(self.present), 'predicted': told}


def as_json(told: ClipPrediction, name: str = 'clip') -> dict[str, Any]:
    """Plain JSON values, see `ClipPrediction.to_json`, with `name` as the key of the clip."""
    values = told.to_json()
    return {name: values.pop('clip'), **values}


def of_json(told: ClipPrediction, name: str = 'clip') -> str:
    """The line of `as_json`."""
    return json.dumps(as_json(told, name)) + '\n'


def header() -> str:
    """The first line of a CSV file."""
    return _row(COLUMNS)


def of_csv(told: ClipPrediction, most: int = 1) -> str:
    """A line for each target, or one with the error.

    Args:
      told: of a clip or a window.
      most: how many names are in it, the likeliest first; several, and their probabilities, are joined by semicolons.
        Of events, which are no alternatives of each other, there are all.
    """
    if told.error:
        return _row([told.clip, '', '', '', '', '', '', told.error])
    clip = [told.clip, f'{told.start:.3f}', f'{told.end:.3f}', JOIN.join(absent(told))]
    if not told.reading:
        return _row([*clip, '', '', '', ''])
    return ''.join(_row([*clip, each['target'], *_joined(each, most), '']) for each in told.reading)


def of_text(told: ClipPrediction) -> str:
    """One line: when, what, and what is absent."""
    what = '; '.join(f'{each["target"]}: {_named(each)}' if len(told.reading) > 1 else _named(each)
                     for each in told.reading) or 'nothing that the run reads'
    without = f'  (without {" and ".join(absent(told))})' if told.reading and absent(told) else ''
    return f'{told.start:10.2f} to {told.end:.2f} s  {what}{without}\n'


def absent(told: ClipPrediction) -> list[str]:
    """The run's streams that the clip lacks."""
    return [stream for stream, there in told.present.items() if not there]


def _named(each: Mapping[str, Any]) -> str:
    return ', '.join(name if probability is None else f'{name} {probability:.3f}'
                     for name, probability in each['named']) or 'none'


def _joined(each: Mapping[str, Any], most: int) -> tuple[str, str]:
    named = each['named'] if 'events' in each else each['named'][:most]
    return (JOIN.join(name for name, _ in named),
            JOIN.join('' if probability is None else f'{probability:.6f}' for _, probability in named))


def _row(values: Any) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator='\n').writerow(values)
    return file.getvalue()
