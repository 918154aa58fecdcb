"""What encoders, fusions and heads must look like; a user's own that does not is an error that shows the signature."""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.encoder_steps import Encoded
from vmmjax.models.tokens import Fused, Tokens

_ARGUMENTS = {'encoder': ('x', 'valid', 'train'), 'fusion': ('tokens', 'present', 'train'), 'head': ('fused', 'train')}
_RULES = {
    'encoder': 'an encoder is a flax.linen.Module with a field `features: int` and `__call__(self, x, valid, train) -> '
               '(Tokens(x (B, N, features), mask bool (B, N)), {endpoint: array})`',
    'fusion': 'a fusion is a flax.linen.Module with `__call__(self, tokens: {stream: Tokens}, present: {stream: bool '
              '(B,)}, train) -> Fused(Tokens(x (B, N, D), mask bool (B, N)), features (B, D))`',
    'head': 'a head is a flax.linen.Module with a field `num_classes: int` and `__call__(self, fused, train) -> logits '
            '(B, num_classes)`',
}
_FIELDS = {'encoder': 'features', 'head': 'num_classes'}


def check_module(what: str, name: str, module: Any) -> None:
    """Checks what a config's entry has become, before it is called.

    Args:
      what: 'encoder', 'fusion' or 'head'.
      name: as in the config, for the message.
      module: what was built.

    Raises:
      UserError: where it is no Flax module, lacks its field, or is called with other arguments.
    """
    fault = _fault(what, module)
    if fault:
        raise UserError(f'The {what} {name!r} {fault}; {_RULES[what]}.')


def _fault(what: str, module: Any) -> str:
    if not isinstance(module, nn.Module):
        return f'is a {type(module).__name__} and no flax.linen.Module'
    field = _FIELDS.get(what)
    if field is not None and not isinstance(getattr(module, field, None), int):
        return f'has no whole number {field!r}'
    if not callable(module):
        return 'has no __call__'
    wanted = _ARGUMENTS[what]
    signature = inspect.signature(module.__call__)
    try:
        signature.bind(*wanted)
    except TypeError:
        return f'has __call__{signature}'
    # The same names in another order.
    if [key for key in signature.parameters if key in wanted] != [key for key in wanted if key in signature.parameters]:
        return f'has __call__{signature}'
    return ''


def check_encoded(stream: str, encoder: nn.Module, encoded: Any) -> Encoded:
    """Returns what an encoder gave for a stream, checked.

    Args:
      stream: its name, for the message.
      encoder: the module, with its `features`.
      encoded: what calling it returned.

    Raises:
      UserError: where that is not (Tokens (B, N, features) with a mask bool (B, N), endpoints).
    """
    fault = ''
    if not (isinstance(encoded, tuple) and len(encoded) == 2 and isinstance(encoded[0], Tokens)
            and isinstance(encoded[1], Mapping)):
        fault = _described(encoded)
    else:
        fault = _tokens_fault(encoded[0])
        if not fault and encoded[0].x.shape[-1] != encoder.features:
            fault = f'tokens of length {encoded[0].x.shape[-1]} and has features={encoder.features}'
    if fault:
        raise UserError(f'The encoder {type(encoder).__name__} of the stream {stream!r} returns {fault}; '
                        f'{_RULES["encoder"]}.')
    return encoded[0], dict(encoded[1])


def check_fused(fusion: nn.Module, fused: Any) -> Fused:
    """Returns what a fusion gave, checked.

    Args:
      fusion: the module, for the message.
      fused: what calling it returned.

    Raises:
      UserError: where that is not `Fused` with tokens (B, N, D), a mask bool (B, N) and features (B, D).
    """
    if not isinstance(fused, Fused):
        fault = _described(fused)
    elif not isinstance(fused.tokens, Tokens):
        fault = f'Fused whose tokens are {_described(fused.tokens)}'
    else:
        fault = _tokens_fault(fused.tokens)
        if not fault and getattr(fused.features, 'ndim', 0) != 2:
            fault = f'Fused whose features are {_described(fused.features)}'
    if fault:
        raise UserError(f'The fusion {type(fusion).__name__} returns {fault}; {_RULES["fusion"]}.')
    return fused


def _tokens_fault(tokens: Tokens) -> str:
    x, mask = tokens.x, tokens.mask
    if getattr(x, 'ndim', 0) == 3 and getattr(mask, 'shape', None) == x.shape[:2] and mask.dtype == bool:
        return ''
    return f'Tokens({_described(x)}, {_described(mask)})'


def _described(value: Any) -> str:
    """A value of any type in a few words: arrays by type and shape, tuples by their members."""
    if isinstance(value, jax.Array):
        return f'{value.dtype}{list(value.shape)}'
    if isinstance(value, tuple):
        return f'({", ".join(map(_described, value))})'
    return type(value).__name__
