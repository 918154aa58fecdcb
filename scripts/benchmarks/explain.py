r"""Explanations where the truth is known: of the run of `scripts/demo` on the embedded data set.

  scripts/bench explain demo/motion_sound [--clips=200] [--write]

What is seen of a clip's sprite, when it is silent, and what smooth random maps give is known, so that maps are scored:
the share of a map that lies where the sprite passes, against that area's share of the picture; deletion and insertion
(Petsiuk et al. 2018) against random maps of the same amplitudes in space and time; rank correlation with the maps of a
network whose weights are permuted (Adebayo et al. 2018). --write puts the tables into experiments/results/explain.md.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from vmmjax.evaluation import intervals
from vmmjax.evaluation.intervals import Interval
from vmmjax.experiment import Experiment
from vmmjax.explain import baselines, cams, gradients, layers, score, streams
from vmmjax.pipeline import sampling
from vmmjax.prepare.sources import synthetic
from vmmjax.reports import results_page
from vmmjax.serving.predict import centre
from vmmjax.text_table import markdown
from vmmjax.training.runtime import keep_compiled

PAGE = Path(__file__).resolve().parents[2] / 'experiments/results/explain.md'
_SHORT_SIDE = 56  # Of the demo's store.
_BATCH = 50
_STEPS = 32  # Of integrated gradients.
_FRACTIONS = np.linspace(0, 1, 11)  # Hidden in deletion.
_PERMUTED = 3  # Networks with permuted weights.


class Measured(NamedTuple):
    """What is measured of a method, one value a clip.

    Attributes:
      swept: the share of the map where the sprite passes in the window over that area's share of the picture.
      inside: the share on the sprite itself, picture by picture, over the sprite's share.
      deletion: the area under the logit as the highest places are hidden first, less that of a random map.
      insertion: likewise as the highest places are shown first.
      permuted: rank correlation with maps of permuted weights; of these clips' first batch alone.
    """

    swept: np.ndarray
    inside: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray
    permuted: np.ndarray


def sprite(scene: synthetic.Scene, size: int) -> np.ndarray:
    """Where the sprite is in each picture as the network sees it: float32 (T, size, size) from 0 to 1."""
    inside = synthetic.looks(scene).inside[..., 0]
    steps = np.arange(len(inside))
    masks = np.zeros((synthetic.FPS * synthetic.SECONDS, synthetic.SIDE, synthetic.SIDE), np.float32)
    for mask, (x, y) in zip(masks, synthetic.positions(scene), strict=True):
        mask[np.ix_((y + steps) % synthetic.SIDE, (x + steps) % synthetic.SIDE)] = inside
    small = [cv2.resize(mask, (_SHORT_SIDE, _SHORT_SIDE), interpolation=cv2.INTER_AREA) for mask in masks]
    return np.stack([centre(mask, size) for mask in small])


def random_like(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Maps (B, T, H, W) with the amplitudes of their Fourier transforms and random phases: as smooth, elsewhere."""
    noise = np.fft.fftn(rng.standard_normal(maps.shape), axes=(1, 2, 3))
    return np.fft.ifftn(np.abs(np.fft.fftn(maps, axes=(1, 2, 3))) * noise / np.abs(noise), axes=(1, 2, 3)).real


