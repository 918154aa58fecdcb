"""Layers of a network by their paths: what they give, taken out and changed, and laid onto the axes of the input."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from vmmjax.errors import UserError, did_you_mean
from vmmjax.explain.score import Batch
from vmmjax.models import MultimodalModel, Tokens
from vmmjax.models.ast import AST
from vmmjax.models.dropout import Dropout
from vmmjax.models.embedding import WordEmbeddings
from vmmjax.models.video_transformer import Tubelets

Arrange = Callable[[jax.Array], jax.Array]  # What a layer gives -> (B, T', *places, C).

_FEWEST = 4  # Rows, and columns, of a map that shows where.


class Layer(NamedTuple):
    """A module of an encoder, as it was called.

    Attributes:
      path: such as `encoders_rgb/Mixed_5c`: that of its parameters.
      shape: of what it gives, rows first.
      kind: its class.
      size: of one that cuts patches, their frames, height and width; else None.
    """

    path: str
    shape: tuple[int, ...]
    kind: type
    size: tuple[int, int, int] | None = None


def of_encoder(model: MultimodalModel, stream: str, variables: Any, batch: Batch) -> dict[str, Layer]:
    """The modules of a stream's encoder that give an array, or tokens, in the order in which they end.

    Nothing is computed.
    """
    found: dict[str, Layer] = {}

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        out = call(*args, **kwargs)
        path = '/'.join(context.module.path)
        if context.method_name == '__call__' and path.partition('/')[0] == f'encoders_{stream}':
            x = _array(out)
            if x is not None and not isinstance(context.module, Dropout | nn.Dropout):  # Here they do nothing.
                size = context.module.size if isinstance(context.module, Tubelets) else None
                found[path] = Layer(path, x.shape, type(context.module), size)
        return out

    def run(variables: Any, batch: Batch) -> Any:
        with nn.intercept_methods(note):
            return model.apply(variables, batch, train=False)

    jax.eval_shape(run, variables, batch)
    return found


@contextlib.contextmanager
def changed(changes: Mapping[str, Callable[[jax.Array], jax.Array]]) -> Iterator[None]:
    """What the module at each path gives becomes the path's function of it, where a model is applied in the block."""
    def replace(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        out = call(*args, **kwargs)
        change = changes.get('/'.join(context.module.path))
        if change is None or context.method_name != '__call__':
            return out
        if isinstance(out, jax.Array):
            return change(out)
        tokens, endpoints = out
        return tokens.replace(x=change(tokens.x)), endpoints

    with nn.intercept_methods(replace):
        yield


def find(layers: Mapping[str, Layer], path: str, encoder: nn.Module, shape: tuple[int, ...]) -> tuple[str, Arrange]:
    """A layer of an encoder, and how what it gives is laid onto the axes of the encoder's input.

    Unless named it is the one whose map says most. Where layers keep places, that is the last that has all axes of the
    input, with at least 4 rows and columns where one has: of I3D on 224 x 224 pixels Mixed_5c, behind which all is
    linear. Transformers mix their tokens, so that it is their patches; of words it is their vectors. Elsewhere it is
    the last layer that has an axis of time: in the end, the encoder's tokens.

    Args:
      layers: of the encoder, see `of_encoder`.
      path: of a layer; empty for the one that says most.
      encoder: the encoder.
      shape: of its input: (B, T, H, W, C), (B, F, M), (B, S) or (B, L).

    Raises:
      UserError: for a layer that is not there, or where none, or not the named one, has the input's axis of time.
    """
    if path and path not in layers:
        raise UserError(f'The network has no layer {path!r}: {did_you_mean(path, layers)}.')
    fitting = {name: arrange for name in layers
               if (arrange := arrangement(layers, name, encoder, shape)) is not None}
    if path and path not in fitting:
        raise UserError(f'The layer {path!r} gives {layers[path].shape}, which has no axis of time; take one of '
                        f'{", ".join(fitting)}.')
    if not fitting:
        raise UserError(f'No layer of the {type(encoder).__name__} gives something for each moment of its input, so '
                        f'that its maps cannot be drawn; leave hirescam and gradcam out.')
    path = path or words(layers) or _patches(layers, encoder)

    def worth(name: str) -> tuple[int, bool, bool]:
        given = jax.ShapeDtypeStruct(layers[name].shape, 'float32')
        _, times, *places, _ = jax.eval_shape(fitting[name], given).shape
        return len(places), all(length >= _FEWEST for length in places), times > 1

    path = path or max(reversed(fitting), key=worth)  # The last of several that are worth the same.
    return path, fitting[path]


def arrangement(layers: Mapping[str, Layer], path: str, encoder: nn.Module, shape: tuple[int, ...]) -> Arrange | None:
    """How what a layer gives is laid onto the axes of its encoder's input; None where it cannot be told.

    Args:
      layers: of the encoder.
      path: of one of them.
      encoder: the encoder.
      shape: of its input: (B, T, H, W, C), (B, F, M), (B, S) or (B, L).

    Returns:
      From what the layer gives to (B, T', *places, C), with as many places as a picture or a spectrum has, or none.
    """
    rows, places = shape[0], len(shape[2:-1]) if len(shape) == 5 else len(shape[2:])
    lead, channels = layers[path].shape[:-1], layers[path].shape[-1]
    patches = _patches(layers, encoder)
    if patches and places:
        return _of_tokens(lead, rows, *_grid(layers[patches], shape), channels)
    times: int | None = None
    if places and len(lead) == places + 2 and lead[0] % rows == 0 and (places == 1 or lead[0] == rows):
        times = lead[0] // rows * lead[1]  # Windows of a sound stand beside each other as rows.
    elif places == 2 and len(lead) == 3 and lead[0] % rows == 0:
        times = lead[0] // rows  # So do frames.
    if times is not None:
        return lambda x: x.reshape(rows, times, *lead[-places:], channels)
    if len(lead) == 2 and lead[0] == rows:
        return lambda x: x
    return None


def words(layers: Mapping[str, Layer]) -> str:
    """The path of the layer that makes vectors of words; empty for an encoder without one of ours."""
    return next((path for path, layer in layers.items() if issubclass(layer.kind, WordEmbeddings)), '')


def _patches(layers: Mapping[str, Layer], encoder: nn.Module) -> str:
    """The path of the layer that cuts the input into patches; empty where none does."""
    return next((path for path, layer in layers.items()
                 if layer.size or (isinstance(encoder, AST) and path.endswith('/patch_embeddings'))), '')


def _grid(patches: Layer, shape: tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
    """Patches along time and places, and whether time comes last in their order, as in AST."""
    if patches.size is None:
        _, bands, times, _ = patches.shape
        return (times, bands), True
    lengths, size = (shape[1:4], patches.size) if len(shape) == 5 else (shape[1:3], patches.size[1:])
    return tuple(length // step for length, step in zip(lengths, size, strict=True)), False


def _of_tokens(lead: tuple[int, ...], rows: int, grid: tuple[int, ...], swapped: bool, channels: int) -> Arrange | None:
    """From tokens, of which some first ones may be no patches; times may stand beside each other as rows."""
    count, parts = math.prod(grid), lead[0] // rows
    if len(lead) == 2 and parts in (1, grid[0]) and lead[1] >= count // parts:
        skipped = lead[1] - count // parts
    elif math.prod(lead[1:]) == count and parts == 1:
        skipped = 0
    else:
        return None
    axes = (*reversed(grid),) if swapped else grid

    def arrange(x: jax.Array) -> jax.Array:
        x = (x[:, skipped:] if skipped else x).reshape(rows, *axes, channels)
        return x.swapaxes(1, 2) if swapped else x

    return arrange


def _array(out: Any) -> jax.Array | None:
    """The array among what a module gives: itself, or an encoder's tokens."""
    if isinstance(out, tuple) and out and isinstance(out[0], Tokens):
        return out[0].x
    return out if isinstance(out, jax.Array) and out.ndim > 1 else None
