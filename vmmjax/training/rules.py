"""Sets of sharding rules that `config.sharding` takes by name."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Rule(NamedTuple):
    """Splits arrays where it fits, unlike a rule of the user's own, which is an error where it does not.

    Attributes:
      pattern: searched in the array's path.
      axes: mesh axis or None for each axis of the array; arrays with another number of axes are not meant.
      smallest: numbers that an array must have for the traffic to be worth it.
    """

    pattern: str
    axes: tuple[str | None, ...]
    smallest: int = 0

    def fits(self, path: str, shape: Sequence[int], mesh: Mapping[str, int]) -> bool:
        """Whether an array is split by it; `mesh` is axis -> devices."""
        size = 1
        for length, axis in zip(shape, self.axes, strict=False):
            size *= length
            if axis and (mesh.get(axis, 1) == 1 or length % mesh[axis]):
                return False
        return len(shape) == len(self.axes) and size >= self.smallest and re.search(self.pattern, path) is not None


READY: dict[str, tuple[Rule, ...]] = {
    # Shoeybi et al. 2019, section 3: the first product of attention and of the perceptron by its outputs (whole heads,
    # where their number divides), the second by its inputs: one sum over the devices for each. Then words, and every
    # other dense layer of a million weights.
    'tensor_parallel': (
        Rule(r'(^|/)(query|key|value|intermediate)/kernel$', (None, 'model')),
        Rule(r'(^|/)(query|key|value|intermediate)/bias$', ('model',)),
        Rule(r'(^|/)output/kernel$', ('model', None)),
        Rule(r'(^|/)(kernel|embedding)$', (None, 'model'), 2 ** 20)),
}
