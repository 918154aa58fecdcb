"""`known_information`: clips whose labels a set number of streams tell, with the exact best accuracy of every subset.

Frames, sound and text carry bits of their own. A label is a function of them, and each kind of information that
several streams can have of it (Williams and Beer 2010) has its label:

- `redundant`: the bit that all three carry; two noisy copies are no more accurate than one, three are.
- `unique_rgb`, `unique_audio`, `unique_text`: a bit that one stream alone carries.
- `pair`: whether the bits of frames and sound differ (XOR): each alone tells nothing, and adding logits of streams
  cannot tell it (`synergy` in two).
- `triple`: the parity of a bit of each: any two streams tell nothing.

A bit is shown as a quarter of the frame that grows brighter or darker, a band of the sound that grows louder or softer,
and one of two words. Brightness and loudness begin anywhere, so that time is needed. The sound follows the frames after
a lag. Each bit that a stream shows is flipped with the probability `flip`; each stream of a clip is missing with the
probability `missing` (its frames are grey, it has no sound track, or its words are empty). The recording, a tint of the
frames and a hum, agrees with `redundant` in training with the probability `nuisance`, and by chance in other splits.
"""

import functools
import itertools
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.media.writer import write_clip
from vmmjax.prepare.sources import generated

SIDE, FPS, RATE, SECONDS = 32, 12.5, 16000, 2.0
STREAMS = ('rgb', 'audio', 'text')
# What each stream carries a bit of, in the place of the frame, the band and the word where it is shown.
CARRIED = {'rgb': ('redundant', 'unique_rgb', 'pair', 'triple'),
           'audio': ('redundant', 'unique_audio', 'pair', 'triple'),
           'text': ('redundant', 'unique_text', 'triple')}
# Label -> the bits whose parity it is: one of each of these streams.
PARITIES = {'unique_rgb': ('rgb',), 'unique_audio': ('audio',), 'unique_text': ('text',), 'pair': ('rgb', 'audio'),
            'triple': STREAMS}
TARGETS = ('redundant', *PARITIES)
LABELS = (*TARGETS, 'recording', 'text', *(f'{stream}_{name}' for stream in STREAMS for name in CARRIED[stream]),
          *(f'has_{stream}' for stream in STREAMS))
WORDS = (('near', 'far'), ('old', 'new'), ('wide', 'narrow'))
BANDS = (400.0, 900.0, 1800.0, 3400.0)  # Hertz.
HUM = 120.0
LONGEST_LAG = 0.75  # Seconds, so that the sound has ended changing with the clip.
# Changes when the same settings give other files.
VERSION = 2


@dataclass(frozen=True)
class Settings:
    """What is known beforehand.

    Attributes:
      flip: probability that a stream shows a bit wrongly.
      missing: probability that a clip lacks a stream, of each on its own.
      lag: seconds that the sound follows the frames.
      nuisance: probability that the recording agrees with `redundant` in the split `train`; .5 for no cue.
    """

    flip: float = 0.1
    missing: float = 0.1
    lag: float = 0.25
    nuisance: float = 0.9


def settings(text: str) -> Settings:
    """The settings of a source such as `flip=.05,missing=0`; those that it leaves out are as usual.

    Raises:
      UserError: for a name that is none, or a value out of range.
    """
    values = {}
    for part in filter(None, text.split(',')):
        name, _, value = part.partition('=')
        if name not in Settings.__dataclass_fields__:
            raise UserError(f'known_information has no setting {name!r}: '
                            f'{did_you_mean(name, Settings.__dataclass_fields__)}.')
        try:
            values[name] = float(value)
        except ValueError:
            raise UserError(f'{name}={value} of known_information is no number.') from None
        most = LONGEST_LAG if name == 'lag' else 1
        if not 0 <= values[name] <= most:
            raise UserError(f'{name}={value} of known_information is not between 0 and {most}.')
    return Settings(**values)


