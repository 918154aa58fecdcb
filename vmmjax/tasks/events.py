"""Whether something happens, at every moment; alarms from the answers."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vmmjax import optional
from vmmjax.evaluation import metrics
from vmmjax.evaluation.predictions import Predictions
from vmmjax.objectives.events import of_tokens, token_targets
from vmmjax.pipeline import event_targets
from vmmjax.pipeline.targets import Labels
from vmmjax.store.store import Store
from vmmjax.tasks.alarms import Span, alarms, timeline
from vmmjax.tasks.base import NUMBER, PERCENT, TEXT, Task, table


class _Clip(NamedTuple):
    """A clip's events and alarms, in seconds in the clip, and how many seconds of it the model saw."""

    id: int
    events: list[Span]
    alarms: list[Span]
    seconds: float


class Events(Task):
    """Average precision over tokens; of the alarms how many are right, and of the events how many are found.

    An alarm is right, and an event found, where they overlap.
    """

    name = 'events'
    plain = ('false_alarms_an_hour',)
    chance_of = 'share of tokens with the event'
    each_view = True

    def __init__(self, config: Any, store: Store) -> None:
        """See `Task`."""
        self._sklearn = optional.load('sklearn.metrics')  # Before a training begins that needs it at its end.
        super().__init__(config, store)
        self._clips = store.values('id')
        self._offsets = store.values('start').astype(np.float64)

    def read_labels(self, config: Any, store: Store) -> Labels:
        """See `Task`."""
        return event_targets.Events(store, config.data.target, config.task.get('positive', ''))

    def read(self, outputs: Any) -> Any:
        """The logits of tokens, and which of them count."""
        logits = of_tokens(outputs.logits)
        return {'logits': logits, 'mask': jnp.ones_like(logits) if outputs.mask is None else
                outputs.mask.astype(jnp.float32)}

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`."""
        target, logits = self._tokens(rows)
        clips = self._alarms(rows)
        events = [(event, clip) for clip in clips for event in clip.events]
        raised = [(alarm, clip) for clip in clips for alarm in clip.alarms]
        found = sum(any(event.meets(alarm) for alarm in clip.alarms) for event, clip in events)
        right = sum(any(alarm.meets(event) for event in clip.events) for alarm, clip in raised)
        hours = sum(clip.seconds for clip in clips) / 3600
        precision, recall = right / max(1, len(raised)), found / max(1, len(events))
        losses = np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits)))
        return {
            'average_precision': float(self._sklearn.average_precision_score(target, logits)) if target.any() else 0.0,
            'alarms_right': precision, 'events_found': recall,
            'f1': 2 * precision * recall / (precision + recall) if right else 0.0,
            'false_alarms_an_hour': (len(raised) - right) / hours if hours else 0.0,
            'loss': float(losses.mean()) if len(losses) else 0.0}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """The average precision of a random order."""
        target, _ = self._tokens(rows)
        return {'average_precision': float(target.mean()) if len(target) else 0.0}

    def tables(self, rows: Predictions) -> list[dict[str, Any]]:
        """The alarms, by clip and time."""
        found = self._listed(rows)
        note = (f'A probability of {self.objective.high:g} begins one, which lasts down to {self.objective.low:g} and '
                f'at least {self.objective.minimum:g} s; in seconds in the file.')
        return [table('Alarms', note,
                      {'clip': TEXT, 'start': NUMBER, 'end': NUMBER, 'highest': PERCENT, 'right': TEXT},
                      [[*list(alarm.values())[:4], 'yes' if alarm['right'] else 'no'] for alarm in found])]

    def details(self, rows: Predictions) -> dict[str, Any]:
        """The alarms by name."""
        return {'alarms': self._listed(rows)}

    def _listed(self, rows: Predictions) -> list[dict[str, Any]]:
        return [{'clip': str(self._clips[clip.id]), 'start': round(alarm.start + self._offsets[clip.id], 3),
                 'end': round(alarm.end + self._offsets[clip.id], 3), 'highest': alarm.value,
                 'right': any(alarm.meets(event) for event in clip.events)}
                for clip in self._alarms(rows) for alarm in clip.alarms]

    def _tokens(self, rows: Predictions) -> tuple[np.ndarray, np.ndarray]:
        """Targets and logits of all tokens that count."""
        logits = rows.scores['logits'].astype(np.float64)
        metrics.check_finite(logits)
        target = np.asarray(token_targets(rows.target['events'], rows.target['window'][:, 1], logits.shape[1]))
        counts = rows.scores['mask'] > 0
        return target[counts], logits[counts]

    def _alarms(self, rows: Predictions) -> list[_Clip]:
        found = []
        for clip in np.unique(rows.id):
            views = rows.id == clip
            windows = rows.target['window'][views].astype(np.float64)
            moments = timeline(1 / (1 + np.exp(-rows.scores['logits'][views].astype(np.float64))),
                               rows.scores['mask'][views] > 0, windows)
            # Every view has all events of the clip, in its own time.
            times = rows.target['events'][views][0].astype(np.float64) + windows[0, 0]
            found.append(_Clip(
                int(clip), [Span(start, end, 1.0) for start, end in times if end > start],
                alarms(moments, self.objective.high, self.objective.low, self.objective.minimum),
                sum(moment.end - moment.start for moment in moments)))
        return found
