"""Streams that see each other while they are encoded."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError, did_you_mean
from vmmjax.models.encoder_steps import Encoded, Journey, Stage, Stages
from vmmjax.models.fusion.base import Fusion
from vmmjax.models.fusion.over_time import resample, resample_valid
from vmmjax.models.tokens import Fused, Tokens


def aligned(source: Stage, target: Stage) -> jax.Array:
    """What `Hierarchical` calls `A_mk x_k`: (B, N_m, ..., C_k), with axes of length 1 where places are averaged."""
    x = source.x
    if x.ndim != target.x.ndim:
        x = x.mean(tuple(range(2, x.ndim - 1)))
    x, _ = resample_valid(x, source.mask, target.x.shape[1])
    if x.ndim != target.x.ndim:
        return x.reshape(*x.shape[:2], *(1,) * (target.x.ndim - 3), x.shape[-1])
    for axis in range(2, x.ndim - 1):
        x = resample(x, axis, target.x.shape[axis])
    return x


class Hierarchical(Fusion):
    """Hierarchical fusion: lateral connections between the encoders, level by level, and another fusion at the end.

    A level names an endpoint in several encoders. When all have come there, each gets from all others

        x_m(t, p) + sum_{k != m} W_mk (A_mk x_k)(t, p)

    in the place of x_m(t, p), its features at time t and place p, and goes on to its next layer. `A_mk x_k` is what
    stream k has at the same time and place: its mean over the part of the clip (and, where both are pictures or both
    spectra, of the picture or spectrum) that one position of x_m stands for; streams that do not share their places,
    as sound and pictures, give their mean over all places. So one formula serves encoders of any rate and size. It is
    the lateral connection of SlowFast (Feichtenhofer et al. 2019, section 3.4) in both directions, with area averages
    and a 1 x 1 x 1 convolution in place of its convolution with a stride in time, added rather than concatenated; where
    places are not shared, squeezed as by MMTM (Joze et al. 2020, eq. 1), of every moment instead of the clip.

    W_mk is zero at first: encoders begin as they would alone, published weights included. What is invalid or absent
    in stream k adds nothing, and nothing is added where stream m itself is invalid.

    Attributes:
      join: the fusion of the encoders' tokens.
      endpoints: stream -> its endpoint at every level. Streams that are not named are encoded by themselves.
    """

    join: Any = None
    endpoints: Mapping[str, Sequence[str]] | None = None

    @nn.compact
    def encode(self, stages: Mapping[str, Stages]) -> dict[str, Encoded]:
        """Drives the encoders of the streams that are there, see `vmmjax.models.encoder_steps`.

        Raises:
          UserError: for levels that are not of two streams or more of the model, all with as many endpoints, or an
            endpoint that an encoder does not come by.
        """
        levels = self._levels()
        journeys = {name: Journey(name, each) for name, each in stages.items()}
        for number, level in enumerate(levels, 1):
            reached = {name: journeys[name].stop(endpoint) for name, endpoint in level.items() if name in journeys}
            for name, target in reached.items():
                x = target.x
                there = target.mask.reshape(target.mask.shape + (1,) * (x.ndim - 2))
                for other, source in reached.items():
                    if other != name:
                        dense = nn.Dense(x.shape[-1], use_bias=False, kernel_init=nn.initializers.zeros,
                                         dtype=self.dtype, name=f'level_{number}_{name}_from_{other}')
                        x += jnp.where(there, dense(aligned(source, target)), 0).astype(x.dtype)
                journeys[name].replace(x)
        return {name: journey.end() for name, journey in journeys.items()}

    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """Fuses tokens (B, N, D_m) of each stream; `present` (B,) bool says in which rows a stream is there."""
        fused: Fused = self.join(tokens, present, train)
        return fused

    @nn.nowrap
    def _levels(self) -> list[dict[str, str]]:
        """Stream -> endpoint, for every level."""
        endpoints = {name: tuple(names) for name, names in (self.endpoints or {}).items()}
        for name in endpoints:
            if name not in self.streams:
                raise UserError(f'The fusion hierarchical has endpoints of a stream {name!r}: '
                                f'{did_you_mean(name, self.streams)}.')
        counts = {len(names) for names in endpoints.values()}
        if len(endpoints) < 2 or len(counts) > 1 or 0 in counts:
            raise UserError(f'The fusion hierarchical connects the endpoints {endpoints}; name as many for each of '
                            f"two streams or more, such as endpoints=dict(rgb=('Mixed_3c',), audio=('stage_2',)).")
        return [dict(zip(endpoints, level, strict=True)) for level in zip(*endpoints.values(), strict=True)]
