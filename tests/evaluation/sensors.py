"""Columns of a store whose clips tell every kind of target; imported by the processes that prepare it."""

import dataclasses
from typing import ClassVar

import numpy as np

SECONDS, RATE, SIZES = 2.0, 4.0, {'train': 64, 'validation': 16, 'test': 24}
COLUMNS = ('path', 'id', 'split', 'letter', 'digit', 'names', 'size', 'mass', 'from', 'to', 'alarm', 'rating',
           'text')


def facts(number):
    """What is to be told of a clip."""
    letter, digit = 'abc'[number % 3], 'xy'[number // 3 % 2]
    names = [name for bit, name in enumerate(('dog', 'rain', 'train')) if (number + 1) >> bit & 1] or ['silence']
    # In one second or the other, or not at all.
    start = {0: '0', 1: '1'}.get(number % 3, '')
    return {'letter': letter, 'digit': digit, 'names': ';'.join(names), 'size': str(100 + 10 * (number % 5)),
            'mass': '' if number % 7 == 0 else str(number % 4), 'from': start, 'to': start and str(float(start) + 1),
            'alarm': 'calm' if start == '' else 'fight', 'rating': str(1 + number % 5),
            'text': f'{letter} {letter} {digit}'}


@dataclasses.dataclass(frozen=True)
class Sensor:
    """Frame i of a clip holds its facts, what happens at i, and six numbers that are the clip's own."""

    name: str = 'one'
    kind: ClassVar[str] = 'array'
    shape: ClassVar[tuple[int, ...]] = (20,)
    rate: ClassVar[float] = RATE

    def read(self, path, clip):
        number = int(clip.id)
        known = facts(number)
        x = np.zeros((round(SECONDS * RATE), 20), np.float32)
        x[:, 'abc'.index(known['letter'])] = 1
        x[:, 3 + 'xy'.index(known['digit'])] = 1
        for name in known['names'].split(';'):
            x[:, 5 + ('dog', 'rain', 'train', 'silence').index(name)] = 1
        x[:, 9], x[:, 10] = number % 5 / 2 - 1, number % 4 / 2 - 0.75
        if known['from']:
            x[round(float(known['from']) * RATE):round(float(known['to']) * RATE), 11] = 1
        x[:, 12:18] = np.random.default_rng(number).normal(size=6)
        yield x
