"""Multiplications of a function, counted before it is compiled."""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

from vmmjax.models.convolution import on_platform


def macs(function: Callable[..., Any], *arguments: Any) -> int:
    """Multiply-accumulates of all convolutions and matrix products of a call, as papers count them.

    Zeros that convolutions are padded with count, activations, normalisation and transforms of Fourier do not. What is
    repeated counts as often as it is; of branches the costliest does.

    Args:
      function: what is called; nothing is computed.
      *arguments: arrays, or their shapes.

    Raises:
      ValueError: for a loop whose number of turns is only known when it runs.
    """
    # On CPUs and TPUs convolutions are written as other sums, with zeros of their own.
    with on_platform('gpu'):
        return _of(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of(jaxpr: Any) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, parameters = equation.primitive.name, equation.params
    if name == 'dot_general':
        (contracted, _), _ = parameters['dimension_numbers']
        left = equation.invars[0].aval.shape
        return math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)
    if name == 'conv_general_dilated':
        kernel = equation.invars[1].aval.shape
        outputs = kernel[parameters['dimension_numbers'].rhs_spec[0]]
        return math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) // outputs
    inner = [_of(each) for each in core.jaxprs_in_params(parameters)]
    if name == 'while' and any(inner):
        raise ValueError('A loop whose number of turns is not known has no number of multiplications.')
    return max(inner, default=0) if name == 'cond' else sum(inner) * parameters.get('length', 1)
