"""Which stream said what, over a split: exact Shapley values of every clip."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from vmmjax.errors import UserError
from vmmjax.evaluation.result import Result
from vmmjax.experiment import Experiment
from vmmjax.explain import streams
from vmmjax.serving.explain import check_target


@dataclasses.dataclass(frozen=True)
class SplitValues:
    """The streams' part in what a run says of the clips of a split.

    Attributes:
      clips: ids of the catalog (N,).
      named: the class of each clip whose logit is shared out, the one that the run names.
      present: stream -> bool (N,).
      coalitions: float64 (2^S, N), that logit with every subset of the streams, in the order of `streams.coalitions`.
      result: the metrics of every subset.
      trained_with_absence: whether the run dropped streams in training; else subsets are what it never saw.
    """

    clips: np.ndarray
    named: np.ndarray
    present: Mapping[str, np.ndarray]
    coalitions: np.ndarray
    result: Result
    trained_with_absence: bool

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The Shapley value of every stream, float64 (N,)."""
        return dict(zip(self.present, streams.shapley(self.coalitions), strict=True))

    @property
    def shares(self) -> dict[str, float]:
        """Of every stream |value| over that of all streams, in the mean over clips (MM-SHAP, Parcalabescu and Frank
        2023); clips whose values are all 0 are left out.
        """
        sizes = np.abs(np.stack(list(self.values.values())))
        total = sizes.sum(0)
        means = (sizes[:, total > 0] / total[total > 0]).mean(1) if (total > 0).any() else np.zeros(len(sizes))
        return dict(zip(self.present, means.tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without the clips."""
        return {'split': self.result.split, 'clips': len(self.clips),
                'streams': {name: {'mean': float(values.mean()), 'mean_size': float(np.abs(values).mean()),
                                   'share': self.shares[name], 'present': int(self.present[name].sum())}
                            for name, values in self.values.items()},
                'subsets': self.result.subsets, 'chance': self.result.chance,
                'subsets_are_heuristic': not self.trained_with_absence}

    def arrays(self) -> dict[str, np.ndarray]:
        """`clip`, `class`, and of every stream its values and where it is present."""
        return {'clip': self.clips, 'class': self.named,
                **{f'value/{name}': values for name, values in self.values.items()},
                **{f'present/{name}': there for name, there in self.present.items()}}


def explain_split(run: Experiment, split: str, target: str = '') -> SplitValues:
    """Measures a split of the run's store with every subset of its streams.

    Args:
      run: with its parameters.
      split: its name.
      target: of several targets, the one that is meant; empty for the first.

    Raises:
      UserError: for more than 6 streams, a task without logits of classes, or where the store or split is not there.
    """
    chosen, names = check_target(run, target)
    order = streams.coalitions(list(run.config.data.streams))
    found = run.predictions(split)
    by_streams = {frozenset(name.split('+')): rows for name, rows in found.items()}
    scores = {key: rows.scores if chosen is None else rows.scores[chosen] for key, rows in by_streams.items()}
    whole = scores[frozenset(order[-1])]
    if not isinstance(whole, np.ndarray) or whole.ndim != 2:
        raise UserError(f'The scores of the task {run.task.name} are not one logit a class for each clip; explain a '
                        f'file in place of a split.')
    places = whole.argmax(1)
    # Of nothing a model gives logits of 0, whose mean over views is not 0 where probabilities are averaged.
    nothing = run.task.averaging[run.average](np.zeros((1, whole.shape[1])), np.zeros(1, np.int64))
    coalitions = np.stack([np.take_along_axis(
        scores[frozenset(subset)].astype(np.float64) if subset else np.repeat(nothing, len(whole), 0),
        places[:, None], axis=1)[:, 0] for subset in order])
    rows = next(iter(found.values()))
    return SplitValues(
        np.array([run.store.clip(int(row)) for row in rows.id]), np.array(names)[places],
        {name: rows.present[name] for name in run.config.data.streams}, coalitions, run.result(found, split),
        any(rate > 0 for rate in run.config.data.dropout.values()))
