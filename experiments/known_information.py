r"""Which fusion recovers which kind of information, from how many clips: the table of `results/fusion.md`.

  python experiments/known_information.py --workdir=runs/known_information --page=experiments/results/fusion.md

Clips are those of `synthetic:known_information`, whose labels a known number of bits tells; streams are features of its
frames (mean colours of the quarters), of its sound (levels of the bands) and its words, so that a run says what the
fusion does and not what encoders need. Each kind of fusion joins three networks of one hidden layer and tells all six
labels at once; beside them stand networks of one stream, and their scores with weights fitted on validation clips, a
label at a time, as `vmmjax evaluate --fuse --weights=fit` fits them. A run is kept at its best step by the loss on
validation clips, on which a factor for the logits of each label is chosen, too (temperature scaling), so that bits are
not lost by being too sure. What was run is kept in the workdir, so that a killed command goes on.
"""

import argparse
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from ml_collections import ConfigDict
from tqdm import tqdm

from vmmjax import atomic, models
from vmmjax.errors import UserError
from vmmjax.evaluation import score_fusion
from vmmjax.evaluation.statistics import Scores
from vmmjax.models import Tokens
from vmmjax.prepare.sources import known_information as known
from vmmjax.reports import results_page
from vmmjax.text_table import markdown

_WIDE, _LAYER = dict(features=64), dict(features=64, num_hidden_layers=1)
# Kind -> its options; `multiplicative` and `non_local` are of two streams.
KINDS: dict[str, dict[str, int]] = {
    'concat': {}, 'scores': {}, 'tanh_concat': _WIDE, 'sum': _WIDE, 'weighted_average': _WIDE, 'gated': _WIDE,
    'film': _WIDE, 'tensor': dict(features=8), 'low_rank_tensor': _WIDE, 'cross_attention': _LAYER,
    'transformer': _LAYER, 'bottleneck': _LAYER}
ALONE, FITTED = {f'{name} alone': (name,) for name in known.STREAMS}, 'fitted weights'
SIZES = (100, 1000, 10000)  # Training clips; the smaller sets are the first clips of the larger ones.
COUNTS = {'train': SIZES[-1], 'validation': 1000, 'test': 2000}
SETTINGS = known.Settings()
_MOMENTS, _BATCH, _STEPS, _EVERY, _RATE, _DECAY = 20, 64, 2000, 50, 3e-3, 1e-2
_FACTORS = np.geomspace(0.01, 2, 24)
_BINS = np.array([*known.BANDS, known.HUM])


def features(scene: known.Scene) -> dict[str, np.ndarray]:
    """The streams of a clip, float32 rgb (25, 12), audio (20, 5), text (3, 6), 0 if absent; whether each is there."""
    frames, half = known.frames(scene).astype(np.float32) / 128 - 1, known.SIDE // 2
    quarters = [frames[:, y:y + half, x:x + half].mean((1, 2)) for y in (0, half) for x in (0, half)]
    levels, sound = np.zeros((_MOMENTS, len(_BINS)), np.float32), known.sound(scene)
    if sound is not None:
        parts = sound.reshape(_MOMENTS, -1)
        waves = np.exp(-2j * np.pi * _BINS[:, None] * np.arange(parts.shape[1]) / known.RATE)
        levels = np.log(np.abs(parts @ waves.T) + 1e-2).astype(np.float32)
    words = scene.labels['text'].split()
    one_hot = np.array([[word == each for each in itertools.chain(*known.WORDS)] for word in words] or [[0] * 6] * 3)
    streams = {'rgb': np.concatenate(quarters, 1), 'audio': levels, 'text': one_hot.astype(np.float32)}
    return streams | {f'present/{name}': np.bool_(scene.labels[f'has_{name}'] == '1') for name in known.STREAMS}


