"""Encoders in stages: what one has made so far can be looked at, and changed, before its next layer.

An encoder that can be driven so has a method `stages(x, valid, train)`, a generator. It yields a `Stage` at each of
its endpoints, goes on with the array that is sent back, and returns what calling the encoder would.
"""

from collections.abc import Generator
from typing import NamedTuple

import jax

from vmmjax.errors import UserError, did_you_mean
from vmmjax.models.tokens import Tokens


class Stage(NamedTuple):
    """An endpoint that has been reached.

    Attributes:
      name: of the endpoint.
      x: (B, N, ..., C): time is the second axis, and places, where there are any, lie between it and the channels.
      mask: bool (B, N), which times stand for something.
    """

    name: str
    x: jax.Array
    mask: jax.Array


Encoded = tuple[Tokens, dict[str, jax.Array]]
Stages = Generator[Stage, jax.Array, Encoded]


class Journey:
    """An encoder on its way from one endpoint to another.

    Args:
      stream: what it encodes, for the message.
      stages: see the module.
    """

    def __init__(self, stream: str, stages: Stages) -> None:
        self._stream, self._stages = stream, stages
        self._next: jax.Array | None = None

    def stop(self, endpoint: str) -> Stage:
        """Goes on to an endpoint.

        Raises:
          UserError: where it does not come by it.
        """
        passed = []
        try:
            while True:
                stage = self._step()
                if stage.name == endpoint:
                    return stage
                passed.append(stage.name)
        except StopIteration:
            raise UserError(f'The encoder of the stream {self._stream!r} does not come by an endpoint {endpoint!r}: '
                            f'{did_you_mean(endpoint, passed)}. Endpoints are named in the order of the layers.'
                            ) from None

    def replace(self, x: jax.Array) -> None:
        """Puts something else in the place of what the last stage was given."""
        self._next = x

    def end(self) -> Encoded:
        """Goes on to the end: the encoder's tokens and endpoints."""
        try:
            while True:
                self._step()
        except StopIteration as done:
            encoded: Encoded = done.value
            return encoded

    def _step(self) -> Stage:
        # What a generator that has just begun is sent must be None.
        stage = self._stages.send(self._next)  # type: ignore[arg-type]
        self._next = stage.x
        return stage


def run(stages: Stages) -> Encoded:
    """An encoder's tokens and endpoints, with nothing done on the way."""
    return Journey('', stages).end()
