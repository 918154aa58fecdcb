"""Views of a clip batch, for tasks that compare them."""

import re
from collections.abc import Mapping
from typing import TypeVar

from vmmjax.errors import UserError

_FURTHER = re.compile(r'view\d+/')
_Array = TypeVar('_Array')


def view(batch: Mapping[str, _Array], k: int) -> dict[str, _Array]:
    """One view of a batch, as an ordinary clip batch for the same encoders.

    The streams of which there is a view k take its arrays and masks; streams of which there is none, and targets,
    `mask`, `id` and `row`, are those of view 0. It works on NumPy and JAX arrays, in a compiled function, too.

    Args:
      batch: from a pipeline whose streams have `views`, see `pipeline.streams.StreamConfig`: beside the keys of view 0
        it has `view<k>/<key>` for k >= 1.
      k: which view; 0 leaves the others out.

    Returns:
      The arrays of the batch, none of them under `view<k>/`.

    Raises:
      UserError: where no stream has a view k.
    """
    prefix = f'view{k}/'
    chosen = {key.removeprefix(prefix): values for key, values in batch.items() if key.startswith(prefix)}
    if k and not chosen:
        raise UserError(f'The batch has no view {k}; set data.streams.<name>.views to at least {k + 1}. (Batches of '
                        f'evaluation have view 0 alone.)')
    return {key: values for key, values in batch.items() if not _FURTHER.match(key)} | chosen
