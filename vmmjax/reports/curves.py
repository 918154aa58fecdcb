"""Learning curves: from the JSON lines that training logs to inline SVG."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from vmmjax.reports import plots

_SIZE = (3.8, 2.3)  # Inches of a panel.


class Curve(NamedTuple):
    """One line of a panel: its name ('train', or '' for the only one), colour (from 0 on), last value, points."""

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


def panels(series: dict[str, dict[float, float]], fractions: Collection[str]) -> list[Panel]:
    """Draws one panel a metric: 'train/loss' and 'validation/loss' are two curves of the panel 'loss'.

    Args:
      series: as `training_log.read_log` gives it.
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


def compared(rows: Mapping[str, Sequence[Mapping[str, Mapping[float, float]]]], metrics: Sequence[str],
             fractions: Collection[str]) -> list[Panel]:
    """Draws one panel a metric with a line for each of several rows.

    Args:
      rows: name -> what was logged in each of the row's runs, as `training_log.read_log` gives it; a line is their
        mean at the steps that all of them logged.
      metrics: keys such as 'train/loss'; those that no row has are left out.
      fractions: the metrics drawn in percent, by their last part.

    Returns:
      The panels; a row has the same colour and dashes in all of them.
    """
    found: list[Panel] = []
    for metric in metrics:
        percent = metric.rpartition('/')[2] in fractions
        lines = []
        for place, (name, runs) in enumerate(rows.items()):
            logged = [series.get(metric, {}) for series in runs]
            steps = sorted(set(logged[0]).intersection(*logged[1:])) if logged else []
            values = [(100 if percent else 1) * sum(each[step] for each in logged) / len(logged) for step in steps]
            if values:
                last = f'{values[-1]:.1f} %' if percent else f'{values[-1]:.3g}'
                lines.append(Curve(name, place, last, list(steps), values))
        if lines:
            found.append(Panel(metric, '%' if percent else '', lines, svg(f'compared{len(found)}', lines)))
    return found


def _panel(salt: str, metric: str, lines: dict[str, dict[float, float]], percent: bool) -> Panel:
    usual = {'train': 0, 'validation': 1}
    others = [name for name in lines if name not in usual]
    curves = []
    for name, points in sorted(lines.items(), key=lambda line: usual.get(line[0], 2)):
        values = [100. * value if percent else float(value) for value in points.values()]
        colour = usual[name] if name in usual else (2 + others.index(name)) % plots.COLOURS if name else 0
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
    def draw(figure: Any, palette: plots.Palette) -> None:
        axes = figure.add_subplot()
        axes.grid(axis='y', linewidth=0.8)
        axes.set_axisbelow(True)
        for curve in curves:
            lonely = sum(map(math.isfinite, curve.values)) == 1
            repeat, colour = divmod(curve.colour, len(palette.lines))
            axes.plot(curve.steps, curve.values, color=palette.lines[colour],
                      linewidth=1.8 if len(curves) <= 4 else 1.2,
                      linestyle=plots.DASHES[repeat % len(plots.DASHES)], marker='o' if lonely else None,
                      markersize=4, solid_capstyle='round')
        axes.locator_params(axis='y', nbins=5)
        axes.locator_params(axis='x', nbins=6)
        axes.yaxis.set_major_formatter('{x:g}')
        axes.xaxis.set_major_formatter('{x:g}')
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks)
        axes.set_xlabel(label)

    return plots.svg(salt, draw, _SIZE)
