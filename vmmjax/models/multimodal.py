"""The model: one encoder a stream, a fusion, a head."""

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.contracts import check_encoded, check_fused
from vmmjax.models.encoder_steps import Encoded, Stages
from vmmjax.models.tokens import Fused, Outputs, Tokens
from vmmjax.ops import FRONT_ENDS, LARGEST, preprocess, valid_frames

Batch = Mapping[str, jax.Array]
_FAR = 16  # So many times what normalisation gives are no normalised pictures, whatever a test draws.


class MultimodalModel(nn.Module):
    """Encoders composed by a fusion.

    What is absent changes nothing: an absent stream, an invalid frame and a padding row are replaced by zeros
    before the encoder (after it, NaN would come back through the gradient), are left out of BatchNorm's
    statistics, and give tokens that are masked.

    Attributes:
      encoders: stream -> `encoder(x, valid, train) -> (Tokens, endpoints)` with an attribute `features`, the length
        of its tokens.
      fusion: `fusion(tokens, present, train) -> Fused`. One that has a method `encode`, which takes every stream's
        `stages` and gives what their encoders do, drives the encoders itself.
      head: `head(fused, train) -> logits`, a dict target -> head for several targets, or None.
      normalisation: stream -> a name of `vmmjax.ops.preprocess`.
      debug: whether every batch is looked at for values that normalisation cannot give, which costs time.
      stream_heads: stream -> a head, or heads by target, that sees that stream's tokens alone; empty for none.
      fixed: streams whose encoders are never in training mode: no dropout, running statistics as they are.
    """

    encoders: Mapping[str, nn.Module]
    fusion: nn.Module
    head: Any
    normalisation: Mapping[str, str]
    debug: bool = False
    stream_heads: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fixed: Collection[str] = ()

    @nn.nowrap
    def preprocess(self, batch: Batch) -> dict[str, jax.Array]:
        """A raw clip batch with the model's streams normalised to float32; nothing else is changed.

        Where a stream is a waveform of which log-mels are made, its `valid` becomes that of their frames.

        Raises:
          UserError: for floats where uint8 is meant.
        """
        done = dict(batch)
        for name in [name for name in self.encoders if name in batch]:
            way, key, x = self.normalisation[name], f'valid/{name}', batch[name]
            if way in FRONT_ENDS and key in batch:
                # What is outside the clip is silent: a frame at its end hears some of it.
                x = jnp.where(batch[key], x, 0)
                done[key] = valid_frames(batch[key], way)
            done[name] = preprocess(way, x, batch.get(key))
        return done

    def __call__(self, batch: Batch, train: bool) -> Outputs:
        """Applies the model.

        Args:
          batch: streams as float arrays, texts as integers, see `preprocess`. `valid/<stream>` bool (B, T) (of a
            text: `<stream>_mask` (B, L)), `present/<stream>` bool (B,) and `mask` (B,) may be missing: all valid,
            present where the stream's key is there, no padding. A stream that is missing is absent from every row.
            `keep/<stream>` int32 (B, K), where it is there, names the patches that the stream's encoder sees.
          train: training mode; needs a `dropout` key and `mutable=['batch_stats']`.

        Raises:
          UserError: where no stream is there, one has integers, or one does not fit its encoder; for a fusion of
            scores beside heads of streams; where an encoder or the fusion returns something else than it must.
        """
        there = [name for name in self.encoders if name in batch]
        if not there or (self.is_initializing() and len(there) < len(self.encoders)):
            raise UserError(f'The batch has {", ".join(sorted(batch)) or "nothing"}; the model needs '
                            f'{"every" if there else "at least one"} stream of {", ".join(self.encoders)}.')
        rows = batch[there[0]].shape[0]
        mask = batch['mask'] > 0 if 'mask' in batch else jnp.ones(rows, bool)
        keep = {name: {'keep': batch[f'keep/{name}']} for name in there if f'keep/{name}' in batch}
        encoded = self._encode({name: self._input(name, batch, mask) for name in there}, keep, train)
        tokens: dict[str, Tokens] = {}
        present: dict[str, jax.Array] = {}
        endpoints: dict[str, jax.Array] = {}
        for name, encoder in self.encoders.items():
            if name not in batch:
                tokens[name] = Tokens(jnp.zeros((rows, 1, encoder.features)), jnp.zeros((rows, 1), bool))
                present[name] = jnp.zeros(rows, bool)
                continue
            tokens[name], found = check_encoded(name, encoder, encoded[name])
            # A sound shorter than one of its encoder's patches is as good as absent.
            present[name] = tokens[name].mask.any(1)
            endpoints |= {f'{name}/{key}': value for key, value in found.items()}
            endpoints[f'{name}/tokens'] = tokens[name].x
        fused = check_fused(self.fusion, self.fusion(tokens, present, train))
        logits = fused.logits
        if logits is None and self.head is not None:
            logits = _scored(self.head, fused, train)
        if fused.stream_logits and self.stream_heads:
            raise UserError('A fusion of scores has a head of its own for every stream; leave stream_head empty.')
        stream_logits = fused.stream_logits or {
            name: _scored(head, Fused(tokens[name], tokens[name].mean()), train)
            for name, head in self.stream_heads.items()}
        each = any(leaf.ndim == 3 for leaf in jax.tree.leaves(logits))
        return Outputs(logits, fused.features, endpoints, present, stream_logits,
                       {name: some.mean() for name, some in tokens.items()}, fused.tokens.mask if each else None,
                       fused.tokens, {name: tokens[name].mask for name in there}, fused.timed)

    @nn.nowrap
    def _input(self, name: str, batch: Batch, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What the encoder of a stream sees, and what of it is valid (B, T)."""
        x = batch[name]
        self._check(name, x)
        valid = jnp.broadcast_to(mask[:, None], x.shape[:2])
        for key in (f'valid/{name}', f'{name}_mask'):
            if key in batch:
                valid &= batch[key] > 0
        if f'present/{name}' in batch:
            valid &= batch[f'present/{name}'][:, None]
        # The padding of a text keeps its words: a published network's states there are part of its output.
        kept = valid.any(1, keepdims=True) if self.normalisation[name] == 'ids' else valid
        x = jnp.where(kept.reshape(kept.shape + (1,) * (x.ndim - 2)), x, 0)
        self._check_range(name, x)
        return x, valid

    @nn.nowrap
    def _encode(self, inputs: Mapping[str, tuple[jax.Array, jax.Array]], keep: Mapping[str, dict[str, jax.Array]],
                train: bool) -> dict[str, Encoded]:
        """What the encoders make of the streams that are there."""
        if hasattr(self.fusion, 'encode'):
            encoded: dict[str, Encoded] = self.fusion.encode(
                {name: self._stages(name, *given, train and name not in self.fixed)
                 for name, given in inputs.items()})
            return encoded
        encoded = {}
        for name, (x, valid) in inputs.items():
            with _fits(name, x):
                encoded[name] = self.encoders[name](x, valid, train and name not in self.fixed, **keep.get(name, {}))
        return encoded

    @nn.nowrap
    def _stages(self, name: str, x: jax.Array, valid: jax.Array, train: bool) -> Stages:
        encoder = self.encoders[name]
        with _fits(name, x):
            if callable(getattr(encoder, 'stages', None)):
                return (yield from encoder.stages(x, valid, train))
            return encoder(x, valid, train)

    @nn.nowrap
    def init_stream(self, batch: Batch | int) -> Any:
        """What `stream_step` carries from frame to frame, before the first.

        Args:
          batch: a clip batch whose stream has frames of the size to come, however many; or a number of rows, for
            frames of 224 x 224 x 3.

        Raises:
          UserError: for a model that cannot be streamed; it says what to change.
        """
        name = self._streamed()
        rows, _, *frame = (batch, 1, 224, 224, 3) if isinstance(batch, int) else batch[name].shape

        def first() -> Any:
            clip = {name: jnp.zeros((rows, 1, *frame))}
            variables = self.init(jax.random.key(0), clip, train=False)
            return self.apply(variables, clip, train=False, mutable=['stream'])[1]

        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), {'stream': {}} | jax.eval_shape(first))

    @nn.nowrap
    def stream_step(self, variables: Any, carry: Any, frame: jax.Array) -> tuple[Any, jax.Array]:
        """One frame of a stream; for `jax.jit` and, with the variables bound, `jax.lax.scan`.

        Args:
          variables: of the model.
          carry: of the frame before, or of `init_stream`.
          frame: float (B, H, W, C), normalised.

        Returns:
          The carry for the next frame, and the frame's logits (B, classes); their mean over the frames of a clip is
          what the model gives for the clip.

        Raises:
          UserError: see `init_stream`; for frames of another size than it was told.
        """
        outputs, kept = self.apply({**variables, **carry}, {self._streamed(): frame[:, None]}, train=False,
                                   mutable=['stream'])
        return carry | kept, outputs.logits

    @nn.nowrap
    def _streamed(self) -> str:
        if len(self.encoders) > 1:
            raise UserError(f'A model of {", ".join(self.encoders)} cannot be streamed frame by frame; stream a model '
                            f'of one stream.')
        (name, encoder), = self.encoders.items()
        if not hasattr(encoder, 'looks_ahead'):
            raise UserError(f'{type(encoder).__name__} does not take a clip frame by frame and cannot be streamed; '
                            f"take a network that does, such as tsm_mobilenet_v2 with shift='uni'.")
        if encoder.looks_ahead:
            raise UserError(f'This {type(encoder).__name__} needs frames that are still to come and cannot be '
                            f'streamed; build it with {encoder.looks_ahead}.')
        if self.head is None:
            raise UserError('A model without a head has no logits to stream; build it with num_classes.')
        return name

    @nn.nowrap
    def _check(self, name: str, x: jax.Array) -> None:
        way = self.normalisation[name]
        if jnp.issubdtype(x.dtype, jnp.floating) == (way == 'ids'):
            raise UserError(f'The stream {name!r} holds {x.dtype}; normalise it with model.preprocess(batch).')
        if x.ndim < 2:
            raise UserError(f'The stream {name!r} has shape {x.shape}, without an axis for rows and one for time.')

    @nn.nowrap
    def _check_range(self, name: str, x: jax.Array) -> None:
        """Refuses pictures as floats of 0..255, where values are known; under `jit` only with `debug`."""
        largest = LARGEST.get(self.normalisation[name])
        if largest is None:
            return
        if not isinstance(x, jax.core.Tracer):
            _refuse_beyond(jnp.abs(x).max(), name=name, limit=_FAR * largest)
        if self.debug:
            jax.debug.callback(_refuse_beyond, jnp.abs(x).max(), name=name, limit=1.5 * largest)


def _scored(head: Any, fused: Fused, train: bool) -> Any:
    if isinstance(head, Mapping):
        return {target: one(fused, train) for target, one in head.items()}
    return head(fused, train)


@contextlib.contextmanager
def _fits(name: str, x: jax.Array) -> Iterator[None]:
    """Says which stream it is whose channels are not those that the parameters were made for."""
    try:
        yield
    except flax.errors.ScopeParamShapeError as error:
        raise UserError(f'The stream {name!r} has shape {x.shape}, which the parameters do not fit: '
                        f'{str(error).partition(" (http")[0]} Is the number of channels right?') from error


def _refuse_beyond(largest: Any, name: str, limit: float) -> None:
    if largest > limit:
        raise UserError(f'The stream {name!r} has values up to {float(largest):g}, and normalised ones are below '
                        f'{limit:g}; normalise it with model.preprocess(batch).')
