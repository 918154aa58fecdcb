"""What a person reads: a table on the terminal, and one page for screen, phone and print."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vmmjax.errors import UserError
from vmmjax.evaluation import cost, noise_sweep
from vmmjax.evaluation.config_diff import Difference, without_paths
from vmmjax.evaluation.result import COUNT, NUMBER, PERCENT, TEXT, Result, read, read_split, write_text
from vmmjax.evaluation.training_log import read_log
from vmmjax.reports import curves, noise_table, plots, timeline
from vmmjax.reports.templates import templates
from vmmjax.text_table import aligned

Show = Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]]]

_WIDTH = 100  # Columns of the terminal.
_MOST_CLASSES_SHOWN = 40  # Beyond it: the classes of lowest F1, and no matrix but its largest mistakes.


def terminal_table(result: Result) -> str:
    """The result as plain text of at most 100 columns: subsets by metrics, then the classes or the first table.

    Args:
      result: as `Task.result` gives it; fractions are shown in percent.
    """
    keys = _columns(result)
    first, *rest = keys
    labels = _labels(result)
    rows = [[name, str(row['examples']), _figure(result.plain, first, row[first]),
             *[_ends(result.plain, first, row.get('intervals', {}))] * bool(labels),
             *(_figure(result.plain, key, row[key]) for key in rest)] for name, row in result.subsets.items()]
    rows.append([result.chance_of, str(result.examples), _figure(result.plain, first, result.chance.get(first)),
                 *['–'] * bool(labels), *(_figure(result.plain, key, result.chance.get(key)) for key in rest)])
    unit = '' if first in result.plain else ' %'
    title = (f'{result.split} split, step {result.step}: {result.examples} clips, '
             f'{first} {_figure(result.plain, first, result.metrics[first])}{unit}, '
             f'loss {result.metrics["loss"]:.4f}')
    lines = [title]
    # Many metrics are more than a terminal is wide: some at a time.
    for some in _fitting(['streams', 'clips', first, *['CI'] * bool(labels), *rest], rows):
        lines += ['', *_aligned(some[0], some[1:])]
    lines += [*[f'Confidence interval (CI) of {first}: {labels}.'] * bool(labels), *result.remarks, '']
    for shown_table in result.tables[:1]:
        lines += [f'{shown_table["title"]}:', *_aligned(shown_table['columns'], _cells(shown_table))]
        if len(shown_table['rows']) > _MOST_CLASSES_SHOWN:
            lines.append(f'The first {_MOST_CLASSES_SHOWN} of {len(shown_table["rows"])}.')
    if result.per_class is None:
        return '\n'.join(lines) + '\n'
    shown = _shown_classes(result)
    if len(shown) < len(result.classes):
        lines += [f'The {len(shown)} of {len(result.classes)} classes with the lowest F1:']
    lines += _aligned(['class', 'precision', 'recall', 'f1', 'clips'],
                      [[row['name'], *(_percent(row[key]) for key in ('precision', 'recall', 'f1')),
                        str(row['support'])] for row in shown])
    return '\n'.join(lines) + '\n'


def beside(result: Result, others: Sequence[Path]) -> Result:
    """The result with the subsets of other runs, measured on the same split, as further rows.

    Args:
      result: as `Task.result` gives it.
      others: the other runs' workdirs; the rows are named after them, as `shuffled: rgb`.

    Raises:
      UserError: for a run that was not measured on this split, or has other metrics.
    """
    rows = dict(result.subsets)
    for workdir in others:
        other = read_split(workdir, result.split)
        if other.metrics.keys() != result.metrics.keys():
            raise UserError(f'{workdir} has other metrics ({", ".join(other.metrics)}) than this run '
                            f'({", ".join(result.metrics)}); they cannot stand in one table.')
        rows |= {f'{workdir.name}: {name}': row for name, row in other.subsets.items()}
    return dataclasses.replace(result, subsets=rows)


def write(workdir: Path, *, title: str = '', config: str = '', command: str = '', others: Sequence[Path] = (),
          splits: Sequence[str] = ('test', 'validation'), base: tuple[str, Sequence[Difference]] | None = None,
          show: Show = list, made: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Writes `<workdir>/report.html` from the workdir's `log.jsonl` and `eval/*.json`, whichever are there.

    The page is one file, needs no network, runs no script, and the same input gives the same bytes. Absolute
    paths in `config` and `command` are shortened: relative to the current folder, else '…/name'.

    Args:
      workdir: the run's folder.
      title: the page's headline, such as the experiment's name; by default the folder's name.
      config: the configuration as text.
      command: the command that repeats the run.
      others: workdirs of other runs whose rows stand beside this one's in the first split's table (`beside`).
      splits: the splits a reader expects, the most telling first; of one without result the page says so.
      base: the name of another run, and where this one's config differs from it.
      show: adds to the worst clips of the first split what they look like, see `worst_clips.shown`.
      made: what was made of clips of the first split, see `reconstructions.shown`.

    Returns:
      The page's path.

    Raises:
      UserError: where a result cannot be read or the page not be written.
    """
    environment = templates()
    workdir = Path(workdir)
    results = {path.stem: read(path) for path in sorted((workdir / 'eval').glob('*.json'))
               if not path.stem.endswith(noise_sweep.SUFFIX)}
    order = [split for split in splits if split in results]
    order += [split for split in results if split not in order]
    if order:
        results[order[0]] = beside(results[order[0]], others)
    fractions = {key for result in results.values() for key in _columns(result) if key not in result.plain}
    fractions |= {'accuracy', 'top5'}
    log = workdir / 'log.jsonl'
    series, broken = read_log(log) if log.exists() else ({}, 0)
    environment.filters['percent'] = _percent
    environment.globals.update(figure=_figure, cells=_cells, ends=_ends)
    views = [_view(results[split]) for split in order]
    if views:
        views[0] |= {'worst': show(views[0]['worst']), 'made': made}
    moves = any(lane['kind'] == 'motion' for view in views[:1] for clip in view['worst'] if 'seen' in clip
                for lane in clip['seen']['lanes'])
    page = environment.get_template('run_page.html').render(
        title=title or workdir.resolve().name, config=without_paths(config), command=without_paths(command),
        results=views, wheel=timeline.wheel() if moves else '', base=base,
        cost=cost.facts(views[0]['cost'] if views else {}, series),
        missing=[split for split in splits if split not in results],
        panels=curves.panels(series, fractions), logged=log.exists(), broken=broken,
        noises=noise_table.sections(workdir))
    path = workdir / 'report.html'
    write_text(path, page)
    return path


