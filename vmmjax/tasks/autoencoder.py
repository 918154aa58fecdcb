"""Autoencoders: a clip through a short code, and back."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.convolution import Shape3
from vmmjax.models.masked_transformer import MaskedDecoder
from vmmjax.models.tokens import Tokens
from vmmjax.tasks.reconstruction import Made, Reconstruction, inside, patch_values
from vmmjax.training.objective import Context


@dataclasses.dataclass(frozen=True, kw_only=True)
class Autoencoder(Reconstruction):
    """`min |x - D(E(x))|^2`: E is a stream's encoder, or all encoders and the fusion, and a linear map to the code.

    The code of a stream is made from the mean of its tokens; jointly, one code for all streams from the features of
    the fusion. D is a `MaskedDecoder` for each stream, to which all patches are hidden: it sees the code alone.

    Attributes:
      streams: that are reconstructed, each with the size of the patches that are predicted as one: frames, height and
        width; of a spectrogram 1, frames and mel bands.
      code: numbers of the code.
      joint: whether all streams come from one code.
    """

    streams: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)
    code: int = 128
    joint: bool = False

    name: ClassVar[str] = 'autoencoder'

    def __post_init__(self) -> None:
        """Checks what a config says."""
        super().__post_init__()
        if not self.streams or any(len(size) != 3 or min(size) < 1 for size in self.streams.values()):
            raise UserError(f'config.task.streams is {dict(self.streams)}; name the streams to reconstruct, each with '
                            f'the three sizes of its patches: dict(rgb=(2, 16, 16)).')
        if self.code < 1:
            raise UserError(f'config.task.code is {self.code}; a code has at least 1 number.')

    @property
    def sizes(self) -> dict[str, Shape3]:
        """See `Reconstruction`."""
        return {name: (size[0], size[1], size[2]) for name, size in sorted(self.streams.items())}

    def init(self, key: jax.Array, outputs: Any, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        """The maps to the codes, and the decoders."""
        own: dict[str, Any] = {}
        for place, name in enumerate(self.sizes):
            keys = jax.random.split(jax.random.fold_in(key, place))
            # One map for all streams where they share the code.
            own[self._code(name)] = self._map.init(keys[0], self._features(outputs, name))['params']
            net, given = self._decoder(batch, name, jnp.zeros((1, self.code)), jnp.ones(1, bool))
            own[f'decoder_{name}'] = net.init(keys[1], *given)['params']
        return {'params': {'task_training': own}}

    def made(self, ctx: Context) -> tuple[dict[str, Made], Any]:
        """See `Reconstruction`."""
        outputs, model_state = ctx.forward()
        own, found = ctx.params['task_training'], {}
        for name, size in self.sizes.items():
            code: Any = self._map.apply({'params': own[self._code(name)]}, self._features(outputs, name))
            values, _ = patch_values(ctx.batch[name], size)
            _, whole = inside(ctx.batch, name, outputs.present[name], size, values.shape[1])
            net, given = self._decoder(ctx.batch, name, code, outputs.present[name])
            made: Any = net.apply({'params': own[f'decoder_{name}']}, *given)
            found[name] = Made(made[name], values, whole, made[name], jnp.ones(whole.shape, bool))
        return found, model_state

    @property
    def _map(self) -> nn.Dense:
        return nn.Dense(self.code)

    def _code(self, name: str) -> str:
        return 'code' if self.joint else f'code_{name}'

    def _features(self, outputs: Any, name: str) -> jax.Array:
        x: jax.Array = outputs.features if self.joint else outputs.stream_features[name]
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    def _decoder(self, batch: Mapping[str, jax.Array], name: str, code: jax.Array, present: jax.Array
                 ) -> tuple[MaskedDecoder, Any]:
        """A stream's decoder, and what it is called with to make all patches of codes (B, code)."""
        grid = self.grids(batch)[name]
        count, rows = math.prod(grid), len(code)
        return self.decoder_of(batch, [name]), (
            {name: Tokens(code[:, None], present[:, None])},
            {name: (jnp.zeros((rows, 1), jnp.int32), jnp.tile(jnp.arange(count), (rows, 1)))},
            {name: jnp.broadcast_to(present[:, None], (rows, count))}, {name: grid})
