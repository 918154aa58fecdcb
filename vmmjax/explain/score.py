"""The number that is explained: what a model gives each clip for one class."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vmmjax.models import MultimodalModel, Outputs
from vmmjax.models.tokens import masked_mean

Batch = Mapping[str, jax.Array]
Score = Callable[[Any, Batch, jax.Array], jax.Array]
"""`score(variables, batch, classes) -> float32 (B,)`, for a normalised clip batch and int32 (B,) classes.

All that it needs is an argument: what a compiled function closes over XLA folds as constants, one convolution at a
time. A row depends on no other row.
"""


def of_logits(model: MultimodalModel, target: str | None = None) -> Score:
    """The logit of a class.

    Of a head for each token it is the mean over those that stand for something. Logits are 0 where no stream is
    present, whatever the class.

    Args:
      model: with a head.
      target: of several targets, the one that is meant.
    """
    model = _kept_whole(model)

    def score(variables: Any, batch: Batch, classes: jax.Array) -> jax.Array:
        outputs: Any = model.apply(variables, batch, train=False)
        return jnp.take_along_axis(logits(outputs, target), classes[:, None], axis=1)[:, 0]

    return score


def logits(outputs: Outputs, target: str | None = None) -> jax.Array:
    """The logits float32 (B, C) of clips; see `of_logits`."""
    found: jax.Array = outputs.logits if target is None else outputs.logits[target]
    return found if outputs.mask is None or found.ndim == 2 else masked_mean(found, outputs.mask)


def _kept_whole(model: MultimodalModel) -> MultimodalModel:
    """The model with nothing computed twice: what rematerialised layers give cannot be taken out of them."""
    encoders = {name: encoder.clone(remat=False) if getattr(encoder, 'remat', False) else encoder
                for name, encoder in model.encoders.items()}
    return model.clone(encoders=encoders)
