"""What an audit found: on the terminal, as JSON, and as a page with the clips that look alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vmmjax import atomic
from vmmjax.evaluation.audit import Told
from vmmjax.evaluation.audit_columns import Combination, Relation
from vmmjax.evaluation.audit_splits import Pair
from vmmjax.evaluation.intervals import Interval
from vmmjax.pipeline import stored_frames
from vmmjax.reports import timeline
from vmmjax.reports.templates import templates
from vmmjax.store.column import Column
from vmmjax.store.store import Store
from vmmjax.text_table import aligned

_MOST = 20  # Pairs, columns and combinations that are shown.
_SURE = 0.05


class Findings(NamedTuple):
    """What `vmmjax audit` found of one target.

    Attributes:
      target: the catalog's column.
      protocol: `splits` or `folds`.
      controls: name, sentence and figures of each.
      relations: of the other columns with the target.
      combinations: values that occur together too seldom or too often.
      priors: clips of each value in each part.
      pairs: clips of different parts that look alike.
      shared: paths and groups that clips of different parts have.
    """

    target: str
    protocol: str
    controls: list[tuple[str, str, Told]]
    relations: list[Relation]
    combinations: list[Combination]
    priors: dict[str, dict[str, int]]
    pairs: list[Pair]
    shared: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        told = _as_json([figures for _, _, figures in self.controls])
        return {'target': self.target, 'protocol': self.protocol,
                'controls': {name: figures for (name, _, _), figures in zip(self.controls, told, strict=True)},
                'relations': _as_json(self.relations), 'combinations': _as_json(self.combinations),
                'priors': self.priors, 'alike': len(self.pairs), 'most_alike': _as_json(self.pairs[:_MOST]),
                'shared': self.shared}


def _as_json(found: Sequence[Any]) -> list[Any]:
    """Plain JSON values of named tuples."""
    return [{name: value._asdict() if isinstance(value, Interval) else value
             for name, value in each._asdict().items()} for each in found]


def terminal_table(found: Findings) -> str:
    """The controls as a table, and a line for each further finding."""
    rows = [['told from', 'clips', 'majority', 'accuracy', 'interval', 'balanced', 'AUC', 'bits', 'p', '']]
    rows += [[name, *_cells(told)] for name, _, told in found.controls]
    lines = [f'{found.target}, by {found.protocol}', *aligned(rows, '<>>><>>>><')]
    lines += [f'{each.column} tells {each.bits:.2f} of {each.of:.2f} bits of {found.target} '
              f'({each.by_chance:.2f} by chance)' for each in _sure(found)[:3]]
    lines += [f'{" x ".join(each.columns)}: {each.distinct} combinations, {each.by_chance:.0f} if independent, none in '
              f'more than {each.most} clips' for each in found.combinations[:3]]
    lines.append(f'{len(found.pairs)} pairs of clips of different {found.protocol} look alike')
    lines += [f'{len(values)} values of {name} stand in several {found.protocol}'
              for name, values in found.shared.items() if values]
    return '\n'.join(lines)


def write(path: Path, store: Store, found: Findings) -> Path:
    """Writes the page, one file that needs no network and runs no script.

    Args:
      path: of the page.
      store: that was looked at.
      found: in it.

    Returns:
      The path.
    """
    pictures = next((column for column in store.columns.values() if column.kind == 'picture'), None)
    page = templates().get_template('audit_page.html').render(
        title=f'{found.target} in {store.path.resolve().name}', found=found, likely=_likely,
        controls=[(name, text, _cells(told)) for name, text, told in found.controls], relations=_sure(found)[:_MOST],
        combinations=found.combinations[:_MOST], values=list(next(iter(found.priors.values()), {})),
        pairs=[{'bits': pair.bits, 'clips': [_clip(store, pictures, row) for row in pair[:2]]}
               for pair in found.pairs[:_MOST]])
    atomic.write(path, page)
    return path


def _sure(found: Findings) -> list[Relation]:
    return [each for each in found.relations if each.p <= _SURE]


def _cells(told: Told) -> list[str]:
    accuracy = told.accuracy
    ends = '' if accuracy.missing else f'{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} '
    return [str(told.clips), f'{100 * told.majority:.1f}', f'{100 * accuracy.mean:.1f}', f'{ends}({accuracy.label})',
            f'{100 * told.balanced:.1f}', '–' if told.auc is None else f'{told.auc:.2f}', f'{told.bits:+.2f}',
            _likely(told.p), 'DEPENDS' if told.p <= _SURE else '']


def _likely(p: float) -> str:
    return f'{p:.3f}' if p >= 0.001 else '< 0.001'


def _clip(store: Store, pictures: Column | None, row: int) -> dict[str, Any]:
    found: dict[str, Any] = {'id': store.clip(row), 'picture': None}
    if pictures is not None:
        with stored_frames.damage(store, pictures, row):
            frame, = stored_frames.pictures(pictures, row, [int(pictures.lengths[row]) // 2])
        found['picture'] = None if frame is None else timeline.thumbnail(frame)
    return found