def _view(result: Result) -> dict[str, Any]:
    """Adds to a result what the page shows of it."""
    view = {**vars(result), 'store': without_paths(result.store), 'columns': _columns(result),
            'labels': _labels(result), 'reliability': '', 'made': ()}
    if result.calibration:
        view['reliability'] = plots.svg(f'reliability-{result.split}',
                                        plots.reliability(result.calibration), (3.8, 3.3))
    if result.confusion is None:
        return view
    names, confusion = result.classes, result.confusion
    mistakes = sorted(((count, names[truth], names[prediction])
                       for truth, row in enumerate(confusion) for prediction, count in enumerate(row)
                       if count and truth != prediction), key=lambda mistake: -mistake[0])
    return {
        **view,
        'shown_classes': _shown_classes(result),
        'mistakes': [{'count': count, 'truth': truth, 'prediction': prediction}
                     for count, truth, prediction in mistakes[:_MOST_CLASSES_SHOWN]],
        # Rows as fractions of the truth, for the shades; None: too many classes for a matrix.
        'matrix': None if len(names) > _MOST_CLASSES_SHOWN else [
            {'name': name, 'cells': [{'count': count, 'share': count / max(1, sum(row))} for count in row]}
            for name, row in zip(names, confusion, strict=True)],
    }


def _columns(result: Result) -> list[str]:
    """The metrics that are shown: top-5 only where it says more."""
    few = len(result.classes) <= 5
    return [key for key in result.metrics if key != 'loss' and not (key == 'top5' and few)]


def _labels(result: Result) -> str:
    """The methods of the first metric's intervals, or why it has none; empty of a result of an older version."""
    first = _columns(result)[0]
    found = [row['intervals'].get(first, {'label': 'no CI: it is no mean over clips'})['label']
             for row in result.subsets.values() if row.get('intervals')]
    return '; '.join(dict.fromkeys(found))


def _ends(plain: Sequence[str], key: str, intervals: Mapping[str, Mapping[str, Any]]) -> str:
    """A metric's interval; a dash where there is none."""
    found = intervals.get(key, {'low': None})
    return '–' if found['low'] is None else ' to '.join(_figure(plain, key, found[end]) for end in ('low', 'high'))


def _shown_classes(result: Result) -> list[Any]:
    rows = result.per_class or []
    if len(rows) <= _MOST_CLASSES_SHOWN:
        return rows
    return sorted(rows, key=lambda row: row['f1'])[:_MOST_CLASSES_SHOWN]


def _percent(value: float | None) -> str:
    return '–' if value is None else f'{100 * value:.1f}'


def _figure(plain: Sequence[str], key: str, value: float | None) -> str:
    """A metric in percent, or as it is where it is no fraction."""
    return _number(value) if key in plain else _percent(value)


def _number(value: float | None) -> str:
    return '–' if value is None else f'{value:.4g}'


_WRITTEN: dict[str, Callable[[Any], str]] = {
    TEXT: str, COUNT: str, PERCENT: _percent, NUMBER: _number}


def _cells(shown: Mapping[str, Any]) -> list[list[str]]:
    """The first rows of a task's table as texts."""
    return [[_WRITTEN[form](value) for form, value in zip(shown['formats'], row, strict=True)]
            for row in shown['rows'][:_MOST_CLASSES_SHOWN]]


def _fitting(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[list[str]]]:
    """The table as several, header first, each with the first two columns and as many others as have room."""
    table = [list(header), *map(list, rows)]
    widths = [2 + max(map(len, column)) for column in zip(*table, strict=True)]
    room = _WIDTH - min(30, widths[0]) - widths[1]
    groups: list[list[int]] = [[]]
    for place in range(2, len(header)):
        if groups[-1] and sum(widths[i] for i in groups[-1]) + widths[place] > room:
            groups.append([])
        groups[-1].append(place)
    return [[[row[0], row[1], *(row[place] for place in group)] for row in table] for group in groups]


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left and cut where they are too long, figures to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    room = max(12, min(widths[0], _WIDTH - sum(width + 2 for width in widths[1:])))
    lines = []
    for row in (header, *rows):
        name = ' '.join(row[0].split())
        lines.append([name if len(name) <= room else name[:room - 1] + '…', *row[1:]])
    first, *others = aligned(lines, '<>', minimum=(room,))
    return [first, '-' * len(first), *others]
