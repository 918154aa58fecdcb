"""Contrastive pretraining: what belongs to one clip is alike, what belongs to others is not (InfoNCE)."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation.predictions import Predictions
from vmmjax.models.projector import Projector
from vmmjax.tasks.matching import Matching, info_nce
from vmmjax.training.objective import Context, Loss

if TYPE_CHECKING:
    from vmmjax.store.store import Store

OTHER_WINDOWS = ('excluded', 'negatives')
_TEXT = 'text:'


@jax.custom_vjp
def bounded(x: jax.Array, low: float, high: float) -> jax.Array:
    """The number, from low to high; beyond them only a gradient by which descent leads back comes through.

    The gradient of a clip would be zero there, and x would stay beyond for ever.
    """
    return jnp.clip(x, low, high)


def _bounded_backward(kept: tuple[jax.Array, float, float], slope: jax.Array) -> tuple[jax.Array, None, None]:
    x, low, high = kept
    leaves = ((x >= high) & (slope < 0)) | ((x <= low) & (slope > 0))
    return jnp.where(leaves, 0, slope), None, None


bounded.defvjp(lambda x, low, high: (bounded(x, low, high), (x, low, high)), _bounded_backward)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrastive(Matching):
    """InfoNCE between every pair of streams, or of views of one, over the global batch.

    `mean_i -log softmax_j(u_i v_j / temperature)_i`, the mean of both directions, summed over the pairs (van den Oord
    et al. 2018, equation 4; Radford et al. 2021, figure 3). u and v are the mean of a stream's tokens through a
    projector of its own, of length 1. Only rows with both sides of a pair count. The formula is that of the whole
    batch, on however many devices and processes it lies.

    `rgb@1` stands for view 1 of the stream rgb (`data.streams.rgb.views`), so that `('rgb', 'rgb@1')` compares two
    views of the same pictures. Measured are `Matching`'s figures between the streams; of a single stream between the
    first and the last test view of a clip.

    With `windows` each view is a window of the clip, and a row of its own: what belongs together comes from the same
    window. The embedding of a row depends on no other row, so that a batch may be computed in microbatches
    (`config.microbatches`) with its exact gradient, where the model keeps no batch statistics.

    Attributes:
      streams: at least two of them, a view k >= 1 of one as `name@k`.
      temperature: the first one, if it is learned; the loss of evaluation is that at this one.
      hidden: units of the projectors' hidden layers.
      learned: whether the temperature is learned, as the logarithm of its inverse (Radford et al. 2021, section 2.4).
      smallest: the least a learned temperature becomes; the greatest is 1.
      windows: of a clip, each with the streams of one view.
      other_windows: `excluded`, or `negatives`: what other windows of the same clip are to each other, and the same
        clip a second time in a batch.
    """

    hidden: Sequence[int] = ()
    learned: bool = True
    smallest: float = 0.01
    windows: int = 1
    other_windows: str = 'excluded'

    name: ClassVar[str] = 'contrastive'

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if len(self.streams) < 2 or len(set(self.streams)) < len(self.streams):
            raise UserError(f"config.task.streams is {tuple(self.streams)}, which has no pair to compare; name two or "
                            f"more streams, or a stream and a further view of it: ('rgb', 'rgb@1').")
        if self.other_windows not in OTHER_WINDOWS:
            raise UserError(f'config.task.other_windows is {self.other_windows!r}: '
                            f'{did_you_mean(self.other_windows, OTHER_WINDOWS)}.')
        if not 0 < self.smallest <= self.temperature <= 1:
            raise UserError(f'config.task.temperature is {self.temperature} and smallest is {self.smallest}; give '
                            f'0 < smallest <= temperature <= 1.')
        if self.windows < 1 or (self.windows > 1 and len(self._sources) > len(self.encoded)):
            raise UserError(f"config.task.windows is {self.windows} for {tuple(self.streams)}; it counts views of each "
                            f"stream, at least 1, and takes the place of names such as 'rgb@1'.")

    @property
    def _sources(self) -> dict[str, tuple[str, int]]:
        """Of each of `streams` the stream and its view."""
        parted = {source: source.partition('@') for source in self.streams}
        for source, (_, at, view) in parted.items():
            if at and not (view.isdecimal() and int(view)):
                raise UserError(f"config.task.streams has {source!r}; view 1 of the stream rgb is written 'rgb@1'.")
        return {source: (stream, int(view or 0)) for source, (stream, _, view) in parted.items()}

    @property
    def encoded(self) -> list[str]:
        """The streams, each once."""
        return list(dict.fromkeys(stream for stream, _ in self._sources.values()))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of streams; of a single one its first and its last test view."""
        return list(itertools.combinations(self.encoded, 2)) or [(self.encoded[0], f'{self.encoded[0]}@1')]

    @property
    def each_view(self) -> bool:  # type: ignore[override]
        """Whether test views are what is compared."""
        return len(self.encoded) == 1

    def describe(self, store: 'Store', data: Any) -> dict[str, Any]:
        """No classes.

        Raises:
          UserError: for two streams that no training clip has both of.
        """
        rows = np.asarray(store.rows('train')) if 'train' in store.splits else np.arange(len(store))
        there = {stream: _present(store, str(data.streams[stream].modality))[rows] for stream in self.encoded}
        for one, other in itertools.combinations(self.encoded, 2):
            if not (there[one] & there[other]).any():
                raise UserError(f'No training clip of the store {store.name} has both {one} and {other}, which '
                                f'config.task.streams compares; take streams that belong to the same clips.')
        return {'classes': []}

    def check(self, config: Any) -> None:
        """Streams, views and windows are there, and more than one row to compare."""
        super().check(config)
        known = config.data.streams
        for stream, view in self._sources.values():
            if stream not in known:
                raise UserError(f'config.task.streams names {stream!r}, which is no stream: '
                                f'{did_you_mean(stream, list(known))}.')
            is_text = known[stream].get('modality', '').startswith(_TEXT)
            needed = max(view + 1, 1 if is_text else self.windows)
            if known[stream].get('views', 1) < needed:
                raise UserError(f'config.task compares {needed} views of {stream!r}; set data.streams.{stream}.views = '
                                f'{needed}.')
            if self.windows > 1 and not is_text and 'window' in known[stream].get('share', ('window',)):
                raise UserError(f"config.task.windows is {self.windows}, and the views of {stream!r} share one window; "
                                f"leave 'window' out of data.streams.{stream}.share.")
        if self.each_view and config.data.views.clips * config.data.views.crops < 2:
            raise UserError(f'Views of {self.encoded[0]!r} are compared in evaluation, too, and there is one test view '
                            f'a clip; set data.views.clips = 2.')
        rows = config.batch_size * (self.windows if self.other_windows == 'negatives' else 1)
        if rows < 2:
            raise UserError(f'config.batch_size is {config.batch_size}, and one row has nothing to be told from; '
                            f'contrast needs batches of at least 2 clips.')

    def init(self, key: jax.Array, outputs: Any, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        """A projector for each stream, and the logarithm of the inverse temperature where it is learned."""
        own: dict[str, Any] = {}
        for place, stream in enumerate(self.encoded):
            variables = self._projector.init(jax.random.fold_in(key, place), outputs.stream_features[stream])
            own[f'projector_{stream}'] = variables['params']
        if self.learned:
            own['log_scale'] = jnp.full((), -math.log(self.temperature))
        return {'params': {'task_training': own}}

    @property
    def _projector(self) -> Projector:
        return Projector(tuple(self.hidden), self.dimensions)

    def loss(self, ctx: Context) -> Loss:
        """See `training.Objective`; the term is `loss`, the metric `recall1`, how often the right one is nearest.

        Of several pairs they are `loss_<one>_<other>` and so on.
        """
        embeddings, model_state = self.embed(ctx)
        return self.compare(ctx, embeddings)._replace(model_state=model_state)

    def embed(self, ctx: Context) -> tuple[dict[str, jax.Array], Any]:
        """The embeddings (B, windows, D) of each of `streams`, with `present/<name>` float32 (B, windows).

        Views of the same streams are encoded as one batch, and normalised together where the model has BatchNorm.
        """
        wanted = [(source, stream, view + window) for source, (stream, view) in self._sources.items()
                  for window in range(self.windows)]
        views: dict[int, set[str]] = {}
        for _, stream, view in wanted:
            views.setdefault(view, set()).add(stream)
        found: dict[tuple[str, int], tuple[jax.Array, jax.Array]] = {}
        for place, streams in enumerate(sorted({tuple(sorted(each)) for each in views.values()})):
            alike = [view for view in views if tuple(sorted(views[view])) == streams]
            outputs, ctx = _encoded(ctx, alike, streams, place)
            for stream in streams:
                there = outputs.present[stream].astype(jnp.float32).reshape(-1, len(alike))
                embedded = self._project(ctx.params, outputs, stream).reshape(-1, len(alike), self.dimensions)
                found |= {(stream, view): (embedded[:, i], there[:, i]) for i, view in enumerate(alike)}
        parts: dict[str, list[jax.Array]] = {}
        for source, stream, view in wanted:
            for name, values in zip((source, f'present/{source}'), found[stream, view], strict=True):
                parts.setdefault(name, []).append(values)
        return {name: jnp.stack(each, 1) for name, each in parts.items()}, ctx.model_state

    def compare(self, ctx: Context, embeddings: Mapping[str, jax.Array]) -> Loss:
        """The loss of all rows, from what `embed` gives of all."""
        rows = {name: values.reshape(-1, *values.shape[2:]) for name, values in embeddings.items()}
        clips = jnp.repeat(ctx.batch['id'], self.windows)
        other = clips[:, None] != clips
        if self.other_windows == 'negatives':
            other |= ~jnp.eye(len(clips), dtype=bool)
        counted = jnp.repeat(ctx.batch['mask'] > 0, self.windows)
        scale = self._scale(ctx.params)
        pairs = list(itertools.combinations(self.streams, 2))
        terms, metrics = {}, {'temperature': (1 / scale, jnp.ones(()))}
        for one, other_one in pairs:
            valid = counted & (rows[f'present/{one}'] > 0) & (rows[f'present/{other_one}'] > 0)
            suffix = f'_{one}_{other_one}' if len(pairs) > 1 else ''
            terms[f'loss{suffix}'], metrics[f'recall1{suffix}'] = info_nce(
                scale * rows[one] @ rows[other_one].T, valid, other)
        return Loss(terms=terms, model_state=ctx.model_state, metrics=metrics)

    def _scale(self, params: Any) -> jax.Array:
        """The inverse temperature."""
        if not self.learned:
            return jnp.asarray(1 / self.temperature)
        return jnp.exp(bounded(params['task_training']['log_scale'], 0.0, -math.log(self.smallest)))

    def _project(self, params: Any, outputs: Any, stream: str) -> jax.Array:
        variables = {'params': params['task_training'][f'projector_{stream}']}
        return jnp.asarray(self._projector.apply(variables, outputs.stream_features[stream]))

    def compute(self, ctx: Context) -> Any:
        """The embedding of each stream."""
        outputs, _ = ctx.forward()
        return {stream: self._project(ctx.params, outputs, stream).astype(jnp.float32) for stream in self.encoded}

    def subsets(self, streams: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """A stream's embedding does not depend on the others: there is nothing to withhold."""
        return {'+'.join(self.encoded): tuple(streams)}

    def examples(self, rows: Predictions) -> int:
        """See `Matching`."""
        return super().examples(self._by_clip(rows))

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Matching`."""
        return super().summary(self._by_clip(rows))

    def chance(self, rows: Predictions) -> dict[str, float]:
        """See `Matching`."""
        return super().chance(self._by_clip(rows))

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Matching`; of test views the clip's figure stands at its first."""
        found = super().per_clip(self._by_clip(rows))
        if not self.each_view:
            return found
        _, firsts = np.unique(rows.id, return_index=True)

        def placed(values: np.ndarray) -> np.ndarray:
            whole = np.full(len(rows.id), np.nan)
            whole[firsts] = values
            return whole

        return {name: (placed(values), None) for name, (values, _) in found.items()}

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """See `Matching`; of a single stream its first and its last test view are what is compared."""
        clips = self._by_clip(rows)
        return super().reading(clips, place if clips is rows else int(np.searchsorted(clips.id, rows.id[place])), most)

    def _by_clip(self, rows: Predictions) -> Predictions:
        """One row a clip; of test views the first and the last as two streams."""
        if not self.each_view:
            return rows
        ids, firsts = np.unique(rows.id, return_index=True)
        lasts = np.append(firsts[1:], len(rows.id)) - 1
        places = dict(zip(self.pairs[0], (firsts, lasts), strict=True))
        stream = self.encoded[0]
        return Predictions(ids, {}, {name: rows.scores[stream][place] for name, place in places.items()},
                           {name: rows.present[stream][place] for name, place in places.items()})


def _encoded(ctx: Context, views: Sequence[int], streams: Sequence[str], place: int) -> tuple[Any, Context]:
    """Outputs of views with those streams alone, V rows a clip, and the context with the model state after them."""
    batches = [ctx.view(view).batch for view in views]
    left_out = {key.removeprefix('present/') for key in batches[0] if key.startswith('present/')} - {*streams}
    batch = {key: jnp.stack([each[key] for each in batches], 1).reshape(-1, *values.shape[1:])
             for key, values in batches[0].items() if key not in left_out}
    # Each row draws its own dropout.
    batch['row'] = (ctx.batch['row'][:, None] * len(views) + jnp.arange(len(views))).reshape(-1)
    rng = jax.random.fold_in(ctx.rng, place) if ctx.rng is not None and place else ctx.rng
    rows = None if ctx.rows is None else ctx.rows * len(views)
    outputs, model_state = dataclasses.replace(ctx, batch=batch, rng=rng, rows=rows).forward()
    return outputs, dataclasses.replace(ctx, model_state=model_state)


def _present(store: 'Store', modality: str) -> np.ndarray:
    """Which clips of a store have a modality, bool (rows,)."""
    if modality.startswith(_TEXT):
        return store.values(modality.removeprefix(_TEXT)) != ''
    return store.column(modality).lengths > 0