def share(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Of what speaks for the class in maps (B, T, H, W) the share inside masks, over the masks' share: (B,)."""
    positive = np.maximum(maps, 0)
    on = (positive * masks).sum((1, 2, 3)) / np.maximum(positive.sum((1, 2, 3)), 1e-12)
    return on / np.broadcast_to(masks, maps.shape).mean((1, 2, 3))


class Bench:
    """The demo's run, and its maps compiled.

    Args:
      workdir: of the run.
    """

    def __init__(self, workdir: Path) -> None:
        self.run = Experiment.load(workdir)
        with self.run.config.unlocked():
            self.run.config.batch_size = _BATCH
        self.model, self.variables = self.run.model, self.run.variables
        self.score = score.of_logits(self.model)
        self.names = list(self.run.config.data.streams)
        self.values = streams.coalition_scores(self.score, self.names)
        self.gradients = gradients.integrated_gradients(self.score, {})
        self.curves = jax.jit(self._curves)
        self._cams: dict[str, Any] = {}

    def batches(self, clips: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Raw clip batches of the test split, all of one shape, and how many of their first rows are clips."""
        for batch in self.run.pipeline('test', train=False).batches():
            kept = min(clips, int((batch['mask'] > 0).sum()))
            yield batch, kept
            clips -= kept
            if not clips:
                return

    def maps(self, method: str, variables: Any, batch: Any, classes: jax.Array) -> np.ndarray:
        """Of the pictures, float64 (B, T, H, W), as fine as they are; a layer's name is that of its HiResCAM."""
        if method == 'gradients':
            start = {name: baselines.baseline(batch[name], batch[f'valid/{name}']) for name in self.names}
            found = self.gradients(variables, batch, start, classes, _STEPS).of['rgb']
        else:
            if method not in self._cams:
                known = layers.of_encoder(self.model, 'rgb', variables, batch)
                path, arrange = layers.find(known, method and f'encoders_rgb/{method}', self.model.encoders['rgb'],
                                            batch['rgb'].shape)
                self._cams[method] = cams.cams(self.score, path, arrange)
            found = self._cams[method](variables, batch, classes).hirescam
        return np.asarray(jax.image.resize(found, batch['rgb'].shape[:4], 'linear'), np.float64)

    def _curves(self, variables: Any, batch: Any, classes: jax.Array, order: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The areas under the logit (B,), deletion and insertion, with places hidden by their order from 0 to 1."""
        start = baselines.baseline(batch['rgb'])

        def one(fraction: jax.Array) -> tuple[jax.Array, jax.Array]:
            first = (order < fraction)[..., None]
            return tuple(self.score(variables, {**batch, 'rgb': jnp.where(hidden, start, batch['rgb'])}, classes)
                         for hidden in (first, ~first))

        deleted, inserted = jax.lax.map(one, jnp.asarray(_FRACTIONS))
        return (jnp.trapezoid(deleted, jnp.asarray(_FRACTIONS), axis=0),
                jnp.trapezoid(inserted, jnp.asarray(_FRACTIONS), axis=0))

    def areas(self, batch: Any, classes: jax.Array, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `_curves`; the highest of the maps (B, T, H, W) come first."""
        flat = maps.reshape(len(maps), -1)
        order = np.argsort(np.argsort(-flat, axis=1), axis=1).reshape(maps.shape) / flat.shape[1]
        deleted, inserted = self.curves(self.variables, batch, classes, order.astype(np.float32))
        return np.asarray(deleted, np.float64), np.asarray(inserted, np.float64)

    def permuted(self, seed: int) -> Any:
        """The variables with the weights of every array in a random order."""
        rng = np.random.default_rng(seed)
        return {**self.variables, 'params': jax.tree.map(
            lambda leaf: rng.permutation(np.asarray(leaf).ravel()).reshape(leaf.shape), self.variables['params'])}


def measure(bench: Bench, methods: list[str], clips: int
            ) -> Iterator[tuple[dict[str, Measured], dict[str, np.ndarray]]]:
    """Of each method, and of random maps as `random`; and by name what the streams are worth and which are silent.

    After every batch all so far.
    """
    scenes = synthetic.plan(0, 'test', len(bench.run.store.rows('test')))
    first = bench.run.store.rows('test')[0]
    rng = np.random.default_rng(0)
    found: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in Measured._fields] for name in (*methods, 'random')}
    worth: dict[str, list[np.ndarray]] = {name: [] for name in (*bench.names, 'silent', 'right')}
    for number, (raw, kept) in enumerate(bench.batches(clips)):
        batch = jax.device_get(bench.model.preprocess(raw))
        logits = np.asarray(bench.run.apply(bench.variables, raw, train=False).logits)
        classes = jnp.asarray(logits.argmax(1), jnp.int32)
        values = streams.shapley(np.asarray(bench.values(bench.variables, batch, classes)))
        for name, each in zip(bench.names, values, strict=True):
            worth[name].append(each[:kept])
        worth['silent'].append(~batch['present/audio'][:kept])
        worth['right'].append((logits.argmax(1) == raw['target/label'])[:kept])
        size, count = batch['rgb'].shape[2], batch['rgb'].shape[1]
        there = np.stack([sprite(scenes[max(0, row - first)], size) for row in raw['id'].tolist()])
        places = sampling.dense(np.zeros((1, count)), False, np.full(1, 0.5))
        rate = bench.run.run_inputs['data']['columns']['rgb']['rate']
        taken = sampling.sampled_frames(np.zeros(1), synthetic.SECONDS, places, rate)[0] * synthetic.FPS / rate
        inside, swept = there[:, taken.astype(int)], there.max(1, keepdims=True)
        for method in methods:
            maps = bench.maps(method, bench.variables, batch, classes)
            noise = random_like(maps, rng)
            (deleted, inserted), (worse, better) = (bench.areas(batch, classes, each) for each in (maps, noise))
            rows: list[Any] = [share(maps, swept), share(maps, inside), deleted - worse, inserted - better]
            if not number:
                rows.append(_correlations(bench, method, batch, classes, maps))
            for known, values in zip(found[method], rows, strict=False):
                known.append(values[:kept])
            if method == methods[0]:
                for known, values in zip(found['random'], (share(noise, swept), share(noise, inside)), strict=False):
                    known.append(values[:kept])
        yield ({name: Measured(*(np.concatenate(each) if each else np.zeros(0) for each in kept))
                for name, kept in found.items()}, {name: np.concatenate(each) for name, each in worth.items()})


def _correlations(bench: Bench, method: str, batch: Any, classes: jax.Array, maps: np.ndarray) -> np.ndarray:
    """Of every clip the mean over networks with permuted weights."""
    others = [bench.maps(method, bench.permuted(seed), batch, classes) for seed in range(_PERMUTED)]
    return np.array([np.mean([stats.spearmanr(each[row].ravel(), maps[row].ravel()).statistic for each in others])
                     for row in range(len(maps))])


def _interval(found: Interval, form: str = '.2f') -> str:
    return f'{found.mean:{form}} ({found.low:{form}} to {found.high:{form}})'


def _tables(found: dict[str, Measured], worth: dict[str, np.ndarray]) -> list[str]:
    """Paragraphs and tables, in Markdown."""
    rows = []
    for name, each in found.items():
        ratios = [_interval(intervals.mean(values)) for values in (each.swept, each.inside)]
        pairs = ['–'] * 2 if not len(each.deletion) else [
            _interval(intervals.proportion((better > 0).astype(float))) for better in (-each.deletion, each.insertion)]
        permuted = f'{each.permuted.mean():+.3f}' if len(each.permuted) else '–'
        rows.append([name or 'HiResCAM, chosen layer', *ratios, *pairs, permuted])
    silent = worth['silent']
    parts = [[name, _interval(intervals.mean(values[~silent])), f'{np.abs(values[silent]).max(initial=0.0):g}']
             for name, values in worth.items() if name not in ('silent', 'right')]
    return [
        f'{len(silent)} clips of the test split, of which the run names {100 * worth["right"].mean():.1f} % rightly; '
        f'{int(silent.sum())} are silent.',
        markdown(['map of the pictures', 'where the sprite passes', 'on the sprite', 'deletion below random',
                  'insertion above random', 'permuted'], rows),
        markdown(['stream', 'value with sound, logits', 'largest size in silent clips'], parts)]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('workdir', type=Path, help='run of scripts/demo, such as demo/motion_sound')
    parser.add_argument('--clips', type=int, default=200)
    parser.add_argument('--layers', default='', help='further layers of HiResCAM, such as Mixed_5c')
    parser.add_argument('--write', action='store_true', help='write experiments/results/explain.md')
    options = parser.parse_args()
    keep_compiled()
    methods = ['', *filter(None, options.layers.split(',')), 'gradients']
    for found, worth in measure(Bench(options.workdir), methods, options.clips):
        parts = [f'{results_page.machine()}.', *_tables(found, worth)]
        print('', *parts, sep='\n\n', flush=True)
        if options.write:
            results_page.insert(PAGE, *parts)


if __name__ == '__main__':
    main()
