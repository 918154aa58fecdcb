"""Learning curves: from the JSON lines that training logs to inline SVG."""

import io
import json
import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vmmjax.evaluation import extra

# Stand-ins of matplotlib's output for the page's own colours, which differ by day, by night and in print.
_INK, _GRID = '#010203', '#040506'
_LINES = ('#0a0001', '#0a0002', '#0a0003', '#0a0004')
_COLOURS = {_INK: 'var(--soft)', _GRID: 'var(--line)',
            **{stand_in: f'var(--curve{i})' for i, stand_in in enumerate(_LINES)}}


class Curve(NamedTuple):
    """One line of a panel: its name ('train', or '' for the only one), colour (0..3), last value, points."""

    name: str
    colour: int
    last: str
    steps: list[float]
    values: list[float]


class Panel(NamedTuple):
    """One picture of the report: the metric's name, its unit, its curves, and the SVG element as text."""

    name: str
    unit: str
    curves: list[Curve]
    svg: str


def read_log(path: Path) -> tuple[dict[str, dict[float, float]], int]:
    """Reads `log.jsonl`.

    Of a step that was logged twice (a run that was killed and went on) the later line counts. A line that is
    no JSON object with a step, as a killed run may leave, is left out and counted.

    Args:
      path: the file.

    Returns:
      Value by step by key, in the order of appearance, and the number of lines left out.
    """
    series: dict[str, dict[float, float]] = {}
    broken = 0
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            record = json.loads(line)
            step = record.pop('step')
        except (ValueError, KeyError, AttributeError, TypeError):
            broken += 1
            continue
        for key, value in record.items():
            if isinstance(value, int | float):
                series.setdefault(key, {})[step] = value
    return {key: dict(sorted(points.items())) for key, points in series.items()}, broken


def panels(series: dict[str, dict[float, float]], fractions: Collection[str]) -> list[Panel]:
    """Draws one panel a metric: 'train/loss' and 'validation/loss' are two curves of the panel 'loss'.

    Args:
      series: as `read_log` gives it.
      fractions: the metrics drawn in percent.

    Returns:
      The panels, loss and accuracy first, then by appearance.
    """
    grouped: dict[str, dict[str, dict[float, float]]] = {}
    for key, points in series.items():
        name, _, metric = key.rpartition('/')
        grouped.setdefault(metric, {})[name] = points
    first = {'loss': 0, 'accuracy': 1}
    ordered = sorted(grouped, key=lambda metric: first.get(metric, 2))
    return [_panel(f'panel{i}', metric, grouped[metric], metric in fractions)
            for i, metric in enumerate(ordered)]


def _panel(salt: str, metric: str, lines: dict[str, dict[float, float]], percent: bool) -> Panel:
    usual = {'train': 0, 'validation': 1}
    others = [name for name in lines if name not in usual]
    curves = []
    for name, points in sorted(lines.items(), key=lambda line: usual.get(line[0], 2)):
        values = [100. * value if percent else float(value) for value in points.values()]
        colour = usual[name] if name in usual else (2 + others.index(name)) % len(_LINES) if name else 0
        curves.append(Curve(name, colour, f'{values[-1]:.1f} %' if percent else f'{values[-1]:.3g}',
                            list(points), values))
    return Panel(metric, '%' if percent else '', curves, svg(salt, curves))


def svg(salt: str, curves: list[Curve], *, label: str = 'step', ticks: Sequence[str] = ()) -> str:
    """Draws curves as one SVG element in the page's own colours.

    Args:
      salt: begins the ids in the picture; another for every picture of a page.
      curves: at least one.
      label: of the horizontal axis.
      ticks: names of the places 0, 1, ... on it, where it is no number.
    """
    matplotlib = extra.load('matplotlib')
    figures = extra.load('matplotlib.figure')
    # Text stays text (any system font shows it), and the same log gives the same bytes.
    style = {'svg.fonttype': 'none', 'svg.hashsalt': salt, 'text.color': _INK, 'axes.edgecolor': _GRID,
             'xtick.color': _GRID, 'ytick.color': _GRID, 'xtick.labelcolor': _INK, 'ytick.labelcolor': _INK,
             'axes.labelcolor': _INK, 'grid.color': _GRID, 'font.size': 10.5, 'axes.spines.top': False,
             'axes.spines.right': False, 'axes.spines.left': False, 'ytick.major.size': 0}
    with matplotlib.rc_context(style):
        figure = figures.Figure(figsize=(3.8, 2.3), layout='constrained')
        axes: Any = figure.add_subplot()
        axes.grid(axis='y', linewidth=0.8)
        axes.set_axisbelow(True)
        for curve in curves:
            lonely = sum(map(math.isfinite, curve.values)) == 1
            axes.plot(curve.steps, curve.values, color=_LINES[curve.colour], linewidth=1.8,
                      marker='o' if lonely else None, markersize=4, solid_capstyle='round')
        axes.locator_params(axis='y', nbins=5)
        axes.locator_params(axis='x', nbins=6)
        axes.yaxis.set_major_formatter('{x:g}')
        axes.xaxis.set_major_formatter('{x:g}')
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks)
        axes.set_xlabel(label)
        out = io.StringIO()
        figure.savefig(out, format='svg', transparent=True,
                       metadata=dict.fromkeys(('Date', 'Creator', 'Format', 'Type')))
    return _inline(out.getvalue(), salt)


def _inline(svg: str, salt: str) -> str:
    """Makes a matplotlib file an element of a page: no prologue, its own ids, the page's font and colours."""
    svg = svg[svg.index('<svg'):]
    svg = re.sub(r'<metadata>.*?</metadata>', '', svg, flags=re.DOTALL)
    svg = re.sub(r'^<svg[^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg)
    svg = svg.replace('xlink:href=', 'href=')
    svg = re.sub(r'\bid="', f'id="{salt}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf'\g<1>{salt}-', svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r'font: \1 system-ui, sans-serif', svg)
    for stand_in, colour in _COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg
