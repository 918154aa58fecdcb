"""What an explanation holds, and its form in files."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

METHODS = ('streams', 'hirescam', 'gradcam', 'gradients', 'occlusion')
_EXACT = 1e-4  # Of the change of the score.


@dataclasses.dataclass(frozen=True)
class Map:
    """Where and when, in one stream.

    Attributes:
      stream: its name.
      method: one of `METHODS`.
      at: the layer's path, or what the baseline is.
      values: float32 (W, T', *places): of pictures rows and columns, of a spectrum frequency; what speaks for the class
        is positive. T' equal parts of each window follow one another.
      change: float64 (W,), what the values are to sum to, of gradients with those of all other streams; None where
        nothing is known.
      residual: float64 (W,), how far they are from it.
      steps: of gradients, the most that a window took.
    """

    stream: str
    method: str
    at: str
    values: np.ndarray
    change: np.ndarray | None = None
    residual: np.ndarray | None = None
    steps: int = 0

    @property
    def standing(self) -> str:
        """What the values are, in words: whether they are parts of the score, and how far they are from that."""
        if self.change is None or self.residual is None:
            return 'a heuristic: what is hidden together is measured together, and nothing says how that is shared'
        share = float(np.max(np.abs(self.residual) / np.maximum(np.abs(self.change), 1e-12)))
        if self.method == 'gradients':
            return f'complete to {share:.1%}: all streams together sum to the difference from the baselines'
        if share <= _EXACT:
            return 'exact: the values sum to what the layer adds to the logit'
        return f'a heuristic: the values miss what the layer adds to the logit by {share:.0%} of it'


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What a prediction of a clip rests on.

    Attributes:
      clip: its name.
      seconds: its length.
      target: of several targets, the one that is meant; else empty.
      named: the class whose logit is explained.
      starts: float64 (W,), seconds, where the windows of the run's evaluation begin.
      length: of a window, in seconds.
      scores: float64 (W,), the logits.
      present: stream -> whether any window has it.
      coalitions: float64 (2^S, W), the logits of all subsets of the streams in the order of `streams.coalitions`; None
        where not asked for.
      trained_with_absence: whether the run dropped streams in training; else subsets are what it never saw.
      maps: of every stream that is present, as asked for.
      seen: stream -> what the network was given, (W, ...); of texts their words.
    """

    clip: str
    seconds: float
    target: str
    named: str
    starts: np.ndarray
    length: float
    scores: np.ndarray
    present: Mapping[str, bool]
    coalitions: np.ndarray | None
    trained_with_absence: bool
    maps: Sequence[Map]
    seen: Mapping[str, Any]

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The Shapley value of every stream, float64 (W,); empty where not asked for."""
        from vmmjax.explain import streams  # Brings JAX along, which the names of the methods need not.

        if self.coalitions is None:
            return {}
        return dict(zip(self.present, streams.shapley(self.coalitions), strict=True))

    def times(self, count: int) -> np.ndarray:
        """The middles of `count` equal parts of every window, float64 (W, count), in seconds of the clip."""
        return self.starts[:, None] + (np.arange(count) + 0.5) / count * self.length

    @property
    def subsets(self) -> dict[str, np.ndarray]:
        """The logits of every subset of the streams by name, such as `audio+rgb`, float64 (W,); empty likewise."""
        from vmmjax.explain import streams

        names = ['+'.join(chosen) or 'none' for chosen in streams.coalitions(list(self.present))]
        return {} if self.coalitions is None else dict(zip(names, self.coalitions, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: all but the arrays of the maps."""
        return {
            'clip': self.clip, 'seconds': self.seconds, 'target': self.target, 'class': self.named,
            'windows': [{'from': start, 'to': start + self.length, 'logit': logit}
                        for start, logit in zip(self.starts.tolist(), self.scores.tolist(), strict=True)],
            'present': dict(self.present),
            'streams': {name: values.tolist() for name, values in self.values.items()},
            'subsets': {name: values.tolist() for name, values in self.subsets.items()},
            'subsets_are_heuristic': not self.trained_with_absence,
            'words': {name: list(seen) for name, seen in self.seen.items() if isinstance(seen, list)},
            'maps': [{'stream': each.stream, 'method': each.method, 'at': each.at, 'shape': list(each.values.shape),
                      'standing': each.standing, 'steps': each.steps,
                      **{key: None if values is None else values.tolist()
                         for key, values in (('change', each.change), ('residual', each.residual))}}
                     for each in self.maps]}

    def arrays(self) -> dict[str, np.ndarray]:
        """Every map as `<stream>/<method>` (W, T', *places), and as `<stream>/<method>/seconds` (W, T') its times."""
        found = {}
        for each in self.maps:
            found[f'{each.stream}/{each.method}'] = each.values
            if not isinstance(self.seen[each.stream], list):
                found[f'{each.stream}/{each.method}/seconds'] = self.times(each.values.shape[1])
        return found
