"""How a sweep over noise looks: on the terminal, and on the page of a run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vmmjax.errors import UserError
from vmmjax.evaluation.noise_sweep import SUFFIX, level_name
from vmmjax.reports import curves
from vmmjax.text_table import aligned


def terminal_table(found: Mapping[str, Any]) -> str:
    """A table for each kind of noise: subsets by ratio, in percent but for a metric that is no fraction."""
    blocks = []
    for kind in dict.fromkeys(row['kind'] for row in found['rows']):
        body = [[row['subset'], str(row['examples']), *(_figure(found, value) for value in row['values'])]
                for row in found['rows'] if row['kind'] == kind]
        header = ['streams', 'clips', *map(level_name, found['ratios'])]
        blocks.append('\n'.join([f'{kind} noise in {", ".join(found["streams"])}: {found["metric"]}',
                                 *aligned([header, *body], '<>')]))
    return '\n\n'.join(blocks) + '\n'


def sections(workdir: Path) -> list[dict[str, Any]]:
    """What the report's page shows of the sweeps in a workdir, see `noise_table.html`.

    Returns:
      Of each `split`, `streams`, `metric`, `trained` as one text, `method` of the intervals, `header`, and `kinds`: of
      each its `name`, `rows` of a name and cells (the figure, and its interval as text), and `panel`, the picture, see
      `curves.Panel`.

    Raises:
      UserError: for a file that is none of `write`.
    """
    found = []
    for path in sorted((workdir / 'eval').glob(f'*{SUFFIX}.json')):
        try:
            found.append(_section(json.loads(path.read_text(encoding='utf-8'))))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f'{path} is no result with noise ({error}): delete it and run vmmjax evaluate --snr=... '
                            f'again.') from error
    return found


def _section(found: Mapping[str, Any]) -> dict[str, Any]:
    trained = '; '.join(f'{name}: {text}' for name, text in found['trained'].items())
    ticks = [level_name(level) for level in found['ratios']]
    kinds = []
    for kind in dict.fromkeys(row['kind'] for row in found['rows']):
        rows = [row for row in found['rows'] if row['kind'] == kind]
        lines = [curves.Curve(row['subset'], i % 4, '', *_points(row['values'], found['plain']))
                 for i, row in enumerate(rows)]
        panel = curves.Panel(found['metric'], '' if found['plain'] else '%', lines,
                             curves.svg(f'noise-{kind}', lines, label='sound to noise', ticks=ticks))
        kinds.append({'name': kind, 'panel': panel, 'rows': [
            {'name': row['subset'], 'examples': row['examples'], 'cells': [
                {'figure': _figure(found, value), 'interval': _interval(found, row, i)}
                for i, value in enumerate(row['values'])]} for row in rows]})
    methods = '; '.join(dict.fromkeys(name for row in found['rows'] for name in row.get('methods', ()) if name))
    return {'split': found['split'], 'streams': found['streams'], 'metric': found['metric'], 'trained': trained,
            'method': methods, 'header': ticks, 'kinds': kinds}


def _points(values: Sequence[float | None], plain: bool) -> tuple[list[float], list[float]]:
    there = [(float(i), value if plain else 100 * value) for i, value in enumerate(values) if value is not None]
    return [place for place, _ in there], [value for _, value in there]


def _interval(found: Mapping[str, Any], row: Mapping[str, Any], place: int) -> str:
    interval = row['intervals'][place] if 'intervals' in row else None
    if not interval or interval[1] is None:
        return ''
    return f'{_figure(found, interval[1])} to {_figure(found, interval[2])}'


def _figure(found: Mapping[str, Any], value: float | None) -> str:
    if value is None:
        return '–'
    return f'{value:.3g}' if found['plain'] else f'{100 * value:.1f}'
