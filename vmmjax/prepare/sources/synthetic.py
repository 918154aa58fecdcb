"""`motion_sound`: video files made from a seed, whose label no single frame and no single modality tells.

A textured sprite moves over a textured background while a tone slides up or down: 4 motions x 2 tones. What a
model scores here is known beforehand, so that the data set measures the system:

- One picture tells nothing of it: at every instant the sprite's place is uniform on the torus whatever the class
  (it wraps around), in whole pixels (a fraction would blur along the axis of motion), and every picture is
  coded by itself.
- Pictures in any order tell the axis, not the direction: over equally spaced instants a motion and its
  reverse visit sets of places of the same distribution, rounding included.
- An instant of sound tells nothing: the logarithm of the frequency is uniform on a circle too (it wraps
  around).
- Motion, tone, looks, speed and loudness are drawn independently; a tenth of the clips have no sound track.
- Any picture tells whether the sprite is brighter than what is behind it, a further label, for comparisons of what
  needs time with what does not.
"""

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vmmjax.media.writer import write_clip
from vmmjax.prepare.sources import generated

SIZES = {'train': 1600, 'validation': 160, 'test': 800}
SIDE, FPS, RATE, SECONDS = 96, 25, 16000, 2
# Motion -> its direction in x (to the right) and y (down).
MOTIONS = {'left': (-1, 0), 'right': (1, 0), 'up': (0, -1), 'down': (0, 1)}
TONES = {'rising': 1, 'falling': -1}
LABELS = ('label', 'motion', 'axis', 'tone', 'sprite')
CLASSES = [(motion, tone) for motion in MOTIONS for tone in TONES]
# Hertz: the circle of the tone's frequency.
LOWEST, HIGHEST = 300.0, 3000.0
# Changes when the same seed gives other files.
VERSION = 1


@dataclass(frozen=True)
class Scene:
    """One clip before it is drawn.

    Attributes:
      key: seeds everything random about it; it does not depend on the class.
      motion: left, right, up or down.
      tone: rising or falling.
      silent: without a sound track.
    """

    key: tuple[int, ...]
    motion: str
    tone: str
    silent: bool

    @property
    def labels(self) -> dict[str, str]:
        """The LABELS."""
        axis = 'horizontal' if MOTIONS[self.motion][0] else 'vertical'
        return {'label': f'{self.motion}_{self.tone}', 'motion': self.motion, 'axis': axis, 'tone': self.tone,
                'sprite': 'bright' if looks(self).bright else 'dark'}

    def rng(self, what: int) -> np.random.Generator:
        """The randomness of one aspect: 0 the path, 1 the looks, 2 the pitch, 3 the rest of the sound."""
        return np.random.default_rng((*self.key, what))


