"""What of a long video belongs into its summary: how important every moment is, and the moments that are chosen."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import special

from vmmjax.errors import UserError
from vmmjax.evaluation import intervals, metrics, summaries
from vmmjax.evaluation.predictions import Predictions
from vmmjax.evaluation.result import COUNT, NUMBER, PERCENT, TEXT, table
from vmmjax.pipeline.event_targets import Segments
from vmmjax.pipeline.targets import Targets
from vmmjax.tasks.alarms import timeline
from vmmjax.tasks.events import of_tokens, read_tokens
from vmmjax.tasks.supervised import Sums, Supervised
from vmmjax.training.objective import Batch

if TYPE_CHECKING:
    from vmmjax.store.store import Store

_DRAWS = 100  # Random summaries of a clip, whose figures are averaged.


class Scored(NamedTuple):
    """A clip and what is said of its segments.

    Attributes:
      id: catalog row.
      cut: float64 (S + 1,), seconds in the clip where segments begin and end.
      scores: float64 (S,), 0 to 1; NaN where no window saw one.
      importance: float64 (S,), 0 to 1; None where it is not known.
    """

    id: int
    cut: np.ndarray
    scores: np.ndarray
    importance: np.ndarray | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summarization(Supervised):
    """Binary cross-entropy of every token's logit with how important its part of the window is, 0 to 1.

    Of the segments of a clip those with the highest scores are its summary. Measured are how much of the importance the
    summary keeps (of events: of their seconds), the F1 of that with how important the summary is, and Kendall's tau
    between scores and importance; each the mean over clips. Beside them stand summaries at equal distances, at random,
    by motion, by cuts and by loudness, with as much time.

    `outputs.logits` is (B, N, 1) with `outputs.mask` (B, N), of a head `per_token`, or (B, 1), one answer for the
    window. Test views are windows of the clip, whose moments are put together: choose `data.views.clips` so that they
    cover it.

    Attributes:
      share: of a clip's time that its summary has.
      segment: seconds of a segment, of which some are chosen.
    """

    share: float = 0.15
    segment: float = 1.0

    name: ClassVar[str] = 'summarization'
    plain: ClassVar[tuple[str, ...]] = ('kendall_tau',)
    chance_of: ClassVar[str] = 'segments at random'
    each_view: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if not (0 < self.share <= 1 and self.segment > 0):
            raise UserError(f'config.task has share={self.share} and segment={self.segment}; the share is above 0 and '
                            f'at most 1, and a segment takes some seconds.')
        if isinstance(self.target, str) or len(self.target) not in (2, 3):
            raise UserError(f'config.task.name is summarization, and data.target is {self.target!r}; name a column of '
                            f'starts, one of ends and, unless all are 1, one of importances.')

    def targets(self, store: 'Store', data: Any) -> Targets:
        """See `Task`."""
        return Segments(store, self.target)

    def judge(self, logits: Any, outputs: Any, batch: Batch, mask: jax.Array) -> tuple[Sums, Sums]:
        """See `Supervised`; the term is `loss`, over tokens."""
        logits = of_tokens(logits)
        valid = outputs.mask if outputs.mask is not None and outputs.mask.shape == logits.shape else True
        target = token_importance(batch['target/segments'], batch['target/window'][:, 1], logits.shape[1])
        known = ~jnp.isnan(target)
        weight = mask[:, None] * (known & valid)
        loss = optax.sigmoid_binary_cross_entropy(logits, jnp.where(known, target, 0))
        return {'loss': ((loss * weight).sum(), weight.sum())}, {}

    def read(self, outputs: Any) -> Any:
        """See `read_tokens`."""
        return read_tokens(outputs)

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`; tau is 0 where no clip has one."""
        figures = self._figures(self.clips(rows))
        logits, counts = rows.scores['logits'].astype(np.float64), rows.scores['mask'] > 0
        target = np.asarray(token_importance(rows.target['segments'], rows.target['window'][:, 1], logits.shape[1]))
        losses = metrics.binary_cross_entropies(logits[counts], target[counts])
        return {**{name: _mean(values) for name, values in figures.items()},
                'loss': float(losses.mean()) if len(losses) else 0.0}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`; a clip's figure stands at its first view."""
        _, firsts = np.unique(rows.id, return_index=True)
        found: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        for name, values in self._figures(self.clips(rows)).items():
            placed = np.full(len(rows.id), np.nan)
            placed[firsts] = values
            found[name] = placed, None
        return found

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What segments at random get, in the mean of 100 draws a clip; tau is 0."""
        drawn = [self._random(clip) for clip in self.clips(rows)]
        return {'importance_kept': _mean([kept for kept, _ in drawn]), 'f1': _mean([both for _, both in drawn])}

    def details(self, rows: Predictions, store: 'Store') -> dict[str, Any]:
        """The baselines, and by how much the model is above them."""
        from vmmjax.pipeline import stored_signals  # Needs OpenCV, which a training does not.

        clips = self.clips(rows)
        figures = self._figures(clips)
        kept: dict[str, list[float]] = {'at random': [], 'at equal distances': []}
        taus: dict[str, list[float]] = {}
        for clip in clips:
            assert clip.importance is not None
            kept['at random'].append(self._random(clip)[0])
            even = summaries.uniform(len(clip.scores), clip.cut, self.share)
            kept['at equal distances'].append(summaries.kept(clip.importance, clip.cut, even))
            for name, scores in stored_signals.of_segments(store, clip.id, clip.cut).items():
                taken = summaries.chosen(scores, clip.cut, self.share)
                kept.setdefault(name, []).append(summaries.kept(clip.importance, clip.cut, taken))
                taus.setdefault(name, []).append(summaries.tau(scores, clip.importance))
        groups = store.values('group') if store.has_values('group') else None
        ids = np.array([clip.id for clip in clips])
        lines: list[list[Any]] = [['the model', _mean(figures['importance_kept']), _mean(figures['kendall_tau']), None,
                                   None, '']]
        for name, values in kept.items():
            above = figures['importance_kept'] - np.array(values)
            there = np.isfinite(above)
            line = [name, _mean(values), _mean(taus[name]) if name in taus else None]
            if there.any():
                interval = intervals.mean(above[there], None if groups is None else groups[ids[there]])
                low, high = interval.ends
                span = interval.label if low is None or high is None else f'{100 * low:.1f} to {100 * high:.1f}'
                line += [float(above[there].mean()), int(there.sum()), span]
            else:
                line += [None, 0, '']
            lines.append(line)
        return {'tables': [table(
            'Summaries', f'{100 * self.share:g} % of the time of each clip, in segments of {self.segment:g} s: how '
            'much of the importance they keep, and by how much the model keeps more, in points with a 95 % interval.',
            {'by': TEXT, 'kept': PERCENT, "Kendall's tau": NUMBER, 'model above': PERCENT, 'clips': COUNT,
             'interval': TEXT}, lines)]}

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """The summary of the clip in which a row lies, all of its parts in order, each with its mean score.

        `segments` has them as numbers, `start` and `end` in seconds on the clock of the windows, and `scores` the score
        of every segment.
        """
        views = rows.id == rows.id[place]
        clip = self._of_clip(rows, views)
        offset = float(rows.target['window'][views][:, 0].min())
        cut = clip.cut + offset
        parts = [(start, end, _mean(clip.scores[(cut[:-1] >= start) & (cut[1:] <= end)]))
                 for start, end in summaries.parts(cut, summaries.chosen(clip.scores, clip.cut, self.share))]
        return [{'target': 'summary', 'truth': '', 'probability': None,
                 'named': [[f'{start:.2f} to {end:.2f} s', score] for start, end, score in parts],
                 'segments': [{'start': round(start, 3), 'end': round(end, 3), 'score': score}
                              for start, end, score in parts],
                 'scores': [[round(float(start), 3), round(float(end), 3), None if np.isnan(score) else float(score)]
                            for start, end, score in zip(cut[:-1], cut[1:], clip.scores, strict=True)]}]

    def clips(self, rows: Predictions) -> list[Scored]:
        """What is said of every clip."""
        return [self._of_clip(rows, rows.id == clip) for clip in np.unique(rows.id)]

    def _of_clip(self, rows: Predictions, views: np.ndarray) -> Scored:
        windows = rows.target['window'][views].astype(np.float64)
        first = windows[:, 0].min()
        logits, mask = rows.scores['logits'][views].astype(np.float64), rows.scores['mask'][views] > 0
        metrics.check_finite(logits)
        # A head with one answer for the window answers for what is padding, too.
        moments = timeline(special.expit(logits), mask, windows, end=float(rows.target['end'][views][0]))
        if not moments:
            return Scored(int(rows.id[views][0]), np.array([0.0, self.segment]), np.full(1, np.nan), np.zeros(1))
        spans = np.array([(moment.start, moment.end) for moment in moments]) - first
        cut = summaries.edges(float(spans[-1, 1]), self.segment)
        importance = None
        if 'segments' in rows.target:
            # Every view has all segments of the clip, in its own time.
            segments = rows.target['segments'][views][0].astype(np.float64)
            times = segments[:, :2] + windows[0, 0] - first
            importance = np.clip(np.diff(summaries.integral(times, segments[:, 2], cut)) / np.diff(cut), 0, 1)
        scores = summaries.means(spans, np.array([moment.value for moment in moments]), cut)
        return Scored(int(rows.id[views][0]), cut, scores, importance)

    def _figures(self, clips: Sequence[Scored]) -> dict[str, np.ndarray]:
        """Of every clip, float64 (clips,) by metric; NaN where it has none."""
        found: dict[str, list[float]] = {'importance_kept': [], 'f1': [], 'kendall_tau': []}
        for clip in clips:
            assert clip.importance is not None
            taken = summaries.chosen(clip.scores, clip.cut, self.share)
            found['importance_kept'].append(summaries.kept(clip.importance, clip.cut, taken))
            found['f1'].append(summaries.f1(clip.importance, clip.cut, taken))
            found['kendall_tau'].append(summaries.tau(clip.scores, clip.importance))
        return {name: np.array(values) for name, values in found.items()}

    def _random(self, clip: Scored) -> tuple[float, float]:
        """Kept importance and F1 of random segments, the mean of draws that are the same in every run."""
        assert clip.importance is not None
        random = np.random.default_rng(clip.id)
        drawn = [summaries.chosen(random.random(len(clip.scores)), clip.cut, self.share) for _ in range(_DRAWS)]
        return (float(np.mean([summaries.kept(clip.importance, clip.cut, taken) for taken in drawn])),
                float(np.mean([summaries.f1(clip.importance, clip.cut, taken) for taken in drawn])))


def token_importance(segments: Any, seconds: Any, tokens: int) -> jax.Array:
    """How important the part of the window is that each token has: the mean of its moments.

    Args:
      segments: float (B, M, 3), starts, ends (seconds in the window) and importances, disjoint; NaN where a row is not
        labelled.
      seconds: float (B,), the windows' lengths.
      tokens: N; token n is the n-th of N equal parts.

    Returns:
      Float32 (B, N), 0 to 1, NaN where a row is not labelled.
    """
    edges = seconds[:, None] * jnp.arange(tokens + 1) / tokens
    first = jnp.maximum(segments[:, None, :, 0], edges[:, :-1, None])
    last = jnp.minimum(segments[:, None, :, 1], edges[:, 1:, None])
    share = (jnp.maximum(last - first, 0) * segments[:, None, :, 2]).sum(-1) * tokens / seconds[:, None]
    return jnp.minimum(share, 1).astype(jnp.float32)


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Of those that there are; 0 where there are none."""
    there = np.asarray(values, np.float64)
    there = there[np.isfinite(there)]
    return float(there.mean()) if len(there) else 0.0
