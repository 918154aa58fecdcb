"""Adversarial training: one network draws short clips of a class, the other tells them from real ones."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation.fvd.frechet import frechet_distance
from vmmjax.evaluation.predictions import Predictions
from vmmjax.models.spectral import normalised
from vmmjax.models.video_gan import Judge, VideoGenerator
from vmmjax.pipeline.targets import Classes, NoTargets, Targets
from vmmjax.tasks.base import Task, check_stream
from vmmjax.training.objective import Context, Loss

if TYPE_CHECKING:
    from vmmjax.store.store import Store

GAMES = ('non_saturating', 'hinge')
GENERATOR, DISCRIMINATOR = PLAYERS = ('generator', 'discriminator')
_POOLED = 4  # Parts of time, height and width over which the values that evaluation compares are means.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial(Task):
    """A generator (`params/task`) against a discriminator: the stream's encoder and a head in `params/task_training`.

    `non_saturating` (Goodfellow et al. 2014): the discriminator minimises softplus(-D(x)) + softplus(D(G(z))), the
    generator softplus(-D(G(z))); `hinge` (Lim and Ye 2017): max(0, 1 - D(x)) + max(0, 1 + D(G(z))), and -D(G(z)). The
    discriminator also pays `penalty / 2 |grad D(x)|^2` for real clips (R1, Mescheder et al. 2018, equation 9). Both are
    players of `config.players` and move in one step, from one forward pass. Values of clips are from -1 to 1. With
    `spectral` the discriminator's kernels are judged with at a largest singular value of 1 (Miyato et al. 2018).

    Measured are, with one drawn clip of the class of each clip: `frechet`, the Fréchet distance between every second
    real clip and the drawn ones of the others' classes (chance: these others themselves, just as many), by the means of
    their values over 4 x 4 x 4 parts, which needs no network and is not FVD (`vmmjax fvd` is); `motion`, how much drawn
    frames differ from the frame before, in parts of what real ones do; `told_apart`, how often the discriminator is
    right.

    Attributes:
      stream: of pictures, which the model's encoder of that name judges.
      latent: numbers that a clip is drawn from.
      game: `non_saturating` or `hinge`.
      penalty: of R1; 0 for none.
      spectral: whether the discriminator is spectrally normalised, beside R1 or in its place.
      conditional: whether clips are drawn of a class of `data.target`.
      generator: options of `models.video_gan.VideoGenerator`: widths, hidden.
    """

    stream: str = 'rgb'
    latent: int = 64
    game: str = 'non_saturating'
    penalty: float = 1.0
    spectral: bool = False
    conditional: bool = True
    generator: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    name: ClassVar[str] = 'adversarial'
    plain: ClassVar[tuple[str, ...]] = ('frechet', 'motion')
    chance_of: ClassVar[str] = 'half of the real clips'
    learns_unlabelled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if self.game not in GAMES:
            raise UserError(f'config.task.game is {self.game!r}: {did_you_mean(str(self.game), GAMES)}.')
        if self.latent < 1 or self.penalty < 0:
            raise UserError(f'config.task has latent = {self.latent} and penalty = {self.penalty}; give at least 1 '
                            f'number, and a penalty of 0 or more.')
        for key in self.generator:
            if key not in ('widths', 'hidden'):
                raise UserError(f'config.task.generator takes no key {key!r}: '
                                f'{did_you_mean(key, ("widths", "hidden"))}.')
        widths, hidden = self.generator.get('widths', (1,)), self.generator.get('hidden', 1)
        if not widths or min((*widths, hidden)) < 1:
            raise UserError(f'config.task.generator has widths = {tuple(widths)} and hidden = {hidden}; give at least '
                            f'one width, and none below 1.')
        if self.conditional and not isinstance(self.target, str):
            raise UserError(f'data.target is {list(self.target)}, and clips are drawn of one class; name one column, '
                            f'or set config.task.conditional = False.')

    def check(self, config: Any) -> None:
        """The stream is judged as it is drawn, by a player for each network."""
        super().check(config)
        check_stream(config, self.stream, ' to judge it')
        if (way := config.model.preprocess[self.stream]) != 'none':
            raise UserError(f'config.model.preprocess.{self.stream} is {way!r}, and drawn clips are no bytes; set it '
                            f"to 'none': clips are judged with values from -1 to 1.")
        if set(config.players) != set(PLAYERS):
            raise UserError(f"config.players is {dict(config.players)}; name both: config.players = dict(generator="
                            f"dict(params=('^task/',), ema_decay=0.99), discriminator=dict(params=('^(?!task/)',))).")

    def targets(self, store: 'Store', data: Any) -> Targets:
        """The classes that clips are drawn of."""
        if not self.conditional:
            return NoTargets()
        return Classes(store, self.target, data.augment.flip_pairs, self.facts.get('names'))

    def describe(self, store: 'Store', data: Any) -> dict[str, Any]:
        """`classes`, none, as the model answers to none; `names`, those that clips are drawn of."""
        return {'classes': [], 'names': self.targets(store, data).classes}

    @property
    def names(self) -> list[str]:
        """The classes that clips are drawn of."""
        return list(self.facts.get('names', ()))

    # What is learned.

    def init(self, key: jax.Array, outputs: Any, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        """The generator, and the head that judges features."""
        keys, one = jax.random.split(key), jnp.zeros(1, jnp.int32)
        drawn = self._generator(batch[self.stream].shape[1:]).init(keys[0], jnp.zeros((1, self.latent)), one)
        judge = self._judge.init(keys[1], outputs.stream_features[self.stream], one)
        return {'params': {'task': drawn['params'], 'task_training': judge['params']}}

    def loss(self, ctx: Context) -> dict[str, Loss]:
        """See `training.Objective`; the metrics are how often each kind is told by the sign of D."""
        if jax.tree.leaves(ctx.model_state):
            raise UserError("The discriminator keeps batch statistics (BatchNorm), by which real and drawn clips would "
                            "see each other; take an encoder without, such as 'strided_video'.")
        real, classes, counted = self._real(ctx)
        of_real, pullback = jax.vjp(lambda clips: self._judged(ctx, clips, classes), real)
        of_fake = self._judged(ctx, self._drawn(ctx, classes), classes)
        weight = counted.sum()

        def term(values: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jnp.where(counted > 0, values, 0).sum(), weight

        if self.game == 'hinge':
            costs, wanted = (jax.nn.relu(1 - of_real), jax.nn.relu(1 + of_fake)), -of_fake
        else:
            costs, wanted = (jax.nn.softplus(-of_real), jax.nn.softplus(of_fake)), jax.nn.softplus(-of_fake)
        terms = {'real': term(costs[0]), 'fake': term(costs[1])}
        if self.penalty:
            slopes, = pullback(jnp.ones_like(of_real))
            terms['penalty'] = term(self.penalty / 2 * jnp.square(slopes).sum((1, 2, 3, 4)))
        told = {'told_real': term((of_real > 0).astype(jnp.float32)),
                'told_fake': term((of_fake < 0).astype(jnp.float32))}
        return {GENERATOR: Loss({'drawn': term(wanted)}, ctx.model_state, {}),
                DISCRIMINATOR: Loss(terms, ctx.model_state, told)}

    def drawn(self, params: Any, numbers: jax.Array, classes: jax.Array, shape: Sequence[int]) -> jax.Array:
        """Draws clips.

        Args:
          params: of the model and the task.
          numbers: float (B, latent), normal.
          classes: int32 (B,), -1 for no class.
          shape: frames, height, width and channels.

        Returns:
          float32 (B, *shape) within -1 and 1.
        """
        clips: Any = self._generator(shape).apply({'params': params['task']}, numbers, classes)
        return jnp.asarray(clips)

    def numbers(self, keys: jax.Array) -> jax.Array:
        """What clips are drawn from, a row a key: float32 (B, latent)."""
        return jax.vmap(lambda key: jax.random.normal(key, (self.latent,)))(keys)

    def _generator(self, shape: Sequence[int]) -> VideoGenerator:
        frames, height, width, channels = shape
        return VideoGenerator((frames, height, width, channels), classes=len(self.names), **self.generator)

    @property
    def _judge(self) -> Judge:
        return Judge(len(self.names))

    def _drawn(self, ctx: Context, classes: jax.Array) -> jax.Array:
        return self.drawn(ctx.params, self.numbers(ctx.keys('numbers')), classes, ctx.batch[self.stream].shape[1:])

    def _real(self, ctx: Context) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The clips from -1 to 1, their classes, and which are whole, float32 (B,)."""
        batch, name = ctx.batch, self.stream
        if name not in batch or batch[name].ndim != 5 or batch[name].dtype != jnp.uint8:
            raise UserError(f'config.task.stream is {name!r}, which is no stream of pictures in the batch; it has '
                            f'{", ".join(sorted(batch))}.')
        x = batch[name].astype(float) / 127.5 - 1
        whole = batch.get(f'valid/{name}', jnp.ones(x.shape[:2], bool)).all(1)
        if f'present/{name}' in batch:
            whole &= batch[f'present/{name}']
        classes = batch[f'target/{self.target}'] if self.conditional else jnp.full(len(x), -1)
        return x, classes, batch['mask'] * whole

    def _judged(self, ctx: Context, clips: jax.Array, classes: jax.Array) -> jax.Array:
        """D of clips, (B,)."""
        batch = {self.stream: clips, **{key: ctx.batch[key] for key in ('id', 'row') if key in ctx.batch}}
        params = ctx.params
        if self.spectral:
            params = {name: part if name == 'task' else normalised(part) for name, part in params.items()}
        outputs, _ = dataclasses.replace(ctx, batch=batch).forward(params)
        score: Any = self._judge.apply({'params': params['task_training']},
                                       outputs.stream_features[self.stream], classes)
        return jnp.asarray(score)

    # What is measured.

    def compute(self, ctx: Context) -> Any:
        """Of each clip and of one that is drawn, float32 (B, 2, ...): `judged`, `motion`, `pooled`; and `counted`."""
        real, classes, counted = self._real(ctx)
        both = real, self._drawn(ctx, classes)
        pooled = [_means(x).reshape(len(x), -1) for x in both]
        return {'judged': jnp.stack([self._judged(ctx, x, classes) for x in both], 1), 'pooled': jnp.stack(pooled, 1),
                'motion': jnp.stack([jnp.abs(jnp.diff(x, axis=1)).mean((1, 2, 3, 4)) for x in both], 1),
                'counted': counted}

    def subsets(self, streams: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """All streams: what is judged cannot be withheld."""
        return {'+'.join(streams): tuple(streams)}

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`; the loss is the discriminator's, without the penalty."""
        real, fake, told, loss = self._figures(rows)
        motion = np.asarray(rows.scores['motion'], np.float64)[self._counted(rows)].mean(0)
        # As many as of `chance`: the distance is the larger, the fewer clips it is of.
        return {'frechet': frechet_distance(real[::2], fake[1::2]), 'motion': float(motion[1] / max(motion[0], 1e-9)),
                'told_apart': float(told.mean()), 'loss': float(loss.mean())}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What one half of the real clips gets against the other."""
        real = self._figures(rows)[0]
        return {'frechet': frechet_distance(real[::2], real[1::2]), 'motion': 1.0, 'told_apart': 0.5}

    def _counted(self, rows: Predictions) -> np.ndarray:
        found: np.ndarray = rows.scores['counted'] > 0
        if found.sum() < 4:
            raise UserError(f'{int(found.sum())} clips of the split fill their windows, and at least 4 are needed to '
                            f'be compared with drawn ones; take a shorter data.window.')
        return found

    def _figures(self, rows: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Pooled real and drawn clips, (N, D) each, how often both were told, and the loss, (N,) each."""
        counted = self._counted(rows)
        pooled, judged = (np.asarray(rows.scores[name], np.float64)[counted] for name in ('pooled', 'judged'))
        real, fake = judged.T
        loss = (np.maximum(0, 1 - real) + np.maximum(0, 1 + fake) if self.game == 'hinge'
                else np.logaddexp(0, -real) + np.logaddexp(0, fake))
        return pooled[:, 0], pooled[:, 1], ((real > 0) + 1.0 * (fake < 0)) / 2, loss


def _means(x: jax.Array) -> jax.Array:
    """The means over at most 4 x 4 x 4 parts of clips (B, T, H, W, C), as nearly of one size as may be."""
    for axis in (1, 2, 3):
        ends = np.linspace(0, x.shape[axis], min(_POOLED, x.shape[axis]) + 1).round().astype(int)
        x = jnp.stack([jax.lax.slice_in_dim(x, low, high, axis=axis).mean(axis)
                       for low, high in itertools.pairwise(ends.tolist())], axis)
    return x
