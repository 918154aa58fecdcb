r"""Whether streams that were trained alone, combined by weights of a validation split, lose to the best of them.

  vmmjax prepare --source=grid/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  scripts/bench late_fusion stores/grid --write

Each of the six words of a GRID sentence is told from features of its frames (the mouth, 16 frames, 10 x 10 grey
values) and of its sound (12 means of log-mels) by networks of one hidden layer, over the store's folds, with several
seeds. Each network is stopped at its own best step by the loss on the validation fold. Their scores are combined as
`vmmjax evaluate --fuse --weights=fit` does, by `score_fusion.fit` on that fold. Controls: equal weights, one network on
the features of both, and each of these with a further stream that says nothing, the sound of another clip.

Differences are to the stream that is best on the validation fold, paired by seed and clip. A lower bound is one-sided
and simultaneous over the words (95 %, Bonferroni); a row is non-inferior at a margin where its bound is above it.
"""

import argparse
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vmmjax import config as configs
from vmmjax.evaluation import intervals, score_fusion
from vmmjax.evaluation.statistics import Scores
from vmmjax.pipeline.folds import folded
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.reports import results_page
from vmmjax.store.store import Store
from vmmjax.text_table import markdown
from vmmjax.training.runtime import keep_compiled

PAGE = Path(__file__).resolve().parents[2] / 'experiments' / 'results' / 'late_fusion.md'
WORDS = ('command', 'color', 'preposition', 'letter', 'digit', 'adverb')
MARGINS = (3, 5)  # Points.
RGB, AUDIO, OTHER = 'frames', 'sound', 'sound of another clip'
_SECONDS = 3.0  # Of a GRID clip.
_MOUTH = (0.56, 0.35, 0.86, 0.65)
_SEGMENTS = 12  # Of the sound.
_HIDDEN, _DROPOUT, _RATE, _DECAY = 64, 0.5, 1e-3, 1e-2
_STEPS, _EVERY, _BATCH = 600, 20, 32


