"""Masked pretraining: most patches of a clip are hidden, and their values are predicted from the others."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vmmjax import registry
from vmmjax.errors import UserError, did_you_mean
from vmmjax.models import zoo
from vmmjax.models.convolution import Shape3
from vmmjax.models.masked_transformer import chosen
from vmmjax.models.tokens import Tokens
from vmmjax.tasks.reconstruction import Made, Reconstruction, inside, patch_values
from vmmjax.training.objective import Context

MASKINGS = ('tube', 'random')
TARGETS = ('values', 'patch', 'channel')


@dataclasses.dataclass(frozen=True)
class StreamOptions:
    """How a stream is masked and predicted: an entry of `config.task.streams`.

    Attributes:
      ratio: the share of the patches that is hidden, in the paper .9 of a clip's and .8 of a spectrogram's.
      masking: `tube` hides the same places at all times (Tong et al. 2022, section 3.3), `random` any patches.
      target: what is predicted, see `targets_of`.
      size: of a patch, as of the stream's encoder.
    """

    ratio: float
    masking: str = 'tube'
    target: str = 'channel'
    size: Shape3 = (2, 16, 16)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'size', tuple(self.size))  # A list where it comes from JSON.


def targets_of(values: jax.Array, channels: int, way: str) -> jax.Array:
    """What is predicted of patches.

    Args:
      values: float (..., V), a patch's numbers, the colours of a pixel beside each other.
      channels: of a pixel.
      way: `values` as they are; `patch`: less the patch's mean, divided by its deviation, sqrt(variance + 1e-6)
        (He et al. 2022; Huang et al. 2022); `channel`: each colour less its own mean in the patch, divided by its
        own deviation, sqrt(variance) + 1e-6 (VideoMAE). Variances are unbiased, as there.
    """
    if way == 'values':
        return values
    parts, mean, deviation = _moments(values, channels, way)
    return ((parts - mean) / deviation).reshape(values.shape)


def values_of(targets: jax.Array, values: jax.Array, channels: int, way: str) -> jax.Array:
    """Back from `targets_of`, by the means and deviations of the true values."""
    if way == 'values':
        return targets
    parts, mean, deviation = _moments(values, channels, way)
    return (targets.reshape(parts.shape) * deviation + mean).reshape(values.shape)


def _moments(values: jax.Array, channels: int, way: str) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The values (..., V / c, c) that are normalised together, their mean and deviation."""
    parts = values.reshape(*values.shape[:-1], -1, channels if way == 'channel' else 1)
    mean, var = parts.mean(-2, keepdims=True), parts.var(-2, keepdims=True, ddof=1)
    return parts, mean, jnp.sqrt(var) + 1e-6 if way == 'channel' else jnp.sqrt(var + 1e-6)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Masked(Reconstruction):
    """Mean squared error of the hidden patches' values (VideoMAE; AudioMAE); of several streams predicted jointly.

    Each stream's encoder sees the patches that are not hidden; one light decoder sees the tokens of all streams, and
    predicts what is hidden of each. Only hidden patches count that lie inside the clip. The values of pictures are
    fractions of 255, whatever `config.model.preprocess` makes of them for the encoder.

    Attributes:
      streams: stream -> `StreamOptions` as a dict.
    """

    streams: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    name: ClassVar[str] = 'masked'

    def __post_init__(self) -> None:
        """Checks what a config says."""
        super().__post_init__()
        if not self.streams:
            raise UserError("config.task.streams is empty; name the streams to mask: dict(rgb=dict(ratio=.9)).")
        for name, options in self.options.items():
            where = f'config.task.streams.{name}'
            for key, ways in (('masking', MASKINGS), ('target', TARGETS)):
                if getattr(options, key) not in ways:
                    raise UserError(f'{where}.{key} is {getattr(options, key)!r}: '
                                    f'{did_you_mean(str(getattr(options, key)), ways)}.')
            if not 0 < options.ratio < 1:
                raise UserError(f'{where}.ratio is {options.ratio}; a share above 0 and below 1 is hidden.')

    @property
    def options(self) -> dict[str, StreamOptions]:
        """Of each stream, in alphabetical order."""
        fields = [field.name for field in dataclasses.fields(StreamOptions)]
        for name, given in self.streams.items():
            for key in given:
                if key not in fields:
                    raise UserError(f'config.task.streams.{name} takes no key {key!r}: {did_you_mean(key, fields)}.')
            if 'ratio' not in given:
                raise UserError(f'config.task.streams.{name} needs the ratio of its patches that is hidden: '
                                f'{name}=dict(ratio=.9).')
        return {name: StreamOptions(**self.streams[name]) for name in sorted(self.streams)}

    @property
    def sizes(self) -> dict[str, Shape3]:
        """See `Reconstruction`."""
        return {name: options.size for name, options in self.options.items()}

    def check(self, config: Any) -> None:
        """Every stream has an encoder that leaves patches out and gives a token for each of the others."""
        super().check(config)
        for name, options in self.options.items():
            given = dict(config.model.encoders[name])
            encoder = registry.build(given, zoo.ENCODERS, 'encoder')
            if 'keep' not in inspect.signature(encoder.__call__).parameters:
                raise UserError(f"The encoder {given['name']!r} of {name!r} cannot leave patches out; take 'videomae' "
                                f"for clips or 'audiomae' for spectrograms.")
            if getattr(encoder, 'pooled', False):
                raise UserError(f'The encoder of {name!r} gives one token a clip, and each patch needs its own; set '
                                f'config.model.encoders.{name}.pooled = False.')
            if tuple(encoder.size) != options.size:
                raise UserError(f'The encoder of {name!r} has patches of {tuple(encoder.size)}, and '
                                f'config.task.streams.{name}.size is {options.size}; set it to the same.')

    def init(self, key: jax.Array, outputs: Any, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        """The decoder."""
        places = self._places(batch, lambda _: jax.random.split(key, 1))
        seen = {name: Tokens(jnp.zeros((1, keep.shape[1], outputs.endpoints[f'{name}/tokens'].shape[-1])),
                             jnp.ones(keep.shape, bool)) for name, (keep, _) in places.items()}
        hidden = {name: jnp.ones(each.shape, bool) for name, (_, each) in places.items()}
        variables = self.decoder_of(batch, list(places)).init(key, seen, places, hidden, self.grids(batch))
        return {'params': {'task_training': variables['params']}}

    def made(self, ctx: Context) -> tuple[dict[str, Made], Any]:
        """See `Reconstruction`; a hidden patch that lies partly outside of the clip is no target.

        Where targets are normalised, `values` has the true means and deviations (He et al. 2022, figure 2).
        """
        batch = ctx.batch
        places = self._places(batch, ctx.keys)
        kept = {f'keep/{name}': keep for name, (keep, _) in places.items()}
        outputs, model_state = dataclasses.replace(ctx, batch={**batch, **kept}).forward()
        seen, hidden, wanted, truth = {}, {}, {}, {}
        for name, (keep, others) in places.items():
            options = self.options[name]
            values, channels = patch_values(batch[name], options.size)
            there, whole = inside(batch, name, outputs.present[name], options.size, values.shape[1])
            seen[name] = Tokens(outputs.endpoints[f'{name}/tokens'], chosen(there, keep))
            hidden[name] = chosen(whole, others)
            wanted[name] = targets_of(chosen(values, others), channels, options.target)
            truth[name] = values, channels
        made: Any = self.decoder_of(batch, list(places)).apply({'params': ctx.params['task_training']}, seen, places,
                                                               hidden, self.grids(batch))
        found = {}
        for name, (keep, others) in places.items():
            (values, channels), rows = truth[name], jnp.arange(len(keep))[:, None]
            filled = values_of(made[name], chosen(values, others), channels, self.options[name].target)
            visible = jnp.zeros(values.shape[:2], bool).at[rows, keep].set(True)
            found[name] = Made(made[name], wanted[name], hidden[name], values.at[rows, others].set(filled), visible)
        return found, model_state

    def _places(self, batch: Mapping[str, jax.Array], keys: Callable[[str], jax.Array]
                ) -> dict[str, tuple[jax.Array, jax.Array]]:
        """Of each stream the patches that are kept, int32 (B, K), and those that are hidden, (B, M), in order."""
        found = {}
        for name, (times, rows, columns) in self.grids(batch).items():
            options = self.options[name]
            tube = options.masking == 'tube'
            count = rows * columns if tube else times * rows * columns
            seen = count - int(options.ratio * count) if tube else int(count * (1 - options.ratio))
            if not 0 < seen < count:
                raise UserError(f'config.task.streams.{name}.ratio is {options.ratio}, which leaves {seen} of {count} '
                                f'patches{" at a time" if tube else ""} to be seen and {count - seen} to be predicted; '
                                f'choose another ratio, larger pictures or smaller patches.')
            order = jax.vmap(lambda key, count=count: jax.random.permutation(key, count))(keys(f'mask/{name}'))
            parts = [jnp.sort(part, 1) for part in jnp.split(order, [seen], 1)]
            if tube:
                starts = jnp.arange(times) * count
                parts = [(starts[:, None] + part[:, None]).reshape(len(part), -1) for part in parts]
            found[name] = (parts[0], parts[1])
        return found
