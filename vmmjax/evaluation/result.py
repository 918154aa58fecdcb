"""What evaluation measured of a split: one type between what measures and what shows it."""

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from vmmjax import atomic
from vmmjax.errors import UserError

_EVALUATIONS = 'evaluations.jsonl'

# How a column of a table is written.
TEXT, COUNT, PERCENT, NUMBER = 'text', 'count', 'percent', 'number'


@dataclasses.dataclass(frozen=True)
class Result:
    """Plain JSON values throughout.

    Attributes:
      split: the split's name.
      step: the checkpoint's training step.
      task: as `config.task.name`.
      examples: how many clips were measured.
      metrics: over all clips, each with the streams it has; the most telling first, `loss` among them.
      subsets: the same without the loss for every subset of the streams, over the `examples` clips that have every
        stream of it; None where there are none. Each has its own `intervals`.
      chance: some of the metrics without looking at a clip.
      chance_of: what `chance` is of, in a few words.
      classes: the names of the model's outputs; of several targets by target.
      plain: the metrics that are numbers with a unit or none; all others are fractions.
      intervals: of the metrics that are means over clips, by name: `low` and `high`, None where there is no interval,
        and `label`, the level and the method or why there is none; empty in results of older versions.
      tables: further tables of the page, see `table`; the first stands on the terminal, too.
      per_class: of one class of several: name, precision, recall, F1 and support of each; None of other tasks.
      confusion: counts by true and predicted class; None of other tasks.
      calibration: bins of confidence and accuracy; empty of other tasks.
      alarms: of events over time.
      worst: the clips with the greatest losses, see `reports.worst_clips`.
      cost: what `cost.facts` reads.
      changes: keys of the config that differed from the run's.
      streaming: whether clips were measured frame by frame.
      store: the path or name of the clips' store; empty in results of older versions.
      remarks: sentences on what the figures mean, such as that one stream is better than all together.
    """

    split: str
    step: int
    examples: int
    metrics: dict[str, float]
    subsets: dict[str, dict[str, Any]]
    chance: dict[str, float]
    classes: Any
    task: str = 'classification'
    chance_of: str = 'most frequent class'
    plain: list[str] = dataclasses.field(default_factory=list)
    intervals: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    tables: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    per_class: list[dict[str, Any]] | None = None
    confusion: list[list[int]] | None = None
    calibration: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    alarms: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    worst: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    cost: dict[str, Any] = dataclasses.field(default_factory=dict)
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    streaming: bool = False
    store: str = ''
    remarks: list[str] = dataclasses.field(default_factory=list)

    def to_json(self) -> str:
        """As JSON text, one key a line; optional keys that hold nothing are left out."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        optional = {'intervals', 'per_class', 'confusion', 'calibration', 'alarms', 'worst', 'cost', 'changes',
                    'streaming', 'store', 'remarks'}
        lines = (f'{json.dumps(key)}: {json.dumps(value, allow_nan=False)}' for key, value in values.items()
                 if value or key not in optional)
        return '{\n' + ',\n'.join(lines) + '\n}\n'

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The result from `to_json`, of this or an older version.

        Raises:
          ValueError, TypeError: where it is none.
        """
        return cls(**json.loads(text))


def table(title: str, note: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """A table of a page, as plain JSON values.

    Args:
      title: above it.
      note: a sentence below the title.
      columns: name -> `TEXT`, `COUNT`, `PERCENT` or `NUMBER`.
      rows: values of every row, None for a dash; the first is its name.
    """
    return {'title': title, 'note': note, 'columns': list(columns), 'formats': list(columns.values()),
            'rows': [list(row) for row in rows]}


def write(workdir: Path, result: Result) -> Path:
    """Writes a result to `<workdir>/eval/<split>.json` and returns that path.

    Of several processes only one is to call it.

    Raises:
      UserError: where it cannot be written.
    """
    path = Path(workdir) / 'eval' / f'{result.split}.json'
    write_text(path, result.to_json())
    return path


def read(path: Path) -> Result:
    """Reads a result.

    Raises:
      UserError: for a file that is none.
    """
    try:
        return Result.from_json(path.read_text(encoding='utf-8'))
    except (ValueError, TypeError) as error:
        raise UserError(f'{path} is no result of an evaluation ({error}): delete it and run '
                        f'vmmjax evaluate again.') from error


def read_split(workdir: Path, split: str) -> Result:
    """What `vmmjax evaluate` wrote of a run.

    Raises:
      UserError: where the run was not measured on this split.
    """
    path = workdir / 'eval' / f'{split}.json'
    if not path.is_file():
        raise UserError(f'{path} is not there; run vmmjax evaluate --workdir={workdir} --split={split} first.')
    return read(path)


def count_evaluation(workdir: Path, result: Result) -> int:
    """Adds a line to `<workdir>/eval/evaluations.jsonl`, which lists every evaluation of a run and loses none.

    Results are replaced by later ones, and say the same whenever they are measured; this file tells how often a split
    was looked at.

    Returns:
      How often it was, see `evaluations`.

    Raises:
      UserError: where that file cannot be written.
    """
    path = workdir / 'eval' / _EVALUATIONS
    line = {'date': str(datetime.date.today()), 'split': result.split, 'step': result.step, 'store': result.store}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')
    except OSError as error:
        raise UserError(f'{path} cannot be written ({error.strerror}); free some space there.') from error
    return evaluations(workdir, result.split)


def evaluations(workdir: Path, split: str) -> int:
    """How often a run was measured on a split; at least once where an older version left a result."""
    path = workdir / 'eval' / _EVALUATIONS
    text = path.read_text(encoding='utf-8') if path.is_file() else ''
    counted = text.count(f'"split": {json.dumps(split)},')  # A line that was cut off by a kill does no harm.
    return counted or int((workdir / 'eval' / f'{split}.json').is_file())


def write_text(path: Path, text: str) -> None:
    """Writes a whole file or nothing, and makes its folder.

    Raises:
      UserError: where that fails; what stood there stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, text)
    except OSError as error:
        raise UserError(f'{path} cannot be written ({error.strerror}): free some space there, or name '
                        f'another folder.') from error
