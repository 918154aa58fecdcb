"""From two sets of videos to a distance that says how it was made, and what of it is not as published."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation.fvd.clips import ROLES, Choice, Clips
from vmmjax.evaluation.fvd.frechet import distance, interval
from vmmjax.evaluation.fvd.network import Network, Statistics, check_ending, find, measure
from vmmjax.evaluation.fvd.protocols import DEFAULT_WEIGHTS, PROTOCOLS, RESIZES, STARTS, WEIGHTS, Protocol

LEVEL = 0.95
"""Of the interval."""


@dataclasses.dataclass(frozen=True)
class Distance:
    """A distance.

    Attributes:
      value: of it.
      interval: where that of other videos of the same kinds may lie; None where it was not asked for, or where
        statistics were kept without features.
      protocol: by which it was made.
      sets: what is known of the real videos and of the fake ones.
      departures: in what it is not the protocol's, a sentence each.
    """

    value: float
    interval: tuple[float, float] | None
    protocol: Protocol
    sets: tuple[Statistics, Statistics]
    departures: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """All of it as plain values."""
        sets = {role: {'videos': found.moments.count, **found.made}
                for role, found in zip(ROLES, self.sets, strict=True)}
        return {'fvd': self.value, 'interval': self.interval, 'level': LEVEL, 'protocol': self.protocol.name,
                'ddof': self.protocol.ddof, **sets, 'departures': list(self.departures)}

    def lines(self) -> str:
        """The same for people."""
        sure = '' if self.interval is None else (
            f'  ({100 * LEVEL:.0f} % CI, percentile bootstrap: {self.interval[0]:.2f} to {self.interval[1]:.2f})')
        weights = sorted({found.made['weights'] for found in self.sets if found.made})
        network = ' and '.join(f'{name[:16]}{" (I3D, Kinetics-400 of TF-Hub)" if name == WEIGHTS else ""}'
                               for name in weights)
        told = [f'Fréchet video distance {self.value:.5f}{sure}',
                f'  protocol  {self.protocol.name}, covariance over N{" - 1" if self.protocol.ddof else ""}',
                f'  weights   {network or "not known: features as given"}']
        told += [f'  {role:10}{_told(found)}' for role, found in zip(ROLES, self.sets, strict=True)]
        return '\n'.join([*told, *[f'  NOT STANDARD: {sentence}.' for sentence in self.departures]])


class _Standard:
    """Refuses what is not as published, or notes it where that is allowed."""

    def __init__(self, allowed: bool) -> None:
        self._allowed = allowed
        self.departures: list[str] = []

    def check(self, holds: bool, sentence: str) -> None:
        if holds or sentence in self.departures:
            return
        if not self._allowed:
            raise UserError(f'{sentence}: the distance could not be compared with published ones; say --nonstandard to '
                            f'have it all the same.')
        self.departures.append(sentence)


def frechet_video_distance(a: Any, b: Any, *, protocol: str = 'official', frames: int | None = None,
                           nonstandard: bool = False) -> float:
    """The Fréchet video distance between real and generated videos.

    Args:
      a: real videos: uint8 (N, T, H, W, 3); floats in [-1, 1] (N, T, 224, 224, 3), to which nothing is done; features
        (N, D); or a path, see `vmmjax fvd`.
      b: generated videos, likewise.
      protocol: a name of `PROTOCOLS`.
      frames: pictures of a clip; None for the protocol's.
      nonstandard: whether it may depart from the protocol, such as by the number of videos.

    Raises:
      UserError: for videos that the protocol does not take, or where the weights (`vmmjax[pretrained]`) are missing.
    """
    return compare(a, b, protocol=protocol, frames=frames, nonstandard=nonstandard).value


def compare(real: Any, fake: Any, *, protocol: str, frames: int | None = None, every: int = 1,
            weights: str | Path = DEFAULT_WEIGHTS, nonstandard: bool = False, resamples: int = 0, seed: int = 0,
            save: Sequence[str | None] = (None, None), batch_size: int = 16, progress: bool = False) -> Distance:
    """The distance, and all that it depends on.

    Args:
      real: what `find` takes.
      fake: likewise.
      protocol: a name of `PROTOCOLS`.
      frames: pictures of a clip; None for the protocol's.
      every: of how many pictures one is taken.
      weights: what `load_pretrained` takes.
      nonstandard: whether it may depart from the protocol.
      resamples: for the interval; 0 for none.
      seed: of clips that are chosen at random, and of the resamples.
      save: `.npz` files for the statistics of both, where they are to be kept.
      batch_size: clips that are computed together.
      progress: whether a bar shows the way.

    Raises:
      UserError: for what cannot be compared, or departs from the protocol and may not.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f'There is no protocol {protocol!r}: {did_you_mean(protocol, PROTOCOLS)}.')
    for named in filter(None, save):
        check_ending(Path(named))
    standard = _Standard(nonstandard)
    choices = [_choice(PROTOCOLS[protocol], role, frames, every, seed, standard) for role in ROLES]
    keep = resamples > 0
    found = [find(source, choice, keep=keep) for source, choice in zip((real, fake), choices, strict=True)]
    # Before time is spent on the videos.
    for each, choice in zip(found, choices, strict=True):
        if isinstance(each, Clips):
            _check_count(each.total, choice, standard)
        elif each.made:
            _check_made(each, choice, standard)
    videos = [each for each in found if isinstance(each, Clips)]
    if videos:
        network = Network(weights, batch_size)
        standard.check(network.weights == WEIGHTS, f'{weights} holds other weights than TF-Hub had')
    sets = []
    for each, path in zip(found, save, strict=True):
        sets.append(measure(each, network, keep=keep, progress=progress) if isinstance(each, Clips) else each)
        # At once: what comes after it may fail.
        if path:
            sets[-1].write(Path(path))
    one, other = sets
    _check_pair(one, other, choices, standard)
    ddof = PROTOCOLS[protocol].ddof
    value, sure = distance(one.moments, other.moments, ddof=ddof), None
    if keep and one.features is not None and other.features is not None:
        sure = interval(one.features, other.features, ddof=ddof, resamples=resamples, level=LEVEL, seed=seed)
    return Distance(value, sure, PROTOCOLS[protocol], (one, other), tuple(standard.departures))


