"""Clips as a live stream gives them: one frame after the other."""

from typing import Any

import jax
import jax.numpy as jnp

from vmmjax.errors import UserError
from vmmjax.models import MultimodalModel, Outputs


def frame_by_frame(model: MultimodalModel, variables: Any, batch: Any, *, train: bool = False) -> Outputs:
    """What `model.apply` gives for clips, from a model that sees their frames one by one.

    The logits are the mean of those of the frames that are valid; there are no endpoints. Of a network that looks at
    frames of the past alone, such as a uni-directional TSM, they are those of the clip at once, where all its frames
    are valid.

    Args:
      model: of one stream.
      variables: of the model.
      batch: a normalised clip batch, see `MultimodalModel`.
      train: False.

    Raises:
      UserError: for a model that cannot be streamed; it says what to change.
    """
    if train:
        raise UserError('A model is trained on whole clips; give it frame by frame to measure it.')
    carry = model.init_stream(batch)
    (name,) = model.encoders
    x = batch[name]
    valid = jnp.asarray(batch.get(f'valid/{name}', jnp.ones(x.shape[:2], bool)), bool)
    present = valid.any(1) & (batch['mask'] > 0 if 'mask' in batch else True)
    frames = jnp.moveaxis(jnp.where(valid.reshape(*valid.shape, *(1,) * (x.ndim - 2)), x, 0), 1, 0)
    _, logits = jax.lax.scan(lambda carry, frame: model.stream_step(variables, carry, frame), carry, frames)
    weights = valid.T / jnp.maximum(valid.sum(1), 1)
    mean = jax.tree.map(lambda each: (each * weights[..., None].astype(each.dtype)).sum(0), logits)
    return Outputs(mean, jnp.zeros((len(x), 0)), {}, {name: present})
