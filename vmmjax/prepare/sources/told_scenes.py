"""`told_scenes`: clips with captions, questions and answers, whose every word one stream tells.

A sprite of one colour moves over a textured background; in the middle of the clip it takes another colour, while a
whistle or a buzz slides up or down. Looks, path and pitch are those of `motion_sound`.

- Frames tell the two colours, which of them comes first, and the motion; sound tells its kind and its direction.
- Every second clip is the one before it played backwards: it has the same frames and sounds in another order. What came
  first, the motion and the direction of the sound are the opposite, so that none of them can be told without order.
- Captions have three wordings, all of which are references of a clip (joined by `;`).
- Each clip has one question of a kind of `KINDS`. A pair of clips has one question, and the kinds and their answers are
  balanced, so that the question alone tells nothing: `first`, `tone` and `sound` are right half of the time, `motion` a
  quarter.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vmmjax.errors import UserError
from vmmjax.media.writer import write_clip
from vmmjax.prepare.sources import generated, synthetic
from vmmjax.prepare.sources.synthetic import FPS, MOTIONS, RATE, SECONDS, TONES, Scene

COLOURS = {'red': (215, 45, 45), 'green': (45, 190, 60), 'blue': (50, 70, 220), 'yellow': (225, 215, 50)}
SOUNDS = ('whistle', 'buzz')
KINDS = ('first', 'motion', 'tone', 'sound')
# What captions say, and the stream that tells it.
ATTRIBUTES = {'first': 'rgb', 'second': 'rgb', 'motion': 'rgb', 'tone': 'audio', 'sound': 'audio'}
LABELS = (*ATTRIBUTES, 'caption', 'question', 'answer', 'kind', 'pair')
BACKWARDS = {'left': 'right', 'right': 'left', 'up': 'down', 'down': 'up', 'rising': 'falling', 'falling': 'rising'}
_WORDINGS = ('a {first} then {second} shape moves {motion} while a {sound} is {tone}',
             'a {tone} {sound} and something {first} that goes {motion} and becomes {second}',
             'it is {first} before it is {second} and drifts {motion} with a {sound} that is {tone}')
_QUESTIONS = {'first': 'which comes first {one} or {other}', 'motion': 'which way does it move',
              'tone': 'is the sound rising or falling', 'sound': 'is it a whistle or a buzz'}
# Changes when the same seed gives other files.
VERSION = 1


@dataclass(frozen=True)
class Told:
    """One clip before it is drawn.

    Attributes:
      scene: what is drawn: its key, motion and tone.
      colours: of the sprite as it is drawn, the first and the second.
      sound: of `SOUNDS`.
      backwards: whether what was drawn is played backwards.
      kind: of the question.
      swapped: whether the question `first` names the second colour of the drawn clip first.
    """

    scene: Scene
    colours: tuple[str, str]
    sound: str
    backwards: bool
    kind: str
    swapped: bool

    @property
    def labels(self) -> dict[str, str]:
        """The LABELS, of the clip as it is played."""
        first, second = self.colours[::-1] if self.backwards else self.colours
        motion, tone = (BACKWARDS[way] if self.backwards else way for way in (self.scene.motion, self.scene.tone))
        shown = {'first': first, 'second': second, 'motion': motion, 'tone': tone, 'sound': self.sound}
        one, other = self.colours[::-1] if self.swapped else self.colours
        return shown | {'caption': ';'.join(wording.format(**shown) for wording in _WORDINGS),
                        'question': _QUESTIONS[self.kind].format(one=one, other=other), 'answer': shown[self.kind],
                        'kind': self.kind, 'pair': '-'.join(map(str, self.scene.key))}


def plan(seed: int, split: str, count: int) -> list[Told]:
    """The clips of a split, each followed by itself played backwards; every attribute balanced in every kind.

    Args:
      seed: of the data set.
      split: its name; other splits have other clips.
      count: clips, an even number.

    Raises:
      UserError: for an odd number.
    """
    if count % 2:
        raise UserError(f'--sizes asks for {count} clips of {split}; told_scenes has each clip also played backwards, '
                        f'so give an even number.')
    number = zlib.crc32(split.encode())
    pairs = [(one, other) for one in COLOURS for other in COLOURS if one != other]
    told = []
    for place, kind in enumerate(KINDS):
        own = range(place, count // 2, len(KINDS))
        rng = np.random.default_rng((seed, number, place))
        motions, tones, colours, sounds, swaps = (
            rng.permutation(np.resize(np.arange(size), len(own)))
            for size in (len(MOTIONS), len(TONES), len(pairs), len(SOUNDS), 2))
        for at, index in enumerate(own):
            scene = Scene((seed, number, index), list(MOTIONS)[motions[at]], list(TONES)[tones[at]], False)
            told += [Told(scene, pairs[colours[at]], SOUNDS[sounds[at]], backwards, kind, bool(swaps[at]))
                     for backwards in (False, True)]
    return sorted(told, key=lambda clip: (clip.scene.key, clip.backwards))


def pictures(told: Told) -> np.ndarray:
    """The clip's pictures: uint8 (T, SIDE, SIDE, 3)."""
    looks = synthetic.looks(told.scene)
    texture = looks.sprite.astype(np.float64) - looks.sprite.mean((0, 1))
    sprites = [np.clip(COLOURS[name] + 0.5 * texture, 0, 255).astype(np.uint8) for name in told.colours]
    frames = np.repeat(np.clip(looks.background, 0, 255).astype(np.uint8)[None], FPS * SECONDS, 0)
    steps = np.arange(len(texture))
    for index, (frame, (x, y)) in enumerate(zip(frames, synthetic.positions(told.scene), strict=True)):
        place = np.ix_((y + steps) % synthetic.SIDE, (x + steps) % synthetic.SIDE)
        frame[place] = np.where(looks.inside, sprites[2 * index >= len(frames)], frame[place])
    return frames[::-1] if told.backwards else frames


def sound(told: Told) -> np.ndarray:
    """The clip's sound in noise, float32 (S,), below 1: a whistle is a sine, a buzz has eight overtones."""
    rng = told.scene.rng(3)
    phase = 2 * np.pi * (rng.uniform() + np.cumsum(synthetic.pitch(told.scene)) / RATE)
    overtones = range(1, 2 if told.sound == 'whistle' else 9)
    tone = sum(np.sin(number * phase) / number for number in overtones) / sum(1 / number for number in overtones)
    noise = 10 ** rng.uniform(-2, -1.2) * rng.standard_normal(len(phase))
    loudness = np.exp(rng.uniform(np.log(0.08), np.log(0.5)))
    wave = (loudness * (tone + noise)).astype(np.float32)
    return wave[::-1] if told.backwards else wave


def said(caption: str) -> dict[str, str]:
    """What a caption says of each of `ATTRIBUTES`; '' of one that it does not name.

    Colours count in the order of the caption, and every wording names the first one first.
    """
    words = caption.split()
    colours = [word for word in words if word in COLOURS]
    named = {'first': colours[:1], 'second': colours[1:2]}
    for name, known in (('motion', MOTIONS), ('tone', TONES), ('sound', SOUNDS)):
        named[name] = [word for word in words if word in known]
    return {name: found[0] if found else '' for name, found in named.items()}


def _write(path: Path, told: Told) -> None:
    write_clip(path, pictures(told), fps=FPS, waveform=sound(told), rate=RATE)


generate = generated.DataSet('told_scenes', VERSION, LABELS, plan, _write)
