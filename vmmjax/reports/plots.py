"""Pictures of a result: drawn once, for a page in the page's own colours, or for a file."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vmmjax import optional


class Palette(NamedTuple):
    """Colours: of texts, of what lies behind, and of lines."""

    ink: str
    grid: str
    lines: tuple[str, ...]


# Stand-ins of matplotlib's output for the page's own colours, which differ by day, by night and in print.
_PAGE = Palette('#010203', '#040506', tuple(f'#0a000{i}' for i in range(1, 9)))
_COLOURS = {_PAGE.ink: 'var(--soft)', _PAGE.grid: 'var(--line)',
            **{stand_in: f'var(--curve{i})' for i, stand_in in enumerate(_PAGE.lines)}}
_DAY = Palette('#646a73', '#e3e5e8', ('#2456d6', '#d9691a', '#16876b', '#9b3fb5', '#b8860b', '#c2334d', '#0f86a6',
                                      '#77716a'))
COLOURS = len(_PAGE.lines)
"""Of lines, in every palette."""
DASHES = ('-', (0, (4, 2)), (0, (1, 1.5)))
"""More lines than a palette has colours differ in these."""
_DOTS = 160  # An inch of a PNG.

Draw = Callable[[Any, Palette], None]
"""Draws on the empty figure of matplotlib that it is given."""


def svg(salt: str, draw: Draw, size: tuple[float, float]) -> str:
    """A picture as one SVG element in the page's own colours: --soft, --line, --curve0, --curve1, ..., --curve7.

    Args:
      salt: begins the ids in the picture; another for every picture of a page.
      draw: see `Draw`.
      size: in inches.
    """
    return _inline(_svg(draw, _PAGE, size, salt), salt)


def svg_file(draw: Draw, size: tuple[float, float]) -> str:
    """A picture as an SVG file, in the colours of a page by day; see `svg`."""
    return _svg(draw, _DAY, size, 'vmmjax')


def png(draw: Draw, size: tuple[float, float]) -> bytes:
    """A picture as a PNG file; see `svg`."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph')  # Letters that matplotlib's font has not are boxes.
        _save(draw, _DAY, size, {}, out, format='png', dpi=_DOTS)
    return out.getvalue()


def reliability(bins: Sequence[Mapping[str, Any]]) -> Draw:
    """Draws a reliability diagram.

    In the upper part a bar is how often what is named is right, pale where that is more often than its probability;
    what is missing to the probability has the second colour. In the lower part it is the share of the clips.

    Args:
      bins: as `metrics.calibration` gives them.
    """
    clips = sum(each['clips'] for each in bins)
    width = 100 / len(bins)
    found = [(width * (i + 0.5), 100 * each['probability'], 100 * each['right'])
             for i, each in enumerate(bins) if each['clips']]

    def draw(figure: Any, palette: Palette) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 100], [0, 100], color=palette.ink, linewidth=0.8, linestyle=DASHES[1])
        for place, sure, right in found:
            upper.bar(place, min(sure, right), 0.9 * width, color=palette.lines[0])
            upper.bar(place, abs(sure - right), 0.9 * width, bottom=min(sure, right), alpha=0.5,
                      color=palette.lines[int(sure > right)])
        lower.bar([width * (i + 0.5) for i in range(len(bins))], [100 * each['clips'] / clips for each in bins],
                  0.9 * width, color=palette.ink)
        for axes, name in ((upper, 'right, %'), (lower, 'clips, %')):
            axes.grid(axis='y', linewidth=0.8)
            axes.set_axisbelow(True)
            axes.set_ylabel(name)
        upper.set(xlim=(0, 100), ylim=(0, 100))
        lower.locator_params(axis='y', nbins=2)
        lower.set_xlabel('probability of what is named, %')

    return draw


def confusion(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Draw:
    """Draws a confusion matrix: rows are the truth, shaded by their share of the row.

    Args:
      names: of the C classes.
      counts: C x C.
    """
    def draw(figure: Any, palette: Palette) -> None:
        axes = figure.add_subplot()
        axes.imshow([[count / max(1, sum(row)) for count in row] for row in counts], cmap='Blues', vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        for truth, row in enumerate(counts):
            for said, count in enumerate(row):
                axes.text(said, truth, count, ha='center', va='center', fontsize=7,
                          color='white' if count > 0.5 * sum(row) else palette.ink)
        axes.set(xlabel='prediction', ylabel='truth')

    return draw


def _svg(draw: Draw, palette: Palette, size: tuple[float, float], salt: str) -> str:
    out = io.StringIO()
    # Text stays text (any system font shows it), and the same input gives the same bytes.
    _save(draw, palette, size, {'svg.fonttype': 'none', 'svg.hashsalt': salt}, out, format='svg', transparent=True,
          metadata=dict.fromkeys(('Date', 'Creator', 'Format', 'Type')))
    return out.getvalue()


def _save(draw: Draw, palette: Palette, size: tuple[float, float], style: Mapping[str, Any], out: Any,
          **options: Any) -> None:
    matplotlib = optional.load('matplotlib')
    figures = optional.load('matplotlib.figure')
    ink, grid, _ = palette
    with matplotlib.rc_context({
            **style, 'text.color': ink, 'axes.edgecolor': grid, 'xtick.color': grid, 'ytick.color': grid,
            'xtick.labelcolor': ink, 'ytick.labelcolor': ink, 'axes.labelcolor': ink, 'grid.color': grid,
            'font.size': 10.5, 'axes.spines.top': False, 'axes.spines.right': False, 'axes.spines.left': False,
            'ytick.major.size': 0}):
        figure = figures.Figure(figsize=size, layout='constrained')
        draw(figure, palette)
        figure.savefig(out, **options)


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
