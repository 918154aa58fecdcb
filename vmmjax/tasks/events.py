"""Temporal localisation of one event: whether it happens, at every moment; alarms from the answers."""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import special

from vmmjax import optional
from vmmjax.errors import UserError
from vmmjax.evaluation import metrics
from vmmjax.evaluation.predictions import Predictions
from vmmjax.evaluation.result import NUMBER, PERCENT, TEXT, table
from vmmjax.pipeline import event_targets
from vmmjax.pipeline.targets import Targets
from vmmjax.tasks.alarms import Levels, Rules, Span, alarms, timeline
from vmmjax.tasks.supervised import Sums, Supervised
from vmmjax.training.objective import Batch

if TYPE_CHECKING:
    from vmmjax.store.store import Store

_HALF = 0.5 - 1e-6  # Rounding of times in float32 does not decide.


class _Clip(NamedTuple):
    """A clip's events and alarms, in seconds in the clip, and how many seconds of it the model saw."""

    id: int
    events: list[Span]
    alarms: list[Span]
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Events(Supervised):
    """Binary cross-entropy of every token's logit with what happens in its part of the window.

    Measured are the average precision over tokens; of the alarms how many are right, and of the events how many are
    found. An alarm is right, and an event found, where they overlap.

    `outputs.logits` is (B, N, 1) with `outputs.mask` (B, N), of a head `per_token`, or (B, 1), one answer for the
    window. `batch['target/events']` float32 (B, M, 2) are starts and ends in seconds in the window, NaN where a row is
    not labelled; `batch['target/window']` float32 (B, 2) its start and length.

    Attributes:
      positive: the value of the target, where that is one column, that is the event.
      high: in evaluation an alarm begins at a moment with at least this probability,
      low: and lasts as long as the probability is at least this (hysteresis).
      minimum: seconds; shorter alarms are dropped.
      cool_down: seconds after the end of an alarm in which no other begins.
    """

    positive: str = ''
    high: float = 0.5
    low: float = 0.3
    minimum: float = 0.0
    cool_down: float = 0.0

    name: ClassVar[str] = 'events'
    plain: ClassVar[tuple[str, ...]] = ('false_alarms_an_hour',)
    chance_of: ClassVar[str] = 'share of tokens with the event'
    each_view: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the thresholds."""
        if not 0 <= self.low <= self.high <= 1:
            raise UserError(f'config.task has low={self.low} and high={self.high}; thresholds are probabilities, and '
                            f'the low one is not above the high one.')

    def targets(self, store: 'Store', data: Any) -> Targets:
        """See `Task`."""
        return event_targets.Events(store, self.target, self.positive, trained=bool(self.facts))

    def check(self, config: Any) -> None:
        """Scikit-learn is needed at the end of a training, so it is asked for before."""
        super().check(config)
        optional.load('sklearn.metrics')

    def judge(self, logits: Any, outputs: Any, batch: Batch, mask: jax.Array) -> tuple[Sums, Sums]:
        """See `Supervised`; the term is `loss` and the metric `accuracy`, both over tokens."""
        logits = of_tokens(logits)
        # The tokens of a stream alone are another number than the fused ones.
        valid = outputs.mask if outputs.mask is not None and outputs.mask.shape == logits.shape else True
        target = token_targets(batch['target/events'], batch['target/window'][:, 1], logits.shape[1])
        known = ~jnp.isnan(target)
        weight = mask[:, None] * (known & valid)
        target = jnp.where(known, target, 0)
        loss = optax.sigmoid_binary_cross_entropy(logits, target)
        right = (logits > 0) == (target > 0)
        count = weight.sum()
        return {'loss': ((loss * weight).sum(), count)}, {'accuracy': ((right * weight).sum(), count)}

    def read(self, outputs: Any) -> Any:
        """See `read_tokens`."""
        return read_tokens(outputs)

    @property
    def rules(self) -> Rules:
        """Those of the config."""
        return Rules(self.high, self.low, self.minimum, self.cool_down)

    def levels(self, scores: Any) -> dict[str, Levels]:
        """The probability of every token."""
        return {self.classes[0]: Levels(special.expit(scores['logits'].astype(np.float64)), scores['mask'] > 0)}

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`."""
        sklearn_metrics = optional.load('sklearn.metrics')
        target, logits = self._tokens(rows)
        clips = self._alarms(rows)
        events = [(event, clip) for clip in clips for event in clip.events]
        raised = [(alarm, clip) for clip in clips for alarm in clip.alarms]
        found = sum(any(event.meets(alarm) for alarm in clip.alarms) for event, clip in events)
        right = sum(any(alarm.meets(event) for event in clip.events) for alarm, clip in raised)
        hours = sum(clip.seconds for clip in clips) / 3600
        precision, recall = right / max(1, len(raised)), found / max(1, len(events))
        losses = metrics.binary_cross_entropies(logits, target)
        return {
            'average_precision': (float(sklearn_metrics.average_precision_score(target, logits)) if target.any()
                                  else 0.0),
            'alarms_right': precision, 'events_found': recall,
            'f1': 2 * precision * recall / (precision + recall) if right else 0.0,
            'false_alarms_an_hour': (len(raised) - right) / hours if hours else 0.0,
            'loss': float(losses.mean()) if len(losses) else 0.0}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """The average precision of a random order."""
        target, _ = self._tokens(rows)
        return {'average_precision': float(target.mean()) if len(target) else 0.0}

    def details(self, rows: Predictions, store: 'Store') -> dict[str, Any]:
        """The alarms, by clip and time."""
        found = self._listed(rows, store)
        note = (f'A probability of {self.high:g} begins one, which lasts down to {self.low:g} and '
                f'at least {self.minimum:g} s; in seconds in the file.')
        return {'alarms': found, 'tables': [table(
            'Alarms', note, {'clip': TEXT, 'start': NUMBER, 'end': NUMBER, 'highest': PERCENT, 'right': TEXT},
            [[*list(alarm.values())[:4], 'yes' if alarm['right'] else 'no'] for alarm in found])]}

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """The alarms of the clip in which a row lies, all of them, each with its highest probability.

        `events` has them as numbers, `start` and `end` in seconds on the clock of the windows.
        """
        views = rows.id == rows.id[place]
        found = alarms(self._moments(rows, views), self.rules)
        name, = self.classes
        return [{'target': name, 'truth': '', 'probability': None,
                 'named': [[f'{alarm.start:.2f} to {alarm.end:.2f} s', alarm.value] for alarm in found],
                 'events': [{'start': round(alarm.start, 3), 'end': round(alarm.end, 3), 'probability': alarm.value}
                            for alarm in found]}]

    def _listed(self, rows: Predictions, store: 'Store') -> list[dict[str, Any]]:
        clips, offsets = store.values('id'), store.values('start').astype(np.float64)
        return [{'clip': str(clips[clip.id]), 'start': round(alarm.start + offsets[clip.id], 3),
                 'end': round(alarm.end + offsets[clip.id], 3), 'highest': alarm.value,
                 'right': any(alarm.meets(event) for event in clip.events)}
                for clip in self._alarms(rows) for alarm in clip.alarms]

    def _tokens(self, rows: Predictions) -> tuple[np.ndarray, np.ndarray]:
        """Targets and logits of all tokens that count."""
        logits = rows.scores['logits'].astype(np.float64)
        metrics.check_finite(logits)
        target = np.asarray(token_targets(rows.target['events'], rows.target['window'][:, 1], logits.shape[1]))
        counts = rows.scores['mask'] > 0
        return target[counts], logits[counts]

    def _moments(self, rows: Predictions, views: np.ndarray) -> list[Span]:
        """How probable the event is at each moment of a clip whose views are bool (N,) of the rows."""
        metrics.check_finite(rows.scores['logits'][views])
        (seen,) = self.levels({name: scores[views] for name, scores in rows.scores.items()}).values()
        return timeline(*seen, rows.target['window'][views].astype(np.float64),
                        end=float(rows.target['end'][views][0]))

    def _alarms(self, rows: Predictions) -> list[_Clip]:
        found = []
        for clip in np.unique(rows.id):
            views = rows.id == clip
            windows = rows.target['window'][views].astype(np.float64)
            moments = self._moments(rows, views)
            # Every view has all events of the clip, in its own time.
            times = rows.target['events'][views][0].astype(np.float64) + windows[0, 0]
            found.append(_Clip(
                int(clip), [Span(start, end, 1.0) for start, end in times if end > start],
                alarms(moments, self.rules),
                sum(moment.end - moment.start for moment in moments)))
        return found


