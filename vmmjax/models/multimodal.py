"""The model: one encoder a stream, a fusion, a head."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.tokens import Outputs, Tokens
from vmmjax.ops import preprocess

Batch = Mapping[str, jax.Array]


class MultimodalModel(nn.Module):
    """Encoders composed by a fusion.

    What is absent changes nothing: an absent stream, an invalid frame and a padding row are replaced by zeros
    before the encoder (after it, NaN would come back through the gradient), are left out of BatchNorm's
    statistics, and give tokens that are masked.

    Attributes:
      encoders: stream -> `encoder(x, valid, train) -> (Tokens, endpoints)` with an attribute `features`, the length
        of its tokens.
      fusion: `fusion(tokens, present) -> Fused`.
      head: `head(fused, train) -> logits`.
      normalisation: stream -> a name of `vmmjax.ops.preprocess`.
    """

    encoders: Mapping[str, nn.Module]
    fusion: nn.Module
    head: nn.Module
    normalisation: Mapping[str, str]

    @nn.nowrap
    def preprocess(self, batch: Batch) -> dict[str, jax.Array]:
        """A raw clip batch with the model's streams normalised to float32; nothing else is changed."""
        return {key: preprocess(self.normalisation[key], value) if key in self.encoders else value
                for key, value in batch.items()}

    def __call__(self, batch: Batch, train: bool) -> Outputs:
        """Applies the model.

        Args:
          batch: streams as float arrays, see `preprocess`. `valid/<stream>` bool (B, T), `present/<stream>` bool (B,)
            and `mask` (B,) may be missing: all valid, present where the stream's key is there, no padding. A stream
            that is missing is absent from every row.
          train: training mode; needs a `dropout` key and `mutable=['batch_stats']`.

        Raises:
          UserError: where no stream is there, or one has integers.
        """
        there = [name for name in self.encoders if name in batch]
        if not there or (self.is_initializing() and len(there) < len(self.encoders)):
            raise UserError(f'The batch has {", ".join(sorted(batch)) or "nothing"}; the model needs '
                            f'{"every" if there else "at least one"} stream of {", ".join(self.encoders)}.')
        rows = batch[there[0]].shape[0]
        mask = batch['mask'] > 0 if 'mask' in batch else jnp.ones(rows, bool)
        tokens: dict[str, Tokens] = {}
        present: dict[str, jax.Array] = {}
        endpoints: dict[str, jax.Array] = {}
        for name, encoder in self.encoders.items():
            if name not in batch:
                tokens[name] = Tokens(jnp.zeros((rows, 1, encoder.features)), jnp.zeros((rows, 1), bool))
                present[name] = jnp.zeros(rows, bool)
                continue
            x = batch[name]
            if not jnp.issubdtype(x.dtype, jnp.floating):
                raise UserError(f'The stream {name!r} holds {x.dtype}; normalise it with model.preprocess(batch).')
            valid = jnp.broadcast_to(mask[:, None], x.shape[:2])
            if f'valid/{name}' in batch:
                valid &= batch[f'valid/{name}']
            if f'present/{name}' in batch:
                valid &= batch[f'present/{name}'][:, None]
            x = jnp.where(valid.reshape(valid.shape + (1,) * (x.ndim - 2)), x, 0)
            tokens[name], found = encoder(x, valid, train)
            present[name] = valid.any(1)
            endpoints |= {f'{name}/{key}': value for key, value in found.items()}
        fused = self.fusion(tokens, present)
        logits = self.head(fused, train) if fused.logits is None else fused.logits
        return Outputs(logits, fused.features, endpoints)