def _choice(protocol: Protocol, role: str, frames: int | None, every: int, seed: int,
            standard: _Standard) -> Choice:
    if frames is not None and frames < protocol.shortest:
        raise UserError(f'A clip of {frames} pictures is too short for the protocol {protocol.name}; take '
                        f'{protocol.shortest} or more.')
    chosen = protocol.clips[0][0] if frames is None else frames, every
    if every > 1 and not chosen[0]:
        raise UserError(f'The protocol {protocol.name} takes whole videos; with one of {every} pictures, say how many '
                        f'with --frames.')
    free = protocol.clips[0][0] == 0 and chosen[1] == 1
    standard.check(free or chosen in protocol.clips,
                   f'The protocol {protocol.name} has no clips of {chosen[0]} pictures, one of {chosen[1]}')
    return Choice(protocol, role, *chosen, seed)


def _check_made(found: Statistics, choice: Choice, standard: _Standard) -> None:
    """Checks statistics that were written before."""
    wanted = {'protocol': choice.protocol.name, 'start': choice.start, 'every': choice.every}
    if choice.frames:
        wanted['frames'] = choice.frames
    for key, value in wanted.items():
        standard.check(found.made[key] == value, f'The statistics of the {choice.role} videos were made with '
                                                 f'{key}={found.made[key]}, not {value}')
    standard.check(found.made['weights'] == WEIGHTS,
                   f'The statistics of the {choice.role} videos were made with other weights than TF-Hub had')


def _check_count(count: int, choice: Choice, standard: _Standard) -> None:
    fewer = count < choice.most and choice.role == 'fake'
    standard.check(not fewer and not 0 < choice.most < count,
                   f'The protocol {choice.protocol.name} takes {choice.most} {choice.role} videos, not {count}')


def _check_pair(one: Statistics, other: Statistics, choices: list[Choice], standard: _Standard) -> None:
    """Checks what is known when both sets were looked at."""
    for each, choice in zip((one, other), choices, strict=True):
        _check_count(each.moments.count, choice, standard)
    standard.check(not choices[0].protocol.equal or one.moments.count == other.moments.count,
                   f'The protocol {choices[0].protocol.name} takes as many real as fake videos, not '
                   f'{one.moments.count} and {other.moments.count}')
    standard.check(bool(one.made) == bool(other.made), 'Only of one of the sets it is known how its features were made')
    if one.made and other.made:
        for key, name in {'frames': 'pictures a clip', 'weights': 'weights'}.items():
            standard.check(one.made[key] == other.made[key],
                           f'The sets have different {name}: {one.made[key]} and {other.made[key]}')


def _told(found: Statistics) -> str:
    """One line about a set."""
    count, made = found.moments.count, found.made
    if not made:
        return f'{count} rows of {len(found.moments.mean)} features as given'
    every = f', one of {made["every"]}' if made['every'] > 1 else ''
    start = STARTS[made['start']] + (f' (seed {made["seed"]})' if made['start'] == 'random' else '')
    dropped = f'; {made["dropped"]} were too short' if made['dropped'] else ''
    return (f'{count} videos, {made["frames"]} pictures each{every} {start}, '
            f'{RESIZES.get(made["resize"], "not resized")}{dropped}')
