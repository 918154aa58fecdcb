"""Models by name, from a config or from keyword arguments."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from vmmjax import registry
from vmmjax.errors import UserError, did_you_mean
from vmmjax.models.contracts import check_module
from vmmjax.models.fusion import FUSIONS, Hierarchical
from vmmjax.models.heads import Attentive, Consensus, PerToken
from vmmjax.models.multimodal import MultimodalModel
from vmmjax.ops import PREPROCESS


@dataclasses.dataclass(frozen=True)
class Entry:
    """An encoder, and what `create_model` puts around it unless told otherwise.

    Attributes:
      path: of its class, as module:Name in this package; it is imported when the encoder is asked for.
      options: of the encoder; a config may change them.
      stream: the batch's key that it reads.
      preprocess: how that is normalised, by stream; a stream that is not named is taken as it is.
      num_classes: of the published network; 0 where it has no head.
      dropout: rate before the head.
      deviation: of the head's first weights; None for 1 / sqrt(fan-in).
    """

    path: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stream: str = 'rgb'
    preprocess: Mapping[str, str] = dataclasses.field(default_factory=dict)
    num_classes: int = 400
    dropout: float = 0.5
    deviation: float | None = None

    @property
    def encoder(self) -> Callable[..., nn.Module]:
        """The class with its options."""
        return functools.partial(registry.find(f'{__package__}.{self.path}', {}, 'encoder'), **self.options)


def _sound(path: str, num_classes: int, /, *, stream: str = 'audio', **options: Any) -> Entry:
    return Entry(path, options, stream, {}, num_classes, 0.0)


def _words(path: str, /, *, dropout: float = 0.5, **options: Any) -> Entry:
    return Entry(path, options, 'text', {'text': 'ids'}, 0, dropout)


def _video_transformer(num_classes: int, **options: Any) -> Entry:
    return Entry('video_transformer:VideoTransformer', options, 'rgb', {'rgb': 'signed'}, num_classes, 0.0)


_FRAMES = {'rgb': 'imagenet', 'flow': 'flow_tsn'}
_SIGNED = {'rgb': 'signed', 'flow': 'flow'}
_RESNETS = {f'resnet{depth}': Entry('resnet:ResNet', {'depth': depth}, 'rgb', _FRAMES, 1000, 0.0)
            for depth in (18, 34, 50, 101)}
_MOBILENET = Entry('mobilenet:MobileNetV2', {}, 'rgb', _FRAMES, 1000, 0.2, 0.01)
_EFFICIENTNET = Entry('efficientnet:EfficientNetLite', {}, 'rgb', {'rgb': 'signed', 'flow': 'flow_tsn'}, 1000, 0.2)
# What TSN takes as it is and TSM with a temporal shift.
_BACKBONES = {'efficientnet_lite0': _EFFICIENTNET, 'mobilenet_v2': _MOBILENET, **_RESNETS}
MODELS: dict[str, Entry] = {
    'ast': _sound('ast:AST', 527),
    'audiomae': _sound('masked_transformer:MaskedTransformer', 527, size=(1, 16, 16)),
    'bert': _words('bert:Bert', dropout=0.1),
    'bilstm': _words('recurrent:Recurrent', bidirectional=True),
    'conv1d_m5': _sound('waveform:Conv1D', 10, stream='waveform', stem=128, groups=((1, 128), (1, 256), (1, 512))),
    'conv1d_m11': _sound('waveform:Conv1D', 10, stream='waveform'),
    'conv1d_m18': _sound('waveform:Conv1D', 10, stream='waveform', groups=((4, 64), (4, 128), (4, 256), (4, 512))),
    'conv2d_audio': Entry('conv2d_audio:Conv2DAudio', stream='audio'),
    'efficientnet_lite0': _EFFICIENTNET,
    'gru': _words('recurrent:Recurrent', cell='gru'),
    'i3d': Entry('i3d:I3D', preprocess=_SIGNED),
    'inception_v1': Entry('i3d:InceptionV1', {}, 'rgb', _SIGNED, 1001, 0.2),
    'lstm': _words('recurrent:Recurrent'),
    'mobilenet_v2': _MOBILENET,
    'panns_cnn6': _sound('panns:CNN', 527, widths=(64, 128, 256, 512), size=5, depth=1, features=512),
    'panns_cnn10': _sound('panns:CNN', 527, widths=(64, 128, 256, 512), features=512),
    'panns_cnn14': _sound('panns:CNN', 527),
    'panns_cnn14_16k': _sound('panns:CNN', 527),
    **{f'panns_resnet{depth}': _sound('panns_resnet:AudioResNet', 527, depth=depth) for depth in (22, 38, 54)},
    'patches': Entry('patches:Patches', {}, 'rgb', _SIGNED, 0, 0.0),
    'residual_video': Entry('residual_video:ResidualVideo', {}, 'rgb', _SIGNED, 0, 0.0),
    **_RESNETS,
    'strided_video': Entry('video_gan:StridedVideo', {}, 'rgb', _SIGNED, 0, 0.0),
    'tdnn': Entry('tdnn:TDNN', preprocess={'rgb': 'centred', 'flow': 'flow'}),
    **{f'tsm_{name}': Entry(entry.path, {**entry.options, 'shift': 'bi'}, 'rgb', entry.preprocess, deviation=0.001)
       for name, entry in _BACKBONES.items()},
    **{f'tsn_{name}': Entry(entry.path, entry.options, 'rgb', entry.preprocess, deviation=0.001)
       for name, entry in _BACKBONES.items()},
    'vgg16': Entry('vgg:VGG16', {}, 'rgb', _FRAMES, 1000, deviation=0.01),
    'vgg16_bn': Entry('vgg:VGG16', {'batch_norm': True}, 'rgb', _FRAMES, 1000, deviation=0.01),
    'vggish': _sound('vggish:VGGish', 0),
    'videomae': Entry('masked_transformer:MaskedTransformer', {}, 'rgb', {'rgb': 'imagenet'}, 400, 0.0, 2e-5),
    'vit': _video_transformer(1000, tubelet=(1, 16, 16), temporal_layers=0, layer_norm_eps=1e-12),
    'vivit': _video_transformer(400),
    'vivit_joint': _video_transformer(400, temporal_layers=0, joint=True, hidden_act='gelu_fast'),
}
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16, 'float16': jnp.float16}


class _Encoders(Mapping[str, Callable[..., nn.Module]]):
    """The encoders by name, each imported when it is asked for: a run needs one or a few of them."""

    def __getitem__(self, name: str) -> Callable[..., nn.Module]:
        return MODELS[name].encoder

    def __iter__(self) -> Iterator[str]:
        return iter(MODELS)

    def __len__(self) -> int:
        return len(MODELS)


ENCODERS = _Encoders()
HEADS: dict[str, Any] = {'attentive': Attentive, 'consensus': Consensus, 'per_token': PerToken}


def create(config: Mapping[str, Any], num_classes: int | Mapping[str, int], dtype: Any = None,
           param_dtype: Any = jnp.float32) -> MultimodalModel:
    """The model of `config.model`.

    Args:
      config: `encoders`: stream -> name and options; `fusion` and `head`: name and options, an empty head for none;
        `stream_head`: of a head that every stream has of its own, empty or missing for none; `preprocess`: stream ->
        name; `dtype`: a key of `DTYPES`, float32 where it is missing; `debug` and `fixed`: see `MultimodalModel`.
        Streams are taken in alphabetical order, so that parameters do not depend on how a config is written. A name
        may be a user's own, `package.module:Name`, see `contracts`; it is given `dtype`, `param_dtype`, `streams` and
        `num_classes` where it declares them.
      num_classes: classes of the head, or of a fusion of scores in its place; 0 for none. For several targets at
        once the classes of each by its name: every one has a head of its own.
      dtype: in which everything is computed; None for the config's.
      param_dtype: of the encoders' parameters.

    Raises:
      UserError: for an unknown name or key (it names the nearest right one), a stream without preprocessing, or a
        user's own part that does not keep to its contract.
    """
    known = ('encoders', 'fusion', 'head', 'stream_head', 'preprocess', 'dtype', 'debug', 'fixed')
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
    if dtype is None:
        named = config.get('dtype', 'float32')
        if named not in DTYPES:
            raise UserError(f'config.model.dtype is {named!r}: {did_you_mean(named, DTYPES)}.')
        dtype = DTYPES[named]
    encoders = {name: _module(config['encoders'][name], ENCODERS, 'encoder', dtype=dtype, param_dtype=param_dtype)
                for name in streams}
    fusion = _fusion(config['fusion'], num_classes=num_classes, streams=tuple(streams), dtype=dtype)
    for name in (fusion.endpoints or ()) if isinstance(fusion, Hierarchical) else ():
        if name in encoders and not callable(getattr(encoders[name], 'stages', None)):
            able = [each for each, entry in sorted(MODELS.items()) if hasattr(entry.encoder(), 'stages')]
            raise UserError(f'The encoder {config["encoders"][name]["name"]!r} of the stream {name!r} cannot be '
                            f'stopped at endpoints, and these can: {", ".join(able)}.')
    fixed = tuple(config.get('fixed') or ())
    for name in fixed:
        if name not in encoders:
            raise UserError(f'config.model.fixed names {name!r}, which is no stream: {did_you_mean(name, encoders)}.')
    heads = {name: _head(config.get('stream_head'), num_classes, dtype) for name in streams}
    return MultimodalModel(encoders=encoders, fusion=fusion, head=_head(config['head'], num_classes, dtype),
                           normalisation=normalisation, debug=bool(config.get('debug')),
                           stream_heads={name: head for name, head in heads.items() if head is not None},
                           fixed=fixed)


def _head(config: Mapping[str, Any] | None, num_classes: int | Mapping[str, int], dtype: Any) -> Any:
    if not config or not num_classes:
        return None
    if isinstance(num_classes, Mapping):
        return {target: _head(config, count, dtype) for target, count in num_classes.items()}
    return _module(config, HEADS, 'head', num_classes=num_classes, dtype=dtype)


def _fusion(config: Mapping[str, Any], **given: Any) -> nn.Module:
    options = dict(config)
    factory = registry.find(config['name'], FUSIONS, 'fusion') if 'name' in config else None
    # Some fuse by another fusion; a user's may, too.
    inner: dict[str, Any] = {}
    if callable(factory) and 'join' in inspect.signature(factory).parameters:
        if 'join' not in config:
            raise UserError(f"The fusion {config['name']!r} needs another one at its end: join=dict(name='concat').")
        inner['join'] = _fusion(options.pop('join'), **given)
        if isinstance(inner['join'], Hierarchical):
            raise UserError(f"The fusion 'hierarchical' drives the encoders and cannot be the join of "
                            f'{config["name"]!r}; make it the outer one.')
    return _module(options, FUSIONS, 'fusion', **given, **inner)


def _module(config: Mapping[str, Any], known: Mapping[str, Any], what: str, **given: Any) -> Any:
    module = registry.build(config, known, what, **given)
    check_module(what, config['name'], module)
    return module


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
    config = single(name, stream=stream, dropout=dropout, debug=debug, **options)
    return create(config, entry.num_classes if num_classes is None else num_classes, dtype, param_dtype)


def single(name: str, *, stream: str | None = None, dropout: float | None = None, debug: bool = False,
           **options: Any) -> dict[str, Any]:
    """The `config.model` of what `create_model` makes of the same arguments."""
    entry: Entry = registry.find(name, MODELS, 'model')
    stream = stream or entry.stream
    return dict(encoders={stream: dict(name=name, **options)}, fusion=dict(name='concat'),
                head=dict(name='consensus', dropout=entry.dropout if dropout is None else dropout,
                          deviation=entry.deviation),
                preprocess={stream: entry.preprocess.get(stream, 'none')}, debug=debug)


def list_models() -> list[str]:
    """Names that `create_model` takes."""
    return sorted(MODELS)
