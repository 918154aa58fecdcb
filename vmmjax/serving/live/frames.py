"""A run as it judges a live stream frame after frame, with what its network carries from one to the next."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError
from vmmjax.experiment import Experiment
from vmmjax.models import Outputs
from vmmjax.pipeline import inputs
from vmmjax.prepare.columns import ColumnBuilder, rebuilt
from vmmjax.serving.live import columns
from vmmjax.serving.live.judge import Connection, Judged
from vmmjax.serving.live.windows import LiveBatches, Window
from vmmjax.tasks.alarms import Levels
from vmmjax.training import sharding
from vmmjax.training.objective import Context

_ROWS = Mapping[str, np.ndarray]


class FrameJudge:
    """A run whose network looks at the past alone: what it says of a frame is what it says of it within the whole.

    It is asked of one frame at a time, as a window that is as long as a frame lasts, and has seen all frames of the
    connection that it was asked of before. The mean of its logits over the frames of a clip is what the model gives for
    the clip at once (`evaluation.streaming`).

    Attributes:
      window: seconds of a frame.
      columns: the builders of the columns that are read.
      names: the outputs that may raise an alarm.
      rules: of the task; None where it has none.
      writes: whether the run writes texts, which none does frame by frame.
    """

    writes = False

    def __init__(self, run: Experiment, sources: int, window: float = 0.0) -> None:
        """Takes a loaded run.

        Args:
          run: see `Experiment.load`.
          sources: how many are judged at once at most.
          window: seconds in which the frames of a clip lie, for a run that looks at whole clips and has no rate; 0 for
            the run's own.

        Raises:
          UserError: for a run that cannot watch live streams, or not frame by frame.
        """
        found = inputs.checked(run.run_inputs.get('data'), run.config.data.store)
        self.columns: dict[str, ColumnBuilder] = {
            name: rebuilt(name, record) for name, record in found['columns'].items()}
        columns.check(list(self.columns.values()))
        run.check_streaming()
        self._run = run
        data = run.config.data.to_dict()
        self._stream, given = next(iter(data['streams'].items()))  # A model of several is refused below.
        self.window = 1 / _rate(given, self.columns[given['modality']].rate, float(data['window']['seconds']), window)
        one = {**data, 'streams': {self._stream: {**given, 'frames': 1, 'rate': None}},
               'views': {'crops': 1}}
        shards = sharding.row_shards(run.batch_sharding)
        self._size = -(-sources // shards) * shards
        self._batches = LiveBatches(found, one, window=self.window, sources=self._size, seed=run.config.seed)
        self._params, self._model_state = (variables := run.variables).pop('params'), variables
        self._connections: dict[str, tuple[int, object]] = {}  # Of a source its row, and which is carried there.
        first = self._batches.of([Window(0.0, {}, {})], self._size)
        self._carry = run.model.init_stream(run.model.preprocess(jax.tree.map(jnp.asarray, first)))
        self._step = jax.jit(functools.partial(_step, run, self._stream), donate_argnums=2)
        self.rules = run.task.rules
        # The program is compiled before anything is live.
        self.names = list(self([Window(0.0, {}, {})], [('', None)])[0].levels)
        self._connections.clear()

    def __call__(self, windows: Sequence[Window], connections: Sequence[Connection]) -> list[Judged]:
        """What is said of each frame; see `Judge`.

        Args:
          windows: a frame each.
          connections: where each is from; no two are of one source.
        """
        fresh, places = np.zeros(self._size, bool), []
        for source, connection in connections:
            place, before = self._connections.get(source, (len(self._connections), None))
            fresh[place] = source not in self._connections or connection is not before
            self._connections[source] = place, connection
            places.append(place)
        batch = _placed(self._batches.of(windows, self._size), places)
        moved = sharding.put({**batch, 'fresh': fresh}, self._run.batch_sharding)
        self._carry, scores = self._step(self._params, self._model_state, self._carry, moved.pop('fresh'), moved)
        levels = self._run.task.levels(jax.device_get(scores))
        return [Judged({name: [Levels(level.values[place:place + 1], level.mask[place:place + 1])]
                        for name, level in levels.items()},
                       [self._stream] if batch[f'present/{self._stream}'][place] else []) for place in places]


def _rate(stream: Mapping[str, Any], column: float, own: float, window: float) -> float:
    """Frames a second that a run looks at.

    Raises:
      UserError: for frames of a whole clip, without its length, and for a length where the run has a rate.
    """
    rate = float(stream.get('rate') or 0.0)
    if not rate:
        frames = stream.get('frames')
        rate = column if not frames else float(frames) / own if own else 0.0
    if rate and window:
        raise UserError(f'The run looks at {rate:g} frames a second; leave --window out.')
    if not rate and not window:
        raise UserError('The run looks at whole clips, and a live stream has no end; give the seconds of a clip as '
                        '--window.')
    return rate or float(stream['frames']) / window


def _step(run: Experiment, stream: str, params: Any, model_state: Any, carry: Any, fresh: jax.Array, batch: Any
          ) -> tuple[Any, Any]:
    """The carry for the next frames, and the scores of these: (rows, ...). Rows without a frame keep their carry.

    Args:
      run: the experiment.
      stream: the model's.
      params: its parameters, low-rank factors merged.
      model_state: its other variables.
      carry: of the frames before.
      fresh: bool (rows,), where a connection begins.
      batch: a raw clip batch of one frame a row.
    """
    kept: list[Any] = []

    def chosen(where: jax.Array, yes: jax.Array, no: jax.Array) -> jax.Array:
        return jnp.where(where.reshape(-1, *(1,) * (yes.ndim - 1)), yes, no)

    def apply(variables: Any, batch: Any, **_: Any) -> Outputs:
        batch = run.model.preprocess(batch)
        there = jnp.asarray(batch[f'valid/{stream}'], bool).any(1) & (batch['mask'] > 0)
        frame = chosen(there, batch[stream][:, 0], jnp.zeros_like(batch[stream][:, 0]))
        begun = jax.tree.map(lambda leaf: chosen(fresh, jnp.zeros_like(leaf), leaf), carry)
        following, logits = run.model.stream_step(variables, begun, frame)
        kept.append(jax.tree.map(lambda new, old: chosen(there, new, old), following, begun))
        return Outputs(jax.tree.map(lambda each: chosen(there, each, jnp.zeros_like(each)), logits),
                       jnp.zeros((len(frame), 0)), {}, {stream: there})

    scores = run.task.compute(Context(apply, params, model_state, batch, run.config.seed))
    return kept[-1], scores


def _placed(batch: _ROWS, places: Sequence[int]) -> dict[str, np.ndarray]:
    """The rows of a batch at other places; the others are padding."""
    size = len(batch['mask'])
    order = np.full(size, -1)
    order[list(places)] = np.arange(len(places))
    order[order < 0] = np.arange(len(places), size)
    return {key: values[order] for key, values in batch.items()}