def make(file: Path, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Of each split the features of its clips, stacked, with the labels and the recording; kept in the file."""
    if not file.exists():
        arrays = {}
        for split, count in COUNTS.items():
            scenes = known.plan(SETTINGS, seed, split, count)
            rows = [features(scene) | {name: np.int32(scene.labels[name]) for name in (*known.TARGETS, 'recording')}
                    for scene in tqdm(scenes, desc=split, unit='clip')]
            arrays |= {f'{split}|{name}': np.stack([row[name] for row in rows]) for name in rows[0]}
        with atomic.replacing(file) as partial, partial.open('wb') as out:
            np.savez(out, **arrays)
    with np.load(file) as arrays:
        every = dict(arrays)
    return {split: {name.partition('|')[2]: values for name, values in every.items() if name.startswith(f'{split}|')}
            for split in COUNTS}


class Layer(nn.Module):
    """A hidden layer over all moments of a stream: one token."""

    features: int = 32

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes x (B, T, D); a clip that is there is valid throughout."""
        hidden = nn.relu(nn.Dense(64)(x.reshape(len(x), -1)))
        return Tokens(nn.Dense(self.features)(hidden)[:, None], valid.any(1, keepdims=True)), {}


def network(kind: str) -> Any:
    """The encoders of a row, a fusion and a head for all labels."""
    encoder, streams = dict(name=f'{__name__}:Layer'), ALONE.get(kind, known.STREAMS)
    fusion = dict(name=kind, **KINDS[kind]) if kind in KINDS else dict(name='concat')
    return models.create(ConfigDict(dict(
        encoders=dict.fromkeys(streams, encoder), preprocess=dict.fromkeys(streams, 'none'), fusion=fusion,
        head=dict(name='consensus', dropout=0.0))),
        dict.fromkeys(known.TARGETS, 2))


def trainer(kind: str, data: Mapping[str, Mapping[str, np.ndarray]]) -> Any:
    """A compiled `(training clips, keys (S,)) -> margins`, those of the test and of the validation clips.

    By these the logit of the right value is above that of the other, times the factor of the label. Of the test clips
    they are (S, 1 + streams, clips, labels), first with all streams, then with one withheld, of `STREAMS` in this
    order; of the validation clips (S, clips, labels).
    """
    model = network(kind)
    train, validation, test = ({name: jnp.asarray(values) for name, values in data[split].items()} for split in COUNTS)
    optimizer = optax.adamw(optax.cosine_decay_schedule(_RATE, _STEPS), weight_decay=_DECAY)

    def margins(logits: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]) -> jax.Array:
        """By how much the logit of the right value is above that of the other (B, labels)."""
        return jnp.stack([(logits[name][:, 1] - logits[name][:, 0]) * (2 * batch[name] - 1)
                          for name in known.TARGETS], 1)

    def judged(params: Any, state: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        return margins(model.apply({'params': params, **state}, batch, train=False).logits, batch)

    def one(count: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        first, steps = jax.random.split(key)
        few = jax.tree.map(lambda values: values[:2], train)
        state, params = flax.core.pop(model.init(first, few, train=False), 'params')

        def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
            params, state, slots = carry
            draw, drop = jax.random.split(key)
            rows = jax.random.randint(draw, (_BATCH,), 0, count)
            batch = {name: values[rows] for name, values in train.items()}

            def loss(params: Any) -> tuple[jax.Array, Any]:
                outputs, new = model.apply({'params': params, **state}, batch, train=True, mutable=['batch_stats'],
                                         rngs={'dropout': drop})
                return -jax.nn.log_sigmoid(margins(outputs.logits, batch)).mean(), new

            gradients, state = jax.grad(loss, has_aux=True)(params)
            updates, slots = optimizer.update(gradients, slots, params)
            return (optax.apply_updates(params, updates), state, slots), None

        def part(carry: Any, keys: jax.Array) -> tuple[Any, None]:
            now, best, least = carry
            now, _ = jax.lax.scan(step, now, keys)
            loss = -jax.nn.log_sigmoid(judged(*now[:2], validation)).mean()
            best = jax.tree.map(lambda new, old: jnp.where(loss < least, new, old), now[:2], best)
            return (now, best, jnp.minimum(loss, least)), None

        begun = ((params, state, optimizer.init(params)), (params, state), jnp.inf)
        (_, best, _), _ = jax.lax.scan(part, begun, jax.random.split(steps, (_STEPS // _EVERY, _EVERY)))
        tuned = judged(*best, validation)
        losses = -jax.nn.log_sigmoid(_FACTORS[:, None, None] * tuned).mean(1)
        factors = jnp.asarray(_FACTORS)[losses.argmin(0)]  # (labels,)
        withheld = [{name: values for name, values in test.items() if name not in (out, f'present/{out}')}
                    for out in known.STREAMS]
        whole = judged(*best, test)
        # A network of one stream says nothing without it, and loses nothing with another.
        parts = [judged(*best, batch) for batch in withheld] if kind in KINDS else [
            whole * (out not in ALONE[kind]) for out in known.STREAMS]
        return factors * jnp.stack([whole, *parts]), factors * tuned

    return jax.jit(jax.vmap(one, (None, 0)))


def run(folder: Path, data: Mapping[str, Mapping[str, np.ndarray]], seeds: int) -> dict[tuple[str, int], np.ndarray]:
    """Of every row and number of training clips log-probabilities in bits, (seeds, 1 + streams, clips, labels)."""
    margins = {}
    with tqdm(total=(len(KINDS) + len(ALONE)) * len(SIZES), unit='row') as bar:
        for kind in (*KINDS, *ALONE):
            train = None
            for size in SIZES:
                file = folder / f'{kind.replace(" ", "_")}_{size}_{seeds}.npz'
                bar.set_description(f'{kind}, {size} clips')
                if not file.exists():
                    train = train or trainer(kind, data)
                    test, validation = train(size, jax.random.split(jax.random.key(0), seeds))
                    with atomic.replacing(file) as partial, partial.open('wb') as out:
                        np.savez(out, test=np.asarray(test), validation=np.asarray(validation))
                with np.load(file) as arrays:
                    margins[kind, size] = dict(arrays)
                bar.update()
    found = {row: arrays['test'] for row, arrays in margins.items()}
    found |= {(FITTED, size): fitted([margins[kind, size] for kind in ALONE]) for size in SIZES}
    return {row: -np.logaddexp(0, -values) / math.log(2) for row, values in found.items()}


def fitted(alone: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Margins of the test clips, from those of networks of one stream by the weights of the validation clips."""
    tests, validations = (np.stack([each[split] for each in alone]).astype(np.float64)
                          for split in ('test', 'validation'))
    found = np.zeros(tests.shape[1:])
    for seed, label in itertools.product(range(tests.shape[1]), range(tests.shape[-1])):
        said = validations[:, seed, :, label]  # (streams, clips)
        right, blank = np.ones(said.shape[1], int), np.full(said.shape[1], '')
        runs = [Scores(blank, blank, {'': right}, {'all': {'': np.stack([0 * each, each], 1)}}, {}) for each in said]
        try:
            weights = score_fusion.fit(runs)
        except UserError:  # No stream tells anything of the label.
            continue
        found[seed, ..., label] = np.tensordot(weights, tests[:, seed, ..., label], 1)
    return found


def tables(log_probabilities: Mapping[tuple[str, int], np.ndarray], data: Mapping[str, Mapping[str, np.ndarray]]
           ) -> str:
    """Markdown: bits by kind and size, then what withheld streams and the recording do at the largest size."""
    head = ('fusion', 'clips', *known.TARGETS)
    there = ('bits there', '', *(f'{known.bits(SETTINGS, name, known.STREAMS):.2f}' for name in known.TARGETS))
    rows = [(kind, f'{size:,}', *map(_mean, 1 + values[:, 0].mean(1).T))
            for (kind, size), values in log_probabilities.items()]
    test, redundant, unique = data['test'], known.TARGETS.index('redundant'), known.TARGETS.index('unique_rgb')
    agrees = test['recording'] == test['redundant']
    second = [('bits there', *(f"{known.bits(SETTINGS, name, ('rgb', 'text')):.2f}"
                               for name in ('redundant', 'unique_rgb')), '0.0')]
    for kind in (*KINDS, FITTED):
        values = log_probabilities[kind, SIZES[-1]]
        without_audio = 1 + values[:, 1 + known.STREAMS.index('audio')].mean(1)
        right = values[:, 0, :, redundant] > -1
        gap = right[:, agrees].mean(1) - right[:, ~agrees].mean(1)
        second.append((kind, _mean(without_audio[:, redundant]), _mean(without_audio[:, unique]), _mean(100 * gap, 1)))
    names = ('fusion', 'redundant, bits', 'unique_rgb, bits', 'redundant: points more where the recording agrees')
    return '\n\n'.join((
        f'{COUNTS["test"]:,} test clips, {len(next(iter(log_probabilities.values())))} seeds; bits per clip, mean and '
        f'standard deviation over seeds:', markdown(head, [there, *rows], '<>' + '>' * len(known.TARGETS)),
        f'After {SIZES[-1]:,} clips, without the sound, and the cue of the recording:',
        markdown(names, second, '<>>>')))


def _mean(values: np.ndarray, digits: int = 2) -> str:
    return f'{round(values.mean(), digits) + 0:.{digits}f} ± {values.std(ddof=1):.{digits}f}'  # No minus before 0.


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--workdir', type=Path, required=True, help='folder of what was run')
    parser.add_argument('--seeds', type=int, default=5, help='trainings of each row (default: 5)')
    parser.add_argument('--page', type=Path, help='page whose table is written anew')
    options = parser.parse_args()
    options.workdir.mkdir(parents=True, exist_ok=True)
    data = make(options.workdir / 'clips.npz')
    text = tables(run(options.workdir, data, options.seeds), data)
    print(text)
    if options.page:
        results_page.insert(options.page, f'{results_page.machine(("jax", "optax"))}.', text)


if __name__ == '__main__':
    main()
