"""Every network and every fusion is traced for a batch of any size, which is what an exported program takes."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import export

import vmmjax
from tests.models.test_fusion import CASES, COUNTS, SIZES
from tests.models.test_zoo import INPUTS
from vmmjax.models import Tokens, create
from vmmjax.models.convolution import on_platform
from vmmjax.models.fusion import FUSIONS
from vmmjax.models.zoo import MODELS
from vmmjax.ops.preprocess import PREPROCESS, preprocess

(ROWS,) = export.symbolic_shape('batch')
# Forms of a convolution, by a platform that has each; 'folded' is 'native' but for a few.
FORMS = dict(stacked='cpu', folded='tpu')


def spec(shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((ROWS, *shape), dtype)


def traced(model: Any, batch: dict[str, jax.ShapeDtypeStruct], form: str) -> Any:
    """The outputs' shapes."""
    one = {key: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype) for key, leaf in batch.items()}
    variables = jax.eval_shape(lambda batch: model.init(jax.random.key(0), batch, train=False), one)
    with on_platform(FORMS[form]):
        return jax.eval_shape(lambda variables, batch: model.apply(variables, batch, train=False), variables, batch)


# Deeper ones of a family, and those that are made of the same parts.
DEEPER = r'resnet(34|38|50|54|101)$|cnn1|_m1|^tsn_|mobilenet|^inception|_bn$|^gru$|^lstm$|_joint$|^vit$'
NETWORKS = [pytest.param(name, marks=pytest.mark.slow if re.search(DEEPER, name) else ())
            for name in vmmjax.list_models()]


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('name', NETWORKS)
def test_every_network(name: str, form: str) -> None:
    stream, classes = MODELS[name].stream, 5 if MODELS[name].num_classes else 0
    shape = (1024, 128) if name == 'ast' else INPUTS[stream][1:]
    batch = {stream: spec(shape, jnp.int32 if stream == 'text' else jnp.float32), f'present/{stream}': spec((), bool)}
    outputs = traced(vmmjax.create_model(name, num_classes=classes), batch, form)
    assert outputs.features.shape == (ROWS, outputs.features.shape[1])
    assert outputs.logits is None or outputs.logits.shape == (ROWS, classes)


@pytest.mark.parametrize('case', CASES)
def test_every_fusion(case: str) -> None:
    name, count, options, _ = CASES[case]
    streams = list(SIZES)[:count]
    fusion = FUSIONS[name](streams=tuple(streams), **options)

    def shapes(rows: Any) -> tuple[Any, Any]:
        tokens = {each: Tokens(jax.ShapeDtypeStruct((rows, COUNTS[each], SIZES[each]), jnp.float32),
                               jax.ShapeDtypeStruct((rows, COUNTS[each]), bool)) for each in streams}
        return tokens, {each: jax.ShapeDtypeStruct((rows,), bool) for each in streams}

    params = jax.eval_shape(lambda *given: fusion.init(jax.random.key(0), *given, False), *shapes(1))
    fused = jax.eval_shape(lambda params, *given: fusion.apply(params, *given, False), params, *shapes(ROWS))
    assert fused.features.shape[0] == fused.tokens.x.shape[0] == ROWS
    assert fused.logits is None or fused.logits.shape == (ROWS, 3)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('fusion', [
    dict(name='over_time', steps=4, join=dict(name='gated', features=4)),
    dict(name='hierarchical', join=dict(name='concat'), endpoints=dict.fromkeys('ab', ('stage_1', 'stage_2'))),
], ids=lambda fusion: fusion['name'])
def test_fusions_of_whole_encoders(fusion: dict[str, Any], form: str) -> None:
    small = dict(name='conv2d_audio', widths=(4, 4), features=8)
    model = create(dict(encoders=dict.fromkeys('ab', small), preprocess=dict.fromkeys('ab', 'none'), fusion=fusion,
                        head=dict(name='consensus')), 5)
    batch = {'a': spec((20, 16)), 'b': spec((20, 16)), 'present/b': spec((), bool)}
    assert traced(model, batch, form).logits.shape == (ROWS, 5)


@pytest.mark.parametrize('name', PREPROCESS)
def test_every_way_to_preprocess(name: str) -> None:
    shape, dtype = {'ids': ((7,), jnp.int32), 'none': ((9, 4), jnp.float32)}.get(
        name, ((4, 8, 8, 3), jnp.uint8) if name in ('centred', 'signed', 'imagenet', 'flow', 'flow_tsn')
        else ((48000,), jnp.float32))
    found = jax.eval_shape(lambda x: preprocess(name, x), spec(shape, dtype))
    assert found.shape[0] == ROWS
    assert found.ndim == max(2 + (dtype == jnp.float32), len(shape) + 1)


@pytest.mark.parametrize('form', FORMS)
def test_a_step_of_a_stream_with_its_carry(form: str) -> None:
    model = vmmjax.create_model('tsm_resnet18', num_classes=5, shift='uni')
    clip = {'rgb': jnp.zeros((1, 1, 32, 32, 3))}
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), clip, train=False))
    one = model.init_stream(clip)
    carry = jax.tree.map(lambda leaf: spec(leaf.shape[1:], leaf.dtype), one)
    with on_platform(FORMS[form]):
        after, logits = jax.eval_shape(model.stream_step, variables, carry, spec((32, 32, 3)))
    assert logits.shape == (ROWS, 5)
    assert jax.tree.map(lambda leaf: leaf.shape, after) == jax.tree.map(lambda leaf: leaf.shape, carry)
    assert jax.tree.leaves(carry)
