"""From fused tokens to text, token by token: decoders, CTC, and how a text is found that they find likely.

A decoder is a linen module with a field `vocabulary` and three methods:

- `__call__(ids (B, L), memory: Tokens, train) -> logits (B, L, V)`: of what follows each token, given those before it;
- `begin(memory, length) -> (fixed, state)`, trees of arrays (B, ...): what of the memory every step reads, and what
  changes from step to step, for texts of up to `length` tokens;
- `step(ids (B,), place, fixed, state) -> (logits (B, V), state)`: the same logits one place at a time.
"""

import functools
from typing import Any

from vmmjax.models.decoders.recurrent import RecurrentDecoder
from vmmjax.models.decoders.transformer import TransformerDecoder
from vmmjax.models.decoders.writer import Writer

DECODERS: dict[str, Any] = {
    'gru': RecurrentDecoder,
    'lstm': functools.partial(RecurrentDecoder, cell='lstm'),
    'rnn': functools.partial(RecurrentDecoder, cell='rnn'),
    'transformer': TransformerDecoder,
}

__all__ = ['DECODERS', 'RecurrentDecoder', 'TransformerDecoder', 'Writer']