def of_tokens(logits: jax.Array) -> jax.Array:
    """Logits (B, N, 1) or (B, 1) as float32 (B, N), N = 1 for the latter."""
    return logits.astype(jnp.float32).reshape(logits.shape[0], -1)


def read_tokens(outputs: Any) -> dict[str, jax.Array]:
    """The `logits` of tokens, float32 (B, N), and `mask`, float32 (B, N), which of them count."""
    logits = of_tokens(outputs.logits)
    return {'logits': logits,
            'mask': jnp.ones_like(logits) if outputs.mask is None else outputs.mask.astype(jnp.float32)}


def token_targets(events: Any, seconds: Any, tokens: int) -> jax.Array:
    """What each token should say: 1 where events fill at least half of its part of the window, else 0.

    Args:
      events: float (B, M, 2), starts and ends in seconds in the window, disjoint; NaN where a row is not labelled.
      seconds: float (B,), the windows' lengths.
      tokens: N; token n is the n-th of N equal parts.

    Returns:
      Float32 (B, N), NaN where a row is not labelled.
    """
    edges = seconds[:, None] * jnp.arange(tokens + 1) / tokens
    first = jnp.maximum(events[:, None, :, 0], edges[:, :-1, None])
    last = jnp.minimum(events[:, None, :, 1], edges[:, 1:, None])
    share = jnp.maximum(last - first, 0).sum(-1) * tokens / seconds[:, None]
    return jnp.where(jnp.isnan(share), jnp.nan, (share >= _HALF).astype(jnp.float32))