class Turn(NamedTuple):
    """Catalog rows of a turn of cross-validation, int (N,) each."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Trained(NamedTuple):
    """What networks say: logits of every clip (S, N, C), and how many they tell rightly on the validation fold (S,)."""

    logits: np.ndarray
    validation: np.ndarray


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench late_fusion', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('store', type=Path, help='GRID with folds, and the columns rgb and audio.')
    parser.add_argument('--words', default=','.join(WORDS), help='Which of the words.')
    parser.add_argument('--folds', default='0,1,2,3,4', help='Folds that are tested.')
    parser.add_argument('--seeds', type=int, default=3, help='Of initialisation, order and dropout.')
    parser.add_argument('--write', action='store_true', help=f'Put the tables into experiments/results/{PAGE.name}.')
    options = parser.parse_args()
    keep_compiled()
    store = Store(options.store)
    streams = _features(store)
    streams[OTHER] = streams[AUDIO][np.random.default_rng(0).permutation(len(streams[AUDIO]))]
    turns = [Turn(*(folded(store, int(fold)).splits[name] for name in Turn._fields))
             for fold in options.folds.split(',')]
    words = options.words.split(',')
    right = {word: _right(store.values(word), streams, turns, options.seeds) for word in words}
    tables = '\n\n'.join(_tables(right, options.seeds))
    if options.write:
        results_page.insert(PAGE, f'{results_page.machine(("jax", "optax"))}.', tables)
    else:
        print(tables)


def _features(store: Store) -> dict[str, np.ndarray]:
    """Float32 (N, D) of every clip, by stream."""
    config = configs.defaults().data.to_dict()
    config['window']['seconds'], config['target'] = _SECONDS, WORDS[0]
    config['streams'] = dict(rgb=dict(modality='rgb', frames=16, size=40, region=_MOUTH),
                             audio=dict(modality='audio'))
    rows = len(store)
    found: dict[str, np.ndarray] = {}
    for split in store.splits:
        for batch in Pipeline(store, config, split=split, batch_size=50, train=False, seed=0).batches():
            grey = batch['rgb'].astype(np.float32).mean(-1)  # (B, 16, 40, 40)
            cells = grey.reshape(*grey.shape[:2], 10, 4, 10, 4).mean((3, 5))
            length = batch['audio'].shape[1] // _SEGMENTS
            heard = batch['audio'][:, :_SEGMENTS * length].reshape(len(grey), _SEGMENTS, length, -1).mean(2)
            here = batch['mask'] > 0
            for name, values in ((RGB, cells - cells.mean(1, keepdims=True)), (AUDIO, heard)):
                flat = values.reshape(len(values), -1)
                found.setdefault(name, np.zeros((rows, flat.shape[1]), np.float32))[batch['id'][here]] = flat[here]
    return found


def _right(labels: np.ndarray, streams: Mapping[str, np.ndarray], turns: Sequence[Turn], seeds: int
           ) -> dict[str, np.ndarray]:
    """Which clips each way tells rightly, (S, tested clips), by the way; `best` is the best stream by validation."""
    classes, target = np.unique(labels, return_inverse=True)
    found: dict[str, list[np.ndarray]] = {}
    for turn in turns:
        def train(*names: str, turn: Turn = turn) -> Trained:
            return _train(np.concatenate([_scaled(streams[name], turn.train) for name in names], 1), target, turn,
                          len(classes), seeds)

        alone = {name: train(name) for name in (RGB, AUDIO, OTHER)}
        said = {name: networks.logits for name, networks in alone.items()}
        quality = np.stack([alone[name].validation for name in (RGB, AUDIO)])
        said['best'] = np.where((quality[0] > quality[1])[:, None, None], said[RGB], said[AUDIO])
        for ending, names in (('', (RGB, AUDIO)), (f', and {OTHER}', (RGB, AUDIO, OTHER))):
            said[f'equal weights{ending}'] = sum(said[name] for name in names)
            said[f'fitted weights{ending}'] = np.stack([
                _fitted([said[name][seed] for name in names], target, turn.validation) for seed in range(seeds)])
            said[f'one network{ending}'] = train(*names).logits
        for name, logits in said.items():
            found.setdefault(name, []).append(logits[:, turn.test].argmax(-1) == target[turn.test])
    return {name: np.concatenate(parts, 1).astype(float) for name, parts in found.items()}


def _scaled(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance on the training clips, and each stream of as much as every other."""
    return (x - x[train].mean(0)) / (x[train].std(0) + 1e-3) * (100 / x.shape[1]) ** 0.5


def _fitted(logits: Sequence[np.ndarray], target: np.ndarray, validation: np.ndarray) -> np.ndarray:
    """Logits (N, C) of the runs' (N, C) by the weights of the validation clips."""
    blank = np.full(len(validation), '')
    weights = score_fusion.fit([
        Scores(validation.astype(str), blank, {'': target[validation]}, {'all': {'': each[validation]}}, {})
        for each in logits])
    return np.tensordot(weights, np.stack(logits), 1)


def _train(x: np.ndarray, target: np.ndarray, turn: Turn, classes: int, seeds: int) -> Trained:
    logits, right = _networks(jnp.asarray(x), jnp.asarray(target), *map(jnp.asarray, turn[:2]),
                              jax.random.split(jax.random.key(0), seeds), classes)
    return Trained(np.asarray(logits), np.asarray(right))


