"""What tasks share that predict the values of a clip's patches: the error, and what is measured of it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation.predictions import Predictions
from vmmjax.models.convolution import Shape3
from vmmjax.models.masked_transformer import Grid, MaskedDecoder, grid_of
from vmmjax.models.patches import as_clip, of_patches
from vmmjax.pipeline.targets import NoTargets, Targets
from vmmjax.tasks.base import Task
from vmmjax.training.objective import Context, Loss

if TYPE_CHECKING:
    from vmmjax.store.store import Store

Sums = tuple[jax.Array, jax.Array, jax.Array]


class Made(NamedTuple):
    """What is made of the patches of a stream.

    Attributes:
      predicted: (B, M, V), of the patches that are predicted.
      wanted: (B, M, V), what they are to be.
      counted: bool (B, M), which of them count.
      values: (B, N, V), all patches as `patch_values` has them, the predicted ones in their place.
      seen: bool (B, N), the patches that the encoder saw.
    """

    predicted: jax.Array
    wanted: jax.Array
    counted: jax.Array
    values: jax.Array
    seen: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction(Task):
    """Mean squared error of the values of patches; the values of pictures are fractions of 255.

    Measured is, for each stream, the error, and what share of the variance is `explained`: 1 - error / that of
    predicting each clip's mean. A derived task says in `sizes` what is cut, and predicts in `made`.

    Attributes:
      decoder: options of `MaskedDecoder`: hidden_size, num_hidden_layers, num_attention_heads.
    """

    decoder: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    plain: ClassVar[tuple[str, ...]] = ('error',)
    chance_of: ClassVar[str] = "each clip's mean"
    learns_unlabelled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the options of the decoder."""
        known = [field.name for field in dataclasses.fields(MaskedDecoder)
                 if field.name not in ('values', 'parent', 'name')]
        for key in self.decoder:
            if key not in known:
                raise UserError(f'config.task.decoder takes no key {key!r}: {did_you_mean(key, known)}.')

    @property
    def sizes(self) -> dict[str, Shape3]:
        """The streams that are predicted, each with the size of its patches."""
        raise NotImplementedError

    def made(self, ctx: Context) -> tuple[dict[str, Made], Any]:
        """What is made of each stream, and the model state after the batch."""
        raise NotImplementedError

    def predicted(self, ctx: Context) -> tuple[dict[str, Sums], Any]:
        """Of each stream `judged`, and the model state after the batch."""
        found, model_state = self.made(ctx)
        return {name: judged(each.predicted, each.wanted, each.counted) for name, each in found.items()}, model_state

    def panels(self, ctx: Context) -> dict[str, dict[str, jax.Array]]:
        """See `Task`; what no encoder saw is grey."""
        found: dict[str, dict[str, jax.Array]] = {}
        made, _ = self.made(ctx)
        for name, grid in self.grids(ctx.batch).items():
            each, size = made[name], self.sizes[name]
            truth, channels = patch_values(ctx.batch[name], size)
            grey = 0.5 if ctx.batch[name].dtype == jnp.uint8 else truth.mean((1, 2), keepdims=True)
            shown = {'shown': jnp.where(each.seen[..., None], truth, grey), 'made': each.values, 'truth': truth}
            found[name] = {caption: joined_patches(values, grid, size, channels, ctx.batch[name].dtype)
                           for caption, values in shown.items()}
            if ctx.batch[name].ndim == 3:
                found[name] = {caption: x[:, 0, :, :, 0] for caption, x in found[name].items()}
        return found

    def check(self, config: Any) -> None:
        """Every stream is there."""
        super().check(config)
        for name in self.sizes:
            if name not in config.model.encoders:
                raise UserError(f'config.task.streams names {name!r}, which has no encoder to be decoded: '
                                f'{did_you_mean(name, list(config.model.encoders))}.')

    def targets(self, store: 'Store', data: Any) -> Targets:
        """None: a clip is its own."""
        return NoTargets()

    def describe(self, store: 'Store', data: Any) -> dict[str, Any]:
        """No classes."""
        return {'classes': []}

    def loss(self, ctx: Context) -> Loss:
        """See `training.Objective`; the term is `loss`, of several streams `loss_<stream>`."""
        found, model_state = self.predicted(ctx)
        terms = {'loss' if len(found) == 1 else f'loss_{name}': (error.sum(), count.sum())
                 for name, (error, _, count) in found.items()}
        return Loss(terms=terms, model_state=model_state, metrics={})

    def compute(self, ctx: Context) -> Any:
        """Of each stream and clip, float32 (B, 3): sums of the squared error and of the deviation, and their number."""
        found, _ = self.predicted(ctx)
        return {name: jnp.stack(sums, 1).astype(jnp.float32) for name, sums in found.items()}

    def grids(self, batch: Mapping[str, jax.Array]) -> dict[str, Grid]:
        """The patches of each stream along its axes.

        Raises:
          UserError: for a stream that is not in the batch, or smaller than a patch.
        """
        found = {}
        for name, size in self.sizes.items():
            if name not in batch:
                raise UserError(f'config.task.streams names {name!r}, and the batch has no such stream to be decoded; '
                                f'it has {", ".join(sorted(batch))}.')
            found[name] = grid_of(batch[name], size)
            if 0 in found[name]:
                raise UserError(f'The stream {name!r} of shape {batch[name].shape[1:]} holds no patch of {size}; give '
                                f'more frames, larger pictures or smaller patches.')
        return found

    def decoder_of(self, batch: Mapping[str, jax.Array], streams: Sequence[str]) -> MaskedDecoder:
        """A decoder of streams."""
        channels = {name: batch[name].shape[-1] if batch[name].ndim > 3 else 1 for name in streams}
        return MaskedDecoder(values={name: math.prod(self.sizes[name]) * channels[name] for name in streams},
                             **self.decoder)

    def subsets(self, streams: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """All streams: a withheld one has nothing to be predicted."""
        return {'+'.join(streams): tuple(streams)}

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`; the loss is the sum of the streams' errors, each the mean over clips."""
        found: dict[str, float] = {}
        for name in self.sizes:
            error, deviation, count = rows.scores[name].astype(np.float64).sum(0)
            if not count:
                raise UserError(f'There is nothing to predict of {name!r}: no clip of the split has it.')
            errors, _ = self.per_clip(rows)[f'error_{name}']
            found |= {f'explained_{name}': float(1 - error / deviation), f'error_{name}': float(np.nanmean(errors))}
        return found | {'loss': sum(found[f'error_{name}'] for name in self.sizes)}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`: the errors."""
        found: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        for name in self.sizes:
            error, _, count = rows.scores[name].astype(np.float64).T
            found[f'error_{name}'] = (np.where(count > 0, error / np.maximum(count, 1), np.nan), None)
        return found

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What predicting each clip's mean gets."""
        return {f'explained_{name}': 0.0 for name in self.sizes}


def patch_values(x: jax.Array, size: Shape3) -> tuple[jax.Array, int]:
    """The numbers of each patch, (B, N, t * h * w * C) by frame, row, column and channel, and the channels C.

    Args:
      x: uint8 (B, T, H, W, C), taken as fractions of 255, or float; or a spectrogram (B, F, M).
      size: of a patch.
    """
    x, _ = as_clip(x, size)
    x = x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x
    (nt, t), (nh, h), (nw, w) = ((length // step, step) for length, step in zip(x.shape[1:4], size, strict=True))
    channels = x.shape[-1]
    x = x[:, :nt * t, :nh * h, :nw * w].reshape(len(x), nt, t, nh, h, nw, w, channels)
    return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(len(x), nt * nh * nw, -1), channels


def joined_patches(values: jax.Array, grid: Grid, size: Shape3, channels: int, dtype: Any) -> jax.Array:
    """Patches as `patch_values` has them, put together: (B, N, V) -> (B, T, H, W, C), uint8 where `dtype` is that."""
    x = values.reshape(len(values), *grid, *size, channels).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    x = x.reshape(len(x), *(count * step for count, step in zip(grid, size, strict=True)), channels)
    return jnp.clip(jnp.round(255 * x), 0, 255).astype(jnp.uint8) if dtype == jnp.uint8 else x


def inside(batch: Mapping[str, jax.Array], name: str, present: jax.Array, size: Shape3, count: int
           ) -> tuple[jax.Array, jax.Array]:
    """Which patches of a stream lie partly inside the clip, and which wholly, both bool (B, count)."""
    x = batch[name]
    _, frames = as_clip(x, size)
    valid = batch.get(f'valid/{name}', jnp.ones(x.shape[:2], bool)) & (present & (batch['mask'] > 0))[:, None]
    return of_patches(valid, frames, count), ~of_patches(~valid, frames, count)


def judged(predicted: jax.Array, wanted: jax.Array, counted: jax.Array) -> Sums:
    """Sums (B,) over the patches that count: their mean squared error, that of the row's mean, and their number."""
    number = counted.sum(1)
    share = counted[..., None] / jnp.maximum(number, 1)[:, None, None] / wanted.shape[-1]
    mean = (jnp.where(counted[..., None], wanted, 0) * share).sum((1, 2), keepdims=True)
    error, deviation = (jnp.where(counted, jnp.square(wanted - x).mean(-1), 0).sum(1) for x in (predicted, mean))
    return error, deviation, number.astype(error.dtype)