def plan(seed: int, split: str, count: int) -> list[Scene]:
    """The scenes of a split: classes in equal parts (to one clip), exactly `count // 10` silent ones among them.

    Args:
      seed: of the data set.
      split: its name; other splits have other scenes.
      count: clips.
    """
    number = zlib.crc32(split.encode())
    scenes = [Scene((seed, number, index), *CLASSES[index % len(CLASSES)], silent=index < count // 10)
              for index in range(count)]
    order = np.random.default_rng((seed, number)).permutation(count)
    return [scenes[index] for index in order]


def positions(scene: Scene) -> np.ndarray:
    """The sprite's upper left corner in every picture: int (T, 2), x and y, on the torus of SIDE pixels."""
    rng = scene.rng(0)
    start = rng.integers(SIDE, size=2)
    # A share of the width in a quarter of a second; floor with a random phase is symmetric in time.
    speed = rng.uniform(0.05, 0.13) * SIDE / (FPS / 4)
    travelled = np.floor(rng.uniform() + speed * np.arange(FPS * SECONDS)).astype(int)
    return (start + travelled[:, None] * np.array(MOTIONS[scene.motion])) % SIDE


class Looks(NamedTuple):
    """What is seen, whatever the class.

    Attributes:
      background: float (SIDE, SIDE, 3).
      sprite: its texture, uint8 (side, side, 3).
      inside: where it is, bool (side, side, 1).
      bright: whether it is brighter than the background.
    """

    background: np.ndarray
    sprite: np.ndarray
    inside: np.ndarray
    bright: bool


def looks(scene: Scene) -> Looks:
    """The clip's looks."""
    rng = scene.rng(1)
    dark = rng.uniform(50, 90)
    bright = rng.uniform(165, 205)
    is_bright = bool(rng.integers(2))
    below, above = (dark, bright) if is_bright else (bright, dark)
    background = below + rng.uniform(-20, 20, 3) + _noise(rng, 9, 12) + _noise(rng, 36, 10)
    side = int(rng.integers(SIDE * 20 // 100, SIDE * 35 // 100 + 1))
    cells = int(rng.integers(3, 6))
    texture = rng.normal(0, 22, (cells, cells, 3)) + rng.normal(0, 15, (cells, cells, 1))
    nearest = np.arange(side) * cells // side
    sprite = above + rng.uniform(-35, 35, 3) + texture[np.ix_(nearest, nearest)]
    return Looks(background, np.clip(sprite, 0, 255).astype(np.uint8), _shape(rng, side), is_bright)


def pictures(scene: Scene) -> np.ndarray:
    """The clip's pictures: uint8 (T, SIDE, SIDE, 3)."""
    background, sprite, inside, _ = looks(scene)
    frames = np.repeat(np.clip(background, 0, 255).astype(np.uint8)[None], FPS * SECONDS, 0)
    steps = np.arange(len(sprite))
    for frame, (x, y) in zip(frames, positions(scene), strict=True):
        place = np.ix_((y + steps) % SIDE, (x + steps) % SIDE)
        frame[place] = np.where(inside, sprite, frame[place])
    return frames


def _noise(rng: np.random.Generator, cells: int, strength: float) -> np.ndarray:
    """Smooth coloured noise: float (SIDE, SIDE, 3)."""
    grid = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
    return cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def _shape(rng: np.random.Generator, side: int) -> np.ndarray:
    """A disc, a square or a diamond, each symmetric in all four directions: bool (side, side, 1)."""
    away = np.abs(np.arange(side) - (side - 1) / 2) / (side / 2)
    y, x = away[:, None, None], away[None, :, None]
    return [np.hypot(x, y) <= 1, np.maximum(x, y) <= 0.9, x + y <= 1.2][rng.integers(3)]


def pitch(scene: Scene) -> np.ndarray:
    """The tone's frequency at every sample: float (S,), hertz; its logarithm runs around a circle."""
    rng = scene.rng(2)
    turns = rng.uniform() + TONES[scene.tone] * np.linspace(0, rng.uniform(0.6, 1.2), RATE * SECONDS)
    return LOWEST * (HIGHEST / LOWEST) ** (turns % 1)


def sound(scene: Scene) -> np.ndarray | None:
    """The clip's sound, a tone with overtones in noise: float32 (S,), below 1; None for a silent clip."""
    if scene.silent:
        return None
    rng = scene.rng(3)
    phase = 2 * np.pi * (rng.uniform() + np.cumsum(pitch(scene)) / RATE)
    tone = np.sin(phase) + rng.uniform(0, 0.4) * np.sin(2 * phase)
    noise = 10 ** rng.uniform(-2, -1.2) * rng.standard_normal(len(phase))
    loudness = math.exp(rng.uniform(math.log(0.08), math.log(0.5)))
    return (loudness * (tone + noise)).astype(np.float32)


def _write_scene(path: Path, scene: Scene) -> None:
    write_clip(path, pictures(scene), fps=FPS, waveform=sound(scene), rate=RATE)


generate = generated.DataSet('motion_sound', VERSION, LABELS, plan, _write_scene)