@functools.partial(jax.jit, static_argnums=5)
def _networks(x: jax.Array, target: jax.Array, train: jax.Array, validation: jax.Array, keys: jax.Array, classes: int
              ) -> tuple[jax.Array, jax.Array]:
    """Trains a network for each key: logits (S, N, C) at the step of the least validation loss, and its accuracy."""
    optimizer = optax.adamw(optax.cosine_decay_schedule(_RATE, _STEPS), weight_decay=_DECAY)

    def apply(params: Any, rows: jax.Array, key: jax.Array | None = None) -> jax.Array:
        hidden = jax.nn.relu(rows @ params['in'] + params['bias'])
        if key is not None:
            hidden = jnp.where(jax.random.bernoulli(key, 1 - _DROPOUT, hidden.shape), hidden / (1 - _DROPOUT), 0)
        return hidden @ params['out'] + params['classes']

    def loss(params: Any, rows: jax.Array, key: jax.Array | None = None) -> jax.Array:
        logits = apply(params, x[rows], key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, target[rows]).mean()

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        first, second, steps = jax.random.split(key, 3)
        initial = jax.nn.initializers.lecun_normal()
        params = {'in': initial(first, (x.shape[1], _HIDDEN)), 'bias': jnp.zeros(_HIDDEN),
                  'out': initial(second, (_HIDDEN, classes)), 'classes': jnp.zeros(classes)}

        def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
            params, slots = carry
            draw, drop = jax.random.split(key)
            rows = train[jax.random.randint(draw, (_BATCH,), 0, len(train))]
            updates, slots = optimizer.update(jax.grad(loss)(params, rows, drop), slots, params)
            return (optax.apply_updates(params, updates), slots), None

        def part(carry: Any, keys: jax.Array) -> tuple[Any, None]:
            state, best, least = carry
            state, _ = jax.lax.scan(step, state, keys)
            now = loss(state[0], validation)
            best = jax.tree.map(lambda new, old: jnp.where(now < least, new, old), state[0], best)
            return (state, best, jnp.minimum(now, least)), None

        begun = ((params, optimizer.init(params)), params, jnp.inf)
        keys = jax.random.split(steps, (_STEPS // _EVERY, _EVERY))
        (_, best, _), _ = jax.lax.scan(part, begun, keys)
        logits = apply(best, x)
        return logits, (logits[validation].argmax(-1) == target[validation]).mean()

    return jax.lax.map(one, keys)


def _tables(right: Mapping[str, Mapping[str, np.ndarray]], seeds: int) -> Iterator[str]:
    """The rows of every word, and their means over the words."""
    clips = next(iter(next(iter(right.values())).values())).shape[1]
    level = 1 - 2 * (1 - intervals.LEVEL) / len(right)  # Two-sided, so that its lower end alone is at LEVEL for all.
    yield f'{clips} clips, each tested once with each of {seeds} seeds.'
    rows, low = [], {}
    for word, ways in right.items():
        for way, hits in ways.items():
            gain = intervals.difference(hits - ways['best'], level=level)
            low.setdefault(way, []).append(gain.low)
            rows.append((word, _named(way), f'{100 * hits.mean():.1f}',
                         *_compared(way, 100 * gain.mean, 100 * gain.low)))
    header = ('accuracy, %', 'difference', 'lower bound', *(f'margin {margin}' for margin in MARGINS))
    pooled = []
    for way in low:
        gains = np.mean([ways[way] - ways['best'] for ways in right.values()], 0)
        gain = intervals.difference(gains, level=1 - 2 * (1 - intervals.LEVEL))
        accuracy = np.mean([ways[way].mean() for ways in right.values()])
        pooled.append((_named(way), f'{100 * accuracy:.1f}', *_compared(way, 100 * gain.mean, 100 * gain.low)))
    yield f'Mean of the {len(right)} words; its lower bound is that of the mean alone (one-sided, 95 %):'
    yield markdown(('row', *header), pooled, '<>>>>>')
    yield 'Each word; lower bounds are simultaneous:'
    yield markdown(('word', 'row', *header), rows, '<<>>>>>')


def _named(way: str) -> str:
    return 'best stream on validation' if way == 'best' else way


def _compared(way: str, gain: float, low: float) -> tuple[str, ...]:
    if way in ('best', RGB, AUDIO, OTHER):
        return ('–',) * (2 + len(MARGINS))
    return f'{gain:+.1f}', f'{low:+.1f}', *('yes' if low > -margin else 'no' for margin in MARGINS)


if __name__ == '__main__':
    main()