@dataclass(frozen=True)
class Scene:
    """One clip before it is drawn.

    Attributes:
      key: seeds what is random about it beside its bits.
      labels: the LABELS, as the manifest has them.
      lag: see `Settings`.
    """

    key: tuple[int, ...]
    labels: Mapping[str, str]
    lag: float

    def bits(self, stream: str) -> list[int]:
        """Those that the stream shows."""
        return [int(self.labels[f'{stream}_{name}']) for name in CARRIED[stream]]


def plan(known: Settings, seed: int, split: str, count: int) -> list[Scene]:
    """The scenes of a split: bits first, then what is flipped, missing and recorded, all independent.

    Args:
      known: the settings.
      seed: of the data set.
      split: its name; other splits have other scenes.
      count: clips.
    """
    number = zlib.crc32(split.encode())
    scenes = []
    for index in range(count):
        rng = np.random.default_rng((seed, number, index))
        redundant = int(rng.integers(2))
        of = {(stream, name): redundant if name == 'redundant' else int(rng.integers(2))
              for stream in STREAMS for name in CARRIED[stream]}
        shown = {key: bit ^ int(rng.random() < known.flip) for key, bit in of.items()}
        has = {stream: bool(rng.random() >= known.missing) for stream in STREAMS}
        agrees = rng.random() < (known.nuisance if split == 'train' else 0.5)
        labels = {'redundant': redundant} | {
            name: sum(of[stream, name] for stream in streams) % 2 for name, streams in PARITIES.items()}
        words = [pair[shown['text', name]] for pair, name in zip(WORDS, CARRIED['text'], strict=True)]
        values = {name: str(value) for name, value in labels.items()} | {
            'recording': str(redundant if agrees else 1 - redundant), 'text': ' '.join(words) if has['text'] else ''}
        values |= {f'{stream}_{name}': str(bit) for (stream, name), bit in shown.items()}
        values |= {f'has_{stream}': str(int(there)) for stream, there in has.items()}
        scenes.append(Scene((seed, number, index), values, known.lag))
    return scenes


def ceiling(known: Settings, target: str, streams: Sequence[str]) -> float:
    """The best accuracy that any model can have on a label from some streams, over clips that lack none or any of them.

    Of a parity of bits with flips: 1/2 + 1/2 (1 - 2 flip)^k where all k streams of it are seen, else 1/2. Of the
    redundant bit: that of the majority of the copies that are seen.

    Args:
      known: the settings.
      target: one of `TARGETS`.
      streams: of `STREAMS`.
    """
    total = 0.0
    for seen, chance in _seen(known, streams):
        if target == 'redundant':
            best = sum(max(each) for each in _copies(len(seen), known.flip))
        elif set(PARITIES[target]) <= seen:
            best = 0.5 + 0.5 * abs(1 - 2 * known.flip) ** len(PARITIES[target])
        else:
            best = 0.5
        total += chance * best
    return total


def bits(known: Settings, target: str, streams: Sequence[str]) -> float:
    """The mutual information of a label and what some streams show, in bits: 1 less the least log-loss of any model.

    Args:
      known: the settings.
      target: one of `TARGETS`.
      streams: of `STREAMS`.
    """
    total = 0.0
    for seen, chance in _seen(known, streams):
        if target == 'redundant':
            total += chance * sum(sum(each) * (1 - _entropy(each[0] / sum(each)))
                                  for each in _copies(len(seen), known.flip) if sum(each))
        elif set(PARITIES[target]) <= seen:
            total += chance * (1 - _entropy(0.5 + 0.5 * (1 - 2 * known.flip) ** len(PARITIES[target])))
    return total


def _seen(known: Settings, streams: Sequence[str]) -> Iterator[tuple[set[str], float]]:
    """Which of the streams a clip may have, and the probability of it."""
    for there in itertools.product((False, True), repeat=len(streams)):
        yield ({stream for stream, is_there in zip(streams, there, strict=True) if is_there},
               math.prod(1 - known.missing if is_there else known.missing for is_there in there))


