"""`joined_scenes`: videos joined of short scenes; a tenth of the scenes are what a summary shall show.

Each video lasts about 48 s and has 40 scenes of 1.2 to 2 s, drawn as those of `told_scenes`, which fade into each other
over .4 s, pictures and sound. In four of them, at places drawn at random, the sprite moves up: the events. In the
others it moves in the other three directions. Looks, speed, colours and loudness are drawn without regard to that, so
that neither motion energy nor loudness nor cuts tell an event.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vmmjax.media.writer import write_clip
from vmmjax.prepare.sources import generated, told_scenes
from vmmjax.prepare.sources.synthetic import FPS, MOTIONS, RATE, SECONDS, TONES, Scene

EVENT = 'up'
SCENES, EVENTS = 40, 4
RATE_OF_PICTURES = FPS / 2
LABELS = ('from', 'to')
# Pictures, of RATE_OF_PICTURES: of a fade, and of a scene with the fade to the next at the least and at the most.
_FADE, _SHORTEST, _LONGEST = 5, 15, 25
# Changes when the same seed gives other files.
VERSION = 1


@dataclass(frozen=True)
class Joined:
    """One video before it is drawn.

    Attributes:
      scenes: in order.
      lengths: pictures of each, with the fade to the next.
    """

    scenes: tuple[told_scenes.Told, ...]
    lengths: tuple[int, ...]

    @property
    def starts(self) -> np.ndarray:
        """The picture with which each scene begins to fade in, int64 (SCENES,)."""
        return np.concatenate([[0], np.cumsum(np.array(self.lengths[:-1]) - _FADE)])

    @property
    def labels(self) -> dict[str, str]:
        """The LABELS: events in seconds, from the middle of a fade to that of the next."""
        half = _FADE / 2
        spans = [(start + half, start + length - half)
                 for start, length, told in zip(self.starts, self.lengths, self.scenes, strict=True)
                 if told.scene.motion == EVENT]
        return {name: ';'.join(f'{span[place] / RATE_OF_PICTURES:.3f}' for span in spans)
                for place, name in enumerate(LABELS)}


def plan(seed: int, split: str, count: int) -> list[Joined]:
    """The videos of a split.

    Args:
      seed: of the data set.
      split: its name; other splits have other videos.
      count: videos.
    """
    number, others = zlib.crc32(split.encode()), [motion for motion in MOTIONS if motion != EVENT]
    found = []
    for index in range(count):
        rng = np.random.default_rng((seed, number, index))
        motions = [EVENT] * EVENTS + [others[i % len(others)] for i in range(SCENES - EVENTS)]
        scenes = []
        for place, motion in enumerate(rng.permutation(SCENES)):
            scene = Scene((seed, number, index, place), motions[motion], list(TONES)[rng.integers(2)], False)
            first, second = map(str, rng.choice(list(told_scenes.COLOURS), 2, replace=False))
            sound_of = told_scenes.SOUNDS[rng.integers(2)]
            scenes.append(told_scenes.Told(scene, (first, second), sound_of, False, 'motion', False))
        found.append(Joined(tuple(scenes), tuple(map(int, rng.integers(_SHORTEST, _LONGEST + 1, SCENES)))))
    return found


def pictures(joined: Joined) -> np.ndarray:
    """The video's pictures: uint8 (T, SIDE, SIDE, 3)."""
    every = [told_scenes.pictures(told)[::FPS * SECONDS // _LONGEST][:length]
             for told, length in zip(joined.scenes, joined.lengths, strict=True)]
    return np.rint(_faded(every, joined.starts, _FADE)).astype(np.uint8)


def sound(joined: Joined) -> np.ndarray:
    """The video's sound, float32 (S,)."""
    samples = round(RATE / RATE_OF_PICTURES)
    every = [told_scenes.sound(told)[:length * samples]
             for told, length in zip(joined.scenes, joined.lengths, strict=True)]
    return _faded(every, joined.starts * samples, _FADE * samples).astype(np.float32)


def _faded(parts: list[np.ndarray], starts: np.ndarray, fade: int) -> np.ndarray:
    """Parts that fade into each other over `fade` elements, float32; the first begins and the last ends as it is."""
    ramp = ((np.arange(fade) + 0.5) / fade).astype(np.float32)
    whole = np.zeros((starts[-1] + len(parts[-1]), *parts[0].shape[1:]), np.float32)
    for place, (start, part) in enumerate(zip(starts, parts, strict=True)):
        weight = np.ones(len(part), np.float32)
        if place:
            weight[:fade] = ramp
        if place < len(parts) - 1:
            weight[-fade:] = ramp[::-1]
        whole[start:start + len(part)] += weight.reshape(-1, *[1] * (part.ndim - 1)) * part
    return whole


def _write(path: Path, joined: Joined) -> None:
    write_clip(path, pictures(joined), fps=RATE_OF_PICTURES, waveform=sound(joined), rate=RATE)


generate = generated.DataSet('joined_scenes', VERSION, LABELS, plan, _write)
