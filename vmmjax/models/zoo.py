"""Models by name, from a config or from keyword arguments."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from vmmjax import registry
from vmmjax.errors import UserError, did_you_mean
from vmmjax.models.audio import Conv2DAudio
from vmmjax.models.fusion import Concat, WeightedAverage
from vmmjax.models.heads import Consensus
from vmmjax.models.i3d import I3D
from vmmjax.models.multimodal import MultimodalModel
from vmmjax.ops import PREPROCESS

ENCODERS: dict[str, Any] = {'conv2d_audio': Conv2DAudio, 'i3d': I3D}
FUSIONS: dict[str, Any] = {'concat': Concat, 'weighted_average': WeightedAverage}
HEADS: dict[str, Any] = {'consensus': Consensus}

# What `create_model` builds around a single encoder: its stream.
STREAMS = {'conv2d_audio': 'audio', 'i3d': 'rgb'}
_NORMALISATION = {'rgb': 'signed', 'flow': 'flow'}


def create(config: Mapping[str, Any], num_classes: int, dtype: Any = jnp.float32) -> MultimodalModel:
    """The model of `config.model`.

    Args:
      config: `encoders`: stream -> name and options; `fusion` and `head`: name and options; `preprocess`: stream ->
        name. Streams are taken in alphabetical order, so that parameters do not depend on how a config is written.
      num_classes: classes of the head.
      dtype: in which everything is computed.

    Raises:
      UserError: for an unknown name or key (it names the nearest right one), or a stream without preprocessing.
    """
    known = ('encoders', 'fusion', 'head', 'preprocess')
    for key in config:
        if key not in known:
            raise UserError(f'config.model takes no key {key!r}: {did_you_mean(key, known)}.')
    streams = sorted(config['encoders'])
    if not streams:
        raise UserError('config.model.encoders is empty; name an encoder for at least one stream.')
    normalisation = dict(config['preprocess'])
    for name in {*streams} ^ {*normalisation}:
        raise UserError(f'config.model.encoders and config.model.preprocess must name the same streams, but '
                        f'{name!r} is in one alone; ways to preprocess: {", ".join(sorted(PREPROCESS))}.')
    for name in normalisation.values():
        registry.find(name, PREPROCESS, 'preprocess')
    return MultimodalModel(
        encoders={name: registry.build(config['encoders'][name], ENCODERS, 'encoder', dtype=dtype)
                  for name in streams},
        fusion=registry.build(config['fusion'], FUSIONS, 'fusion', streams=tuple(streams), dtype=dtype),
        head=registry.build(config['head'], HEADS, 'head', num_classes=num_classes, dtype=dtype),
        normalisation=normalisation)


def create_model(name: str, *, num_classes: int = 400, stream: str | None = None, dropout: float = 0.5,
                 dtype: Any = jnp.float32, **options: Any) -> MultimodalModel:
    """A model of one encoder and a consensus head.

    Args:
      name: one of `list_models()`.
      num_classes: classes of the head.
      stream: key of the input in the batch; by default `rgb` for pictures and `audio` for sound. I3D takes `flow`.
      dropout: rate before the head.
      dtype: in which everything is computed.
      **options: of the encoder, such as `width_multiplier`.

    Raises:
      UserError: for an unknown name or option.
    """
    registry.find(name, ENCODERS, 'model')
    stream = stream or STREAMS[name]
    return create(dict(encoders={stream: dict(name=name, **options)}, fusion=dict(name='concat'),
                       head=dict(name='consensus', dropout=dropout),
                       preprocess={stream: _NORMALISATION.get(stream, 'none')}), num_classes, dtype)


def list_models() -> list[str]:
    """Names that `create_model` takes."""
    return sorted(ENCODERS)
