"""What a run cost: parameters, operations, time, machine."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vmmjax.evaluation.config_diff import without_paths

Series = Mapping[str, Mapping[float, float]]
"""Value by step by key, as `training_log.read_log` gives it."""


class Fact(NamedTuple):
    """A line of the page: what, how much, and what that means.

    Attributes:
      name: what.
      value: how much.
      note: what it means; may be empty.
    """

    name: str
    value: str
    note: str


def training_seconds(series: Series, batch: int) -> float:
    """Seconds that the steps took, their compilation included, validation and loading left out.

    Args:
      series: of the run's log.
      batch: clips a step.
    """
    seconds, before = 0.0, 0.0
    for step, rate in series.get('clips_per_second', {}).items():
        seconds += (step - before) * batch / rate
        before = step
    return seconds


def facts(cost: Mapping[str, Any], series: Series) -> list[Fact]:
    """What a page says of the cost, as far as it is known.

    Args:
      cost: `cost` of a result: `parameters`, `macs` of a forward pass of a test view or None, `views` of a clip,
        `batch_size` in training, and `machine`; empty where it was not recorded.
      series: of the run's log; empty of none.
    """
    found: list[Fact] = []
    if cost:
        found.append(Fact('parameters', short(cost['parameters']), 'trained or frozen'))
    if cost and cost['macs'] is not None:
        views = f'; a clip has {cost["views"]}' if cost['views'] > 1 else ''
        found.append(Fact('forward pass', f'{short(cost["macs"])}MACs',
                          f'multiplications of convolutions and matrix products, of one view{views}'))
    if cost and (seconds := training_seconds(series, cost['batch_size'])):
        found.append(Fact('training', duration(seconds), 'the steps and their compilation'))
    if 'elapsed' in series:
        whole = list(series['elapsed'].values())[-1]
        found.append(Fact('in all', duration(whole), 'with validation and checkpoints'))
    if 'goodput' in series:
        useful = list(series['goodput'].values())[-1]
        found.append(Fact('goodput', f'{100 * useful:.1f} %', 'of that time was in steps that count'))
    if 'clips_per_second' in series:
        rate = float(np.median(list(series['clips_per_second'].values())))
        found.append(Fact('speed', f'{rate:,.0f} clips a second' if rate >= 100 else f'{rate:.3g} clips a second',
                          'in training, the median'))
    if cost:
        found.append(Fact('measured on', without_paths(cost['machine']), ''))
    return found


def short(number: float) -> str:
    """Three digits and what multiplies a unit that follows: '24.3 M', '850 '."""
    for power, unit in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if number >= power:
            return f'{number / power:.3g} {unit}'
    return f'{number:.3g} '


def duration(seconds: float) -> str:
    """Such as '1 h 05 min', '3 min 20 s', '12.5 s'."""
    if seconds < 60:
        return f'{seconds:.3g} s'
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f'{minutes} min {rest:02d} s'
    return f'{minutes // 60} h {minutes % 60:02d} min'
