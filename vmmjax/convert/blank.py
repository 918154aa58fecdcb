"""A network as a file describes it, before it has weights."""

import functools
from collections.abc import Collection
from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from vmmjax.convert.format import Network
from vmmjax.convert.match import Wanted
from vmmjax.errors import UserError
from vmmjax.models import zoo

IMPOSSIBLE = (TypeError, ValueError, LookupError, ArithmeticError, flax.errors.FlaxError)
"""What sizes that belong to no network make code raise that counts on them."""


class Blank:
    """The model, and the variables that it wants.

    Attributes:
      model: from `create_model`.
      config: the `config.model` that makes it.
      wanted: path of a variable -> its shape and dtype.
    """

    def __init__(self, network: Network) -> None:
        """Builds the model; nothing is computed.

        Raises:
          UserError: for an unknown name or option, and where the sizes make no network.
        """
        ((stream, shape),) = network.inputs.items()
        options = network.options | {'stream': stream}
        try:
            self.model = zoo.create_model(network.name, **options)
            dtype = jnp.int32 if self.model.normalisation[stream] == 'ids' else jnp.float32
            self._batch = {stream: jax.ShapeDtypeStruct(shape, dtype)}
            self._init = functools.partial(self.model.init, train=False)
            shapes = flatten_dict(jax.eval_shape(self._init, jax.random.key(0), self._batch), sep='/')
        except IMPOSSIBLE as error:
            raise UserError(f'The sizes of {describe(network)} make no network: {str(error)[:300]}.') from error
        self.wanted: Wanted = {path: (leaf.shape, leaf.dtype) for path, leaf in shapes.items()}
        self.config = zoo.single(network.name, **{key: value for key, value in options.items()
                                                  if key not in ('num_classes', 'dtype', 'param_dtype')})

    def draw(self, paths: Collection[str], seed: int) -> dict[str, jax.Array]:
        """Some variables as training would begin with them."""
        def init(key: jax.Array) -> dict[str, Any]:
            batch = {stream: jnp.zeros(leaf.shape, leaf.dtype) for stream, leaf in self._batch.items()}
            return {path: leaf for path, leaf in flatten_dict(self._init(key, batch), sep='/').items() if path in paths}

        # Drawing weights once is not worth half a minute of optimisation by the CPU's compiler.
        quick = {'xla_backend_optimization_level': 0} if jax.default_backend() == 'cpu' else None
        return jax.jit(init, compiler_options=quick)(jax.random.key(seed))


def describe(network: Network) -> str:
    """Name and options, for people."""
    return ', '.join([network.name, *(f'{key}={value!r}' for key, value in network.options.items())])
