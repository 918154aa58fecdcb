"""What tests of networks of frames share."""

from functools import cache
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from vmmjax.models import MultimodalModel, create_model

FAST = {'xla_backend_optimization_level': 0}


def drawn(shapes: Any) -> Any:
    """Variables of these shapes, away from the special values of initialisation; nothing is compiled for them."""
    random = np.random.default_rng(0)

    def of(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if path[-1].key == 'kernel':
            values = random.standard_normal(leaf.shape, np.float32) * np.sqrt(2 / np.prod(leaf.shape[:-1]))
        else:
            low, high = {'var': (0.5, 1.5), 'scale': (0.3, 0.8)}.get(path[-1].key, (-0.1, 0.1))
            values = random.uniform(low, high, leaf.shape)
        return jnp.asarray(values, leaf.dtype)

    return jax.tree_util.tree_map_with_path(of, shapes)


@cache
def built(name: str, size: int = 32, **options: Any) -> tuple[MultimodalModel, Any]:
    """A model of five classes without dropout, and its variables as `drawn`."""
    model = create_model(name, num_classes=5, dropout=0.0, **options)
    return model, drawn(jax.eval_shape(lambda key: model.init(
        key, {'rgb': jnp.zeros((1, 1, size, size, 3))}, train=False), jax.random.key(0)))


def clips(rows: int, frames: int, size: int = 32, seed: int = 0) -> jax.Array:
    """Normalised noise (B, T, H, W, 3)."""
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, (rows, frames, size, size, 3)), jnp.float32)


def assert_near(found: Any, expected: Any, tolerance: float, floor: float = 1e-3) -> None:
    """Trees of the same arrays, relative to each array's largest value, or to `floor` where that is less."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        a, b, rtol=0, atol=tolerance * max(floor, np.abs(b).max())), found, expected)


def assert_streams(model: MultimodalModel, variables: Any, x: jax.Array, *, scanned: bool = True) -> None:
    """Streaming, frame by frame and in a scan where asked for, is the offline network."""
    outputs = jax.jit(lambda v, x: model.apply(v, {'rgb': x}, train=False), compiler_options=FAST)(variables, x)
    step = jax.jit(model.stream_step, compiler_options=FAST)
    carry, logits = model.init_stream({'rgb': x}), []
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), carry)
    for frame in jnp.moveaxis(x, 1, 0):
        carry, each = step(variables, carry, frame)
        logits.append(each)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), carry) == shapes
    head = variables['params']['head']['logits']
    expected = jnp.moveaxis(outputs.endpoints['rgb/tokens'] @ head['kernel'] + head['bias'], 1, 0)
    assert_near(jnp.stack(logits), expected, 1e-5)
    assert_near(sum(logits) / len(logits), outputs.logits, 1e-5)
    if not scanned:
        return
    scan = jax.jit(lambda v, c, frames: jax.lax.scan(lambda c, frame: model.stream_step(v, c, frame), c, frames),
                   compiler_options=FAST)
    ended, found = scan(variables, model.init_stream({'rgb': x}), jnp.moveaxis(x, 1, 0))
    assert_near(found, expected, 1e-5)
    assert_near(ended, carry, 1e-5)


def training(model: MultimodalModel) -> Any:
    """(variables, batch) -> (gradients, outputs, updated statistics), compiled."""
    def run(variables: Any, batch: Any) -> Any:
        def loss(params: Any) -> Any:
            outputs, state = model.apply({**variables, 'params': params}, batch, train=True, mutable=['batch_stats'],
                                         rngs={'dropout': jax.random.key(1)})
            return (outputs.logits * jnp.cos(jnp.arange(outputs.logits.size)).reshape(outputs.logits.shape)).sum(), (
                outputs.logits, outputs.features, state)

        return jax.grad(loss, has_aux=True)(variables['params'])

    return jax.jit(run, compiler_options=FAST)


def assert_invalid_frames_change_nothing(name: str, size: int = 32, **options: Any) -> None:
    """In training and in use: frames that are not valid at the end, a row without any, and what they hold."""
    model, variables = built(name, size, **options)
    run = training(model)
    x = clips(2, 3, size)
    gradients, (logits, features, state) = run(variables, {'rgb': x})
    longer = jnp.concatenate([jnp.concatenate([x, jnp.full_like(x[:, :2], jnp.nan)], 1), clips(1, 5, size, 7)])
    valid = jnp.asarray([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    padded, (many, more, moved) = run(variables, {'rgb': longer, 'valid/rgb': valid})
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((padded, many, more, moved)))
    # Few values a BatchNorm amplify rounding; what leaked would be larger by far.
    assert_near((many[:2], more[:2]), (logits, features), 1e-3)
    assert_near(moved, state, 1e-3)
    # All at once: a value beside the kink of a ReLU may fall on its other side.
    (found, _), (expected, _) = map(jax.flatten_util.ravel_pytree, (padded, gradients))
    assert jnp.linalg.norm(found - expected) <= 1e-2 * jnp.linalg.norm(expected)
    use = jax.jit(lambda batch: model.apply(variables, batch, train=False).logits, compiler_options=FAST)
    few = use({'rgb': x})
    many = use({'rgb': longer, 'valid/rgb': valid})
    assert_near(many[:2], few, 1e-5)
    assert not many[2].any()


def assert_half_precision_agrees(name: str, size: int = 32, **options: Any) -> None:
    """bf16 within 2 % of the largest logit, and the same first class where the margin is more than that."""
    model, variables = built(name, size, **options)
    half, _ = built(name, size, dtype=jnp.bfloat16, **options)
    x = clips(4, 2, size)
    full, rough = (np.asarray(jax.jit(lambda v, x, m=m: m.apply(v, {'rgb': x}, train=False).logits,
                                      compiler_options=FAST)(variables, x)) for m in (model, half))
    assert rough.dtype == np.float32
    bound = 0.02 * np.abs(full).max()
    assert np.abs(full - rough).max() <= bound
    best = np.sort(full, -1)
    sure = best[:, -1] - best[:, -2] > bound
    assert (full.argmax(-1) == rough.argmax(-1))[sure].all()
