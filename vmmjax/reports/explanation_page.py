"""The page of an explanation, and the videos and pictures beside it."""

import base64
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax import atomic
from vmmjax.media.writer import write_clip
from vmmjax.reports import overlays, plots
from vmmjax.reports.templates import templates
from vmmjax.serving.explanation import Explanation, Map

_CURVE = (7.2, 2.2)  # Inches.
_QUANTISER = 24
_MOST_EMBEDDED = 2_000_000  # Bytes of a video that the page holds itself.


def write(folder: Path, found: Explanation) -> Path:
    """Writes `explanation.html` and, of every stream with pictures or a spectrum, an overlay beside it.

    Of pictures it is `<stream>.mp4`, of each spectrum `<stream>_<method>.png`. Each file is whole or not there.

    Args:
      folder: is there.
      found: what is shown.

    Returns:
      The page's path.
    """
    sections = [_section(folder, found, stream, [each for each in found.maps if each.stream == stream])
                for stream, there in found.present.items() if there]
    environment = templates()
    environment.filters['signed'] = lambda value: f'{value:+.3f}'
    page = environment.get_template('explanation.html').render(
        title=Path(found.clip).name, found=found, sections=sections, full=round(100 * overlays.FULL),
        rows=_streams(found), subsets={name: float(values.mean()) for name, values in found.subsets.items()},
        logit=float(found.scores.mean()))
    path = folder / 'explanation.html'
    atomic.write(path, page)
    return path


def _streams(found: Explanation) -> list[dict[str, Any]]:
    """Of every stream its value, in the mean over windows, and its share of the values' sizes."""
    means = {name: float(values.mean()) for name, values in found.values.items()}
    total = sum(map(abs, means.values()))
    return [{'name': name, 'value': value, 'share': abs(value) / total if total else 0.0,
             'present': found.present[name]} for name, value in means.items()]


def _section(folder: Path, found: Explanation, stream: str, maps: Sequence[Map]) -> dict[str, Any]:
    seen = found.seen[stream]
    scales = [overlays.scale(each.values) for each in maps]
    section: dict[str, Any] = {'stream': stream, 'maps': list(zip(maps, scales, strict=True)),
                               'video': '', 'file': '', 'pictures': {}, 'words': [],
                               'curve': '', 'key': []}
    if isinstance(seen, list):
        section['words'] = [_words(each, seen) for each in maps]
        return section
    if not maps:
        return section
    if seen.ndim == 5:
        with_places = {each.method: each.values for each in maps if each.values.ndim == 4}
        section |= _video(folder, found, stream, seen, with_places)
    elif seen.ndim == 3:
        section['pictures'] = _spectra(folder, stream, seen, maps)
    section['curve'] = plots.svg(f'curve-{stream}', functools.partial(_curves, found=found, maps=maps), _CURVE)
    section['key'] = [(each.method, place) for place, each in enumerate(maps)]
    return section


def _video(folder: Path, found: Explanation, stream: str, seen: np.ndarray, maps: Mapping[str, np.ndarray]
           ) -> dict[str, str]:
    """The windows one after another, at the speed at which they were taken."""
    frames = np.concatenate([overlays.film(seen[place], {name: values[place] for name, values in maps.items()})
                             for place in range(len(seen))])
    path = folder / f'{stream}.mp4'
    write_clip(path, frames, fps=max(1.0, seen.shape[1] / found.length), quantiser=_QUANTISER, group=len(frames))
    content = path.read_bytes()
    small = len(content) <= _MOST_EMBEDDED
    return {'video': f'data:video/mp4;base64,{base64.b64encode(content).decode()}' if small else '', 'file': path.name}


def _spectra(folder: Path, stream: str, seen: np.ndarray, maps: Sequence[Map]) -> dict[str, str]:
    """Of every method its picture, all windows one after another, as the source of an <img>."""
    frames = seen.reshape(-1, seen.shape[-1])
    drawn = {each.method: overlays.spectrum(frames, each.values.reshape(-1, *each.values.shape[2:])) for each in maps}
    for name, content in drawn.items():
        atomic.write(folder / f'{stream}_{name}.png', content)
    return {name: f'data:image/png;base64,{base64.b64encode(content).decode()}' for name, content in drawn.items()}


def _words(each: Map, words: Sequence[str]) -> dict[str, Any]:
    weights = each.values[0, :len(words)]
    full = float(np.abs(weights).max(initial=1e-12))
    return {'method': each.method, 'full': full,
            'words': [{'text': word, 'weight': float(weight), 'strength': abs(float(weight)) / full}
                      for word, weight in zip(words, weights, strict=True)]}


def _curves(figure: Any, palette: plots.Palette, found: Explanation, maps: Sequence[Map]) -> None:
    """Sums over places, as shares of each method's greatest."""
    axes = figure.add_subplot()
    for place, each in enumerate(maps):
        sums = each.values.reshape(*each.values.shape[:2], -1).sum(2)
        sums = sums / max(float(np.abs(sums).max()), 1e-12)
        for times, values in zip(found.times(sums.shape[1]), sums, strict=True):
            width = found.length / sums.shape[1]
            edges = np.append(times - width / 2, times[-1] + width / 2)
            axes.stairs(values, edges, baseline=None, color=palette.lines[place], linewidth=1.6)
    axes.axhline(0, color=palette.grid, linewidth=0.8)
    axes.set(xlabel='seconds', ylabel='share of the greatest', ylim=(-1.05, 1.05))
