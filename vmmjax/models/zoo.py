"""Models by name, from a config or from keyword arguments."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from vmmjax import registry
from vmmjax.errors import UserError, did_you_mean
from vmmjax.models.audio import Conv2DAudio
from vmmjax.models.fusion import Concat, WeightedAverage
from vmmjax.models.heads import Consensus
from vmmjax.models.i3d import I3D
from vmmjax.models.multimodal import MultimodalModel
from vmmjax.ops import PREPROCESS


@dataclasses.dataclass(frozen=True)
class Entry:
    """An encoder, and what `create_model` puts around it unless told otherwise.

    Attributes:
      encoder: its class, or a partial of it.
      stream: the batch's key that it reads.
      preprocess: how that is normalised, by stream; a stream that is not named is taken as it is.
      num_classes: of the published network; 0 where it has no head.
      dropout: rate before the head.
    """

    encoder: Callable[..., nn.Module]
    stream: str = 'rgb'
    preprocess: Mapping[str, str] = dataclasses.field(default_factory=dict)
    num_classes: int = 400
    dropout: float = 0.5


MODELS: dict[str, Entry] = {
    'conv2d_audio': Entry(Conv2DAudio, 'audio'),
    'i3d': Entry(I3D, 'rgb', {'rgb': 'signed', 'flow': 'flow'}),
}
ENCODERS: dict[str, Callable[..., nn.Module]] = {name: entry.encoder for name, entry in MODELS.items()}
FUSIONS: dict[str, Any] = {'concat': Concat, 'weighted_average': WeightedAverage}
HEADS: dict[str, Any] = {'consensus': Consensus}


def create(config: Mapping[str, Any], num_classes: int, dtype: Any = jnp.float32,
           param_dtype: Any = jnp.float32) -> MultimodalModel:
    """The model of `config.model`.

    Args:
      config: `encoders`: stream -> name and options; `fusion` and `head`: name and options; `preprocess`: stream ->
        name; `debug`: see `MultimodalModel`. Streams are taken in alphabetical order, so that parameters do not
        depend on how a config is written.
      num_classes: classes of the head; 0 for none.
      dtype: in which everything is computed.
      param_dtype: of the encoders' parameters.

    Raises:
      UserError: for an unknown name or key (it names the nearest right one), or a stream without preprocessing.
    """
    known = ('encoders', 'fusion', 'head', 'preprocess', 'debug')
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
    head = registry.build(config['head'], HEADS, 'head', num_classes=num_classes, dtype=dtype) if num_classes else None
    # A user's own encoder need not know `param_dtype` as long as nobody asks for another.
    dtypes = dict(dtype=dtype) if param_dtype == jnp.float32 else dict(dtype=dtype, param_dtype=param_dtype)
    return MultimodalModel(
        encoders={name: registry.build(config['encoders'][name], ENCODERS, 'encoder', **dtypes) for name in streams},
        fusion=registry.build(config['fusion'], FUSIONS, 'fusion', streams=tuple(streams), dtype=dtype),
        head=head, normalisation=normalisation, debug=bool(config.get('debug')))


def create_model(name: str, *, num_classes: int | None = None, stream: str | None = None,
                 dropout: float | None = None, dtype: Any = jnp.float32, param_dtype: Any = jnp.float32,
                 debug: bool = False, **options: Any) -> MultimodalModel:
    """A model of one encoder and a consensus head.

    Args:
      name: one of `list_models()`.
      num_classes: classes of the head; 0 for none; by default as published.
      stream: key of the input in the batch; by default what the network was published for. Video networks take
        `rgb` and `flow`.
      dropout: rate before the head; by default as published.
      dtype: in which everything is computed, such as `jnp.bfloat16`.
      param_dtype: of the encoder's parameters.
      debug: whether every batch is looked at for values that normalisation cannot give, which costs time.
      **options: of the encoder, such as `width_multiplier`.

    Raises:
      UserError: for an unknown name or option.
    """
    entry: Entry = registry.find(name, MODELS, 'model')
    stream = stream or entry.stream
    return create(dict(encoders={stream: dict(name=name, **options)}, fusion=dict(name='concat'),
                       head=dict(name='consensus', dropout=entry.dropout if dropout is None else dropout),
                       preprocess={stream: entry.preprocess.get(stream, 'none')}, debug=debug),
                  entry.num_classes if num_classes is None else num_classes, dtype, param_dtype)


def list_models() -> list[str]:
    """Names that `create_model` takes."""
    return sorted(MODELS)
