"""TV-L1 optical flow on the device, with OpenCV's conventions.

The energy is that of Zach, Pock and Bischof ("A duality based approach for realtime TV-L1 optical flow", DAGM
2007): total variation of the flow, and the absolute difference of the pictures, made linear around the flow so
far. The order of the work (pyramid, warps, median filter, stopping) is that of OpenCV's `DualTVL1OpticalFlow`,
which follows Sánchez, Meinhardt-Llopis and Facciolo ("TV-L1 optical flow estimation", IPOL 2013) otherwise.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vmmjax.errors import UserError
from vmmjax.ops.planes import bordered, median, resize, sample

_SMALLEST = 16  # Pixels: no level of the pyramid is smaller.

Planes = tuple[jax.Array, jax.Array]
"""Two float32 (H, W): something horizontal, something vertical."""


@dataclasses.dataclass(frozen=True)
class Parameters:
    """What TV-L1 can be told; the defaults are OpenCV's published ones. Its gamma is 0, and it starts from no motion.

    Attributes:
      tau: time step of the dual variables; at most 1/4 for convergence.
      lambda_: weight of the pictures' difference; the smaller, the smoother the flow.
      theta: how tightly the two halves of the energy are coupled.
      scales: levels of the pyramid at most; none is smaller than 16 pixels.
      warps: times that the second picture is warped, on each level.
      epsilon: pixels; a warp ends when a step moves the flow by less, in the root mean square.
      inner_iterations: steps between two median filters.
      outer_iterations: median filters of a warp, at most.
      scale_step: size of a level as a fraction of the one below.
      median: side of the median filter in pixels; 1 for none.
    """

    tau: float = 0.25
    lambda_: float = 0.15
    theta: float = 0.3
    scales: int = 5
    warps: int = 5
    epsilon: float = 0.01
    inner_iterations: int = 30
    outer_iterations: int = 10
    scale_step: float = 0.8
    median: int = 5

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name != 'epsilon'):
                raise UserError(f'TV-L1 was given {field.name}={value}; it must be above 0.')
        if self.scale_step >= 1:
            raise UserError(f'TV-L1 was given scale_step={self.scale_step}; a level must be smaller than the last: '
                            f'choose one below 1.')
        if self.median not in (1, 3, 5):
            raise UserError(f'TV-L1 was given median={self.median}; choose 1 (no filter), 3 or 5.')


@functools.partial(jax.jit, static_argnames='parameters')
def tv_l1(first: jax.Array, second: jax.Array, parameters: Parameters = Parameters()) -> jax.Array:
    """Motion from each picture to its partner.

    A CPU works through the pairs one after another, each for as many steps as it needs; elsewhere all go
    together until the last has converged, and those that had rest. A pair's flow depends on nothing but the pair.

    Args:
      first: grey pictures, uint8 or float of 0..255, (B, H, W).
      second: likewise.
      parameters: static under `jax.jit`.

    Returns:
      float32 (B, H, W, 2), pixels, first to the right, then down: what is at x in `first` is at x + flow in `second`.

    Raises:
      UserError: for pictures of other or of different shapes.
    """
    if first.ndim != 3 or first.shape != second.shape:
        raise UserError(f'TV-L1 was given pictures of shape {first.shape} and {second.shape}; '
                        f'both must be grey, (B, H, W), and alike.')
    pairs = first.astype(jnp.float32), second.astype(jnp.float32)
    if jax.default_backend() == 'cpu':
        return lax.map(lambda pair: _pair_flow(pair[0], pair[1], parameters), pairs)
    return jax.vmap(lambda first, second: _pair_flow(first, second, parameters))(*pairs)


def _pair_flow(first: jax.Array, second: jax.Array, parameters: Parameters) -> jax.Array:
    """(H, W) and (H, W) -> (H, W, 2), from the coarsest level to the finest."""
    step = parameters.scale_step
    levels = [(first, second)]
    for _ in range(1, parameters.scales):
        height, width = (round(side * step) for side in levels[-1][0].shape)
        if min(height, width) < _SMALLEST:
            break
        coarse, coarse_second = (resize(picture, (height, width), (1 / step, 1 / step)) for picture in levels[-1])
        levels.append((coarse, coarse_second))
    flow: Planes = (jnp.zeros_like(levels[-1][0]), jnp.zeros_like(levels[-1][0]))
    for level, (first, second) in enumerate(reversed(levels)):
        if level:
            (height, width), (from_height, from_width) = first.shape, flow[0].shape
            u, v = (resize(plane, (height, width), (from_height / height, from_width / width)) for plane in flow)
            flow = u / step, v / step
        flow = _level_flow(first, second, flow, parameters)
    return jnp.stack(flow, -1)


class _State(NamedTuple):
    """What the iterations carry: the flow, the dual variables of its parts, and how far the last step went.

    Attributes:
      flow: the two components.
      duals: for each component two planes, the dual of its gradient.
      moved: float32, sum over the pixels of the square of the last step.
    """

    flow: Planes
    duals: tuple[Planes, Planes]
    moved: jax.Array


def _level_flow(first: jax.Array, second: jax.Array, flow: Planes, parameters: Parameters) -> Planes:
    """Flow on one level of the pyramid, from the one of the level above."""
    enough = np.float32(parameters.epsilon**2 * first.size)
    planes = [bordered(plane) for plane in (second, *_central_gradient(second))]

    def warp(state: _State, _: None) -> tuple[_State, None]:
        warped, right, down = sample(planes, state.flow)
        rest = warped - right * state.flow[0] - down * state.flow[1] - first
        squared = jnp.maximum(right * right + down * down, jnp.finfo(jnp.float32).eps)

        def step(state: _State) -> _State:
            return _step(state, (right, down), squared, rest, parameters)

        def filter_and_step(state: _State) -> _State:
            u, v = state.flow
            state = state._replace(flow=(median(u, parameters.median), median(v, parameters.median)))
            return _repeat(step, state, enough, parameters.inner_iterations)

        state = state._replace(moved=jnp.float32(jnp.inf))
        return _repeat(filter_and_step, state, enough, parameters.outer_iterations), None

    nothing = jnp.zeros_like(first)
    start = _State(flow, ((nothing, nothing), (nothing, nothing)), jnp.float32(0))
    return lax.scan(warp, start, length=parameters.warps)[0].flow


def _repeat(function: Callable[[_State], _State], state: _State, enough: np.float32, times: int) -> _State:
    """Until the flow hardly moves, at most so many times."""
    return lax.while_loop(lambda carry: (carry[0].moved > enough) & (carry[1] < times),
                          lambda carry: (function(carry[0]), carry[1] + 1), (state, 0))[0]


def _step(state: _State, gradient: Planes, squared: jax.Array, rest: jax.Array, parameters: Parameters) -> _State:
    """One step down the energy: towards the pictures' agreement, then the dual variables' ascent.

    Args:
      state: before.
      gradient: of the warped picture.
      squared: its squared length, above 0.
      rest: the part of the linear difference of the pictures that does not depend on the flow.
      parameters: of the method.
    """
    reach = np.float32(parameters.lambda_ * parameters.theta)
    pace = np.float32(parameters.tau / parameters.theta)
    difference = rest + (gradient[0] * state.flow[0] + gradient[1] * state.flow[1])
    towards = jnp.clip(-difference / squared, -reach, reach)
    flow, duals, moved = [], [], jnp.float32(0)
    for old, slope, (right, down) in zip(state.flow, gradient, state.duals, strict=True):
        new = old + towards * slope + np.float32(parameters.theta) * (_backward(right, 1) + _backward(down, 0))
        moved += jnp.sum((new - old)**2)
        to_right, below = _forward(new, 1), _forward(new, 0)
        length = 1 + pace * jnp.sqrt(to_right * to_right + below * below)
        flow.append(new)
        duals.append(((right + pace * to_right) / length, (down + pace * below) / length))
    return _State((flow[0], flow[1]), (duals[0], duals[1]), moved)


def _forward(x: jax.Array, axis: int) -> jax.Array:
    """The next pixel less this one; 0 at the last."""
    return jnp.pad(jnp.diff(x, axis=axis), [(0, int(axis == i)) for i in range(2)])


def _backward(x: jax.Array, axis: int) -> jax.Array:
    """This pixel less the one before, which is 0 at the first."""
    return jnp.diff(jnp.pad(x, [(int(axis == i), 0) for i in range(2)]), axis=axis)


def _central_gradient(x: jax.Array) -> Planes:
    """Half the difference of the neighbours; beyond the edge it goes on with its value."""
    around = jnp.pad(x, 1, mode='edge')
    return (around[1:-1, 2:] - around[1:-1, :-2]) / 2, (around[2:, 1:-1] - around[:-2, 1:-1]) / 2
