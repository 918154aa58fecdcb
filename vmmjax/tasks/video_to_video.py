"""Video to video: the frames between frames, or a clip without its noise."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation.predictions import Predictions
from vmmjax.models.residual_video import Correction
from vmmjax.pipeline.targets import NoTargets, Targets
from vmmjax.tasks import video_baselines
from vmmjax.tasks.base import Task, check_stream
from vmmjax.training.objective import Batch, Context, Loss

if TYPE_CHECKING:
    from vmmjax.store.store import Store

KINDS = ('interpolation', 'denoising')
_STRONGEST = {'interpolation': 'mean', 'denoising': 'filter'}
_NAMES = {'interpolation': 'mean of the neighbours', 'denoising': 'best 3 x 3 x 3 filter'}


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoToVideo(Task):
    """Mean squared error of pictures that are made of pictures, as fractions of 255.

    `interpolation` hides every second frame, and makes it from the frames around it. `denoising` adds normal noise to
    every value, rounds and clips it to 8 bits as a recorded clip has them, and takes it away again. The encoder's
    endpoint `maps` (see `models.residual_video`) says what is to be added to the mean of the neighbours, at first
    nothing, or to the noisy picture, at first what makes it the mean of 3 x 3 x 3 values.

    Measured is the peak signal-to-noise ratio of pictures rounded to 8 bits, -10 log10(error), the mean over clips,
    beside what needs no learning: the mean of the neighbours and repetition of the frame before; the noisy clip, the
    median of 3 x 3 x 3 values, and the linear 3 x 3 x 3 filter that is best for the very clips that are measured.
    `gain` is the difference to the strongest.

    Attributes:
      kind: `interpolation` or `denoising`.
      stream: whose pictures.
      sigma: deviation of the noise, on the scale 0..255.
    """

    kind: str = 'interpolation'
    stream: str = 'rgb'
    sigma: float = 25.0

    name: ClassVar[str] = 'video_to_video'
    plain: ClassVar[tuple[str, ...]] = ('psnr', 'gain')
    learns_unlabelled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if self.kind not in KINDS:
            raise UserError(f'config.task.kind is {self.kind!r}: {did_you_mean(str(self.kind), KINDS)}.')
        if not 0 < self.sigma <= 255:
            raise UserError(f'config.task.sigma is {self.sigma}; a deviation above 0 and at most 255 is meant.')

    @property
    def chance_of(self) -> str:  # type: ignore[override]
        """The strongest baseline."""
        return _NAMES[self.kind]

    def check(self, config: Any) -> None:
        """The stream has an encoder, and interpolation three frames."""
        super().check(config)
        check_stream(config, self.stream)
        frames = config.data.streams[self.stream].get('frames', 3)
        if self.kind == 'interpolation' and frames < 3:
            raise UserError(f'data.streams.{self.stream}.frames is {frames}, and a frame between two others needs at '
                            f'least 3.')

    def targets(self, store: 'Store', data: Any) -> Targets:
        """None: a clip is its own."""
        return NoTargets()

    def describe(self, store: 'Store', data: Any) -> dict[str, Any]:
        """No classes."""
        return {'classes': []}

    # What is learned.

    def init(self, key: jax.Array, outputs: Any, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        """What makes pictures of the encoder's maps."""
        correction = self._correction(batch)
        return {'params': {'task': correction.init(key, self._maps(outputs), _fractions(batch[self.stream]))['params']}}

    def loss(self, ctx: Context) -> Loss:
        """See `training.Objective`; the term is `loss`."""
        pictures, shown, counted = self._asked(ctx)
        made, model_state = self._made(ctx, shown)
        error = jnp.square(made - self._truth(pictures)).mean((2, 3, 4))
        return Loss(terms={'loss': (jnp.where(counted, error, 0).sum(), counted.sum())}, model_state=model_state,
                    metrics={})

    def made(self, ctx: Context) -> jax.Array:
        """Makes pictures of a clip as it is: the cleaned ones, or the frames between.

        Args:
          ctx: its batch holds the stream, uint8 (B, T, H, W, C) of any length and size.

        Returns:
          uint8 (B, T, H, W, C), of interpolation (B, T - 1, H, W, C).
        """
        return video_baselines.rounded(self._made(ctx, ctx.batch)[0])

    def _asked(self, ctx: Context) -> tuple[jax.Array, Batch, jax.Array]:
        """The clip, the batch that is shown of it, and which of the pictures that are asked for count, bool (B, T')."""
        batch, name = ctx.batch, self.stream
        self._check_pictures(batch)
        x = batch[name]
        valid = batch.get(f'valid/{name}', jnp.ones(x.shape[:2], bool)) & (batch['mask'] > 0)[:, None]
        if f'present/{name}' in batch:
            valid &= batch[f'present/{name}'][:, None]
        if self.kind == 'interpolation':
            last = x.shape[1] - 1 + x.shape[1] % 2  # The frame behind the last one that has two neighbours.
            shown = {**batch, name: x[:, :last:2], f'valid/{name}': valid[:, :last:2]}
            return x[:, :last], shown, valid[:, 1:last:2] & valid[:, :last - 1:2] & valid[:, 2:last:2]
        keys = ctx.keys('noise')
        noise = jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)
        noisy = jnp.clip(jnp.round(x + self.sigma * noise), 0, 255).astype(jnp.uint8)
        return x, {**batch, name: noisy, f'valid/{name}': valid}, valid

    def _check_pictures(self, batch: Batch) -> None:
        if self.stream not in batch:
            raise UserError(f'config.task.stream is {self.stream!r}, and the batch has no such stream to be made '
                            f'pictures of; it has {", ".join(sorted(batch))}.')
        if (x := batch[self.stream]).ndim != 5 or x.dtype != jnp.uint8:
            raise UserError(f'config.task.stream is {self.stream!r}, of {x.dtype} {x.shape[1:]}; a stream of pictures '
                            f'is meant, uint8 (T, H, W, C).')

    def _truth(self, pictures: jax.Array) -> jax.Array:
        """What is to be made, as fractions of 255."""
        return _fractions(pictures[:, 1::2] if self.kind == 'interpolation' else pictures)

    def _made(self, ctx: Context, shown: Batch) -> tuple[jax.Array, Any]:
        """Pictures as fractions of 255, float (B, T', H, W, C), and the model state after the batch."""
        outputs, model_state = dataclasses.replace(ctx, batch=shown).forward()
        maps, x = self._maps(outputs), _fractions(shown[self.stream])
        # Signed, so that what is outside of the picture, zeros, is grey.
        added: Any = self._correction(shown).apply({'params': ctx.params['task']}, maps, x - 0.5)
        base = (x[:, :-1] + x[:, 1:]) / 2 if self.kind == 'interpolation' else x
        return base + added, model_state

    def _maps(self, outputs: Any) -> jax.Array:
        maps = outputs.endpoints.get(f'{self.stream}/maps')
        if maps is None:
            raise UserError(f"The encoder of {self.stream!r} keeps no maps to make pictures of; take 'residual_video', "
                            f"or your own with an endpoint `maps` (B, T, H / 2, W / 2, F).")
        return jnp.asarray(maps)

    def _correction(self, batch: Batch) -> Correction:
        self._check_pictures(batch)
        return Correction(batch[self.stream].shape[-1], self.kind == 'interpolation')

    # What is measured.

    def compute(self, ctx: Context) -> Any:
        """Of each clip and of each way, float32 (B, 2): the sum of the frames' mean squared errors, and their number.

        Of the best linear filter the moments, see `video_baselines.filter_moments`.
        """
        pictures, shown, counted = self._asked(ctx)
        truth, x = self._truth(pictures), _fractions(shown[self.stream])
        ways = {'made': _fractions(video_baselines.rounded(self._made(ctx, shown)[0]))}
        found: dict[str, jax.Array] = {}
        if self.kind == 'interpolation':
            ways |= {'mean': _fractions(video_baselines.rounded((x[:, :-1] + x[:, 1:]) / 2)), 'repeated': x[:, :-1]}
        else:
            # A clip at a time, since a value has 27 neighbours.
            median, found['filter'] = jax.lax.map(_filtered, (x, truth, counted))
            ways |= {'noisy': x, 'median': median}
        number = counted.sum(1).astype(jnp.float32)
        for name, way in ways.items():
            error = jnp.square(way - truth).mean((2, 3, 4))
            found[name] = jnp.stack([jnp.where(counted, error, 0).sum(1), number], 1)
        return found

    def panels(self, ctx: Context) -> dict[str, dict[str, jax.Array]]:
        """See `Task`; beside what is made stands the strongest baseline that is fitted to no clip."""
        pictures, shown, _ = self._asked(ctx)
        x, made = shown[self.stream], video_baselines.rounded(self._made(ctx, shown)[0])
        if self.kind == 'denoising':
            median = jax.lax.map(_median, _fractions(x))
            found = {'noisy': x, 'made': made, 'median of 3 x 3 x 3': video_baselines.rounded(median)}
        else:
            mean = video_baselines.rounded((_fractions(x[:, :-1]) + _fractions(x[:, 1:])) / 2)
            found = {'shown': jnp.repeat(x, 2, 1)[:, :-1],
                     **{name: pictures.at[:, 1::2].set(between) for name, between in
                        (('made', made), ('mean of the neighbours', mean))}}
        return {self.stream: {**found, 'truth': pictures}}

    def subsets(self, streams: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """All streams: without the pictures there is nothing to be made."""
        return {'+'.join(streams): tuple(streams)}

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`; the loss is the mean over clips of the error of the rounded pictures."""
        errors = self._errors(rows)
        if not np.isfinite(errors['made']).any():
            raise UserError(f'There is nothing to make of {self.stream!r}: no clip of the split has enough frames.')
        ratios = {name: float(np.nanmean(psnr(values))) for name, values in errors.items()}
        return {'psnr': ratios['made'], 'gain': ratios['made'] - ratios[_STRONGEST[self.kind]],
                **{f'psnr_{name}': value for name, value in ratios.items() if name != 'made'},
                'loss': float(np.nanmean(errors['made']))}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`: the signal-to-noise ratio, and how much better it is than the strongest baseline's."""
        errors = self._errors(rows)
        made, strongest = psnr(errors['made']), psnr(errors[_STRONGEST[self.kind]])
        return {'psnr': (made, None), 'gain': (made - strongest, None), 'loss': (errors['made'], None)}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What the strongest baseline gets."""
        return {'psnr': float(np.nanmean(psnr(self._errors(rows)[_STRONGEST[self.kind]]))), 'gain': 0.0}

    def _errors(self, rows: Predictions) -> dict[str, np.ndarray]:
        """The mean squared error of each clip by each way, float64 (N,), NaN where nothing counts."""
        found = {}
        for name, values in rows.scores.items():
            if name == 'filter':
                found[name] = video_baselines.filter_errors(values.astype(np.float64))
            else:
                error, count = values.astype(np.float64).T
                found[name] = np.where(count > 0, error / np.maximum(count, 1), np.nan)
        return found


def _median(clip: jax.Array) -> jax.Array:
    """Of one clip's pictures the median of neighbours."""
    return jnp.median(video_baselines.neighbourhood(clip[None], jnp.ones((1, len(clip)), bool)), -1)[0]


def _filtered(clip: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Of one clip's pictures, truth and frames that count: the median of neighbours, and the filter's moments."""
    x, truth, counted = (each[None] for each in clip)
    around = video_baselines.neighbourhood(x, counted)
    return jnp.median(around, -1)[0], video_baselines.filter_moments(around, truth, counted)[0]


def psnr(error: np.ndarray) -> np.ndarray:
    """The peak signal-to-noise ratio in decibels of mean squared errors of fractions of 255; at most 100."""
    return -10 * np.log10(np.maximum(error, 1e-10))


def _fractions(pictures: jax.Array) -> jax.Array:
    return pictures.astype(jnp.float32) / 255 if pictures.dtype == jnp.uint8 else pictures