def _copies(copies: int, flip: float) -> Iterator[tuple[float, float]]:
    """For each number of noisy copies of a bit that say 1: the probability of it with the bit 0, and with the bit 1."""
    for ones in range(copies + 1):
        ways = math.comb(copies, ones) / 2
        yield ways * flip ** ones * (1 - flip) ** (copies - ones), ways * flip ** (copies - ones) * (1 - flip) ** ones


def _entropy(p: float) -> float:
    return -sum(each * math.log2(each) for each in (p, 1 - p) if each)


def ceilings(known: Settings) -> dict[str, dict[str, float]]:
    """`ceiling` of every label by every subset of the streams: label -> `rgb+audio` -> accuracy."""
    subsets = [each for size in range(len(STREAMS), 0, -1) for each in itertools.combinations(STREAMS, size)]
    return {target: {'+'.join(subset): round(ceiling(known, target, subset), 6) for subset in subsets}
            for target in TARGETS}


def frames(scene: Scene) -> np.ndarray:
    """Uint8 (T, SIDE, SIDE, 3): quarters that grow brighter (1) or darker (0), in the tint of the recording."""
    rng = np.random.default_rng((*scene.key, 1))  # Not 0: NumPy leaves zeros at the end of a seed out.
    count, half = round(FPS * SECONDS), SIDE // 2
    out = np.full((count, SIDE, SIDE, 3), 128.0)
    if scene.labels['has_rgb'] == '1':
        for place, bit in enumerate(scene.bits('rgb')):
            y, x = place // 2 * half, place % 2 * half
            level = rng.uniform(70, 186) + (2 * bit - 1) * 56 * (2 * _progress(count, 0.0) - 1)
            out[:, y:y + half, x:x + half] = level[:, None, None, None]
        out += rng.normal(0, 6, out.shape)
        out += np.array([12.0, 0, -12.0]) * (2 * int(scene.labels['recording']) - 1)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def sound(scene: Scene) -> np.ndarray | None:
    """Float32 (S,) below 1: tones that grow louder (1) or softer (0), and a hum; None where the clip has none."""
    if scene.labels['has_audio'] == '0':
        return None
    rng = np.random.default_rng((*scene.key, 2))
    count = round(RATE * SECONDS)
    times = np.arange(count) / RATE
    out = 10 ** -2.5 * rng.standard_normal(count)
    for frequency, bit in zip(BANDS, scene.bits('audio'), strict=True):
        decibels = rng.uniform(-32, -26) + (2 * bit - 1) * 8 * (2 * _progress(count, scene.lag) - 1)
        out += 10 ** (decibels / 20) * np.sin(2 * np.pi * (frequency * times + rng.uniform()))
    if scene.labels['recording'] == '1':
        out += 0.05 * np.sin(2 * np.pi * HUM * times)
    return out.astype(np.float32)


def _progress(count: int, lag: float) -> np.ndarray:
    """From 0 to 1 over a second of the clip that begins at .25 s and the lag; constant before and after."""
    return np.clip((np.arange(count) + 0.5) / count * SECONDS - 0.25 - lag, 0, 1)


def generate(out: Path, *, seed: int = 0, sizes: Mapping[str, int], options: str = '', progress: bool = True,
             workers: int = 1) -> Path:
    """Writes the data set, see `generated.write`; `out/known_information.json` has the ceilings.

    Args:
      out: a folder, made if need be.
      seed: of everything random.
      sizes: clips of each split.
      options: see `settings`.
      progress: whether a progress bar is shown.
      workers: processes.

    Returns:
      The manifest's path.

    Raises:
      UserError: see `settings` and `generated.write`.
    """
    known = settings(options)
    told = {'version': VERSION, 'seed': seed, 'sizes': dict(sizes), **vars(known), 'ceilings': ceilings(known)}
    return generated.write(out, 'known_information', told, LABELS,
                           generated.planned(functools.partial(plan, known), seed, sizes), _write_scene,
                           progress=progress, workers=workers)


def _write_scene(path: Path, scene: Scene) -> None:
    write_clip(path, frames(scene), fps=FPS, waveform=sound(scene), rate=RATE)
