from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.frames import (
    FAST,
    assert_half_precision_agrees,
    assert_invalid_frames_change_nothing,
    assert_near,
    assert_streams,
    built,
    clips,
    training,
)
from vmmjax.errors import UserError
from vmmjax.models import create, create_model


@pytest.mark.parametrize(('name', 'channels', 'options', 'count'), [
    ('resnet18', 3, {}, 11_689_512),
    ('resnet34', 3, {}, 21_797_672),
    ('resnet50', 3, {}, 25_557_032),
    ('resnet101', 3, {}, 44_549_160),
    ('tsn_resnet50', 3, {}, 24_327_632),
    ('tsm_resnet50', 3, {}, 24_327_632),
    ('tsm_resnet50', 10, dict(stream='flow'), 24_349_584),
    ('tsm_resnet50', 3, dict(non_local=True), 31_686_096),
    ('tsm_resnet50', 3, dict(num_classes=0), 23_508_032),
    ('tsm_resnet101', 3, {}, 43_319_760)])
def test_there_are_as_many_parameters_as_published(name: str, channels: int, options: dict[str, Any],
                                                   count: int) -> None:
    model = create_model(name, **options)
    (stream, _), = model.encoders.items()
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), {stream: jnp.zeros((1, 8, 64, 64, channels))},
                                               train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes['params'])) == count
    assert {*shapes} == {'params', 'batch_stats'}


@pytest.mark.parametrize(('name', 'options', 'frames', 'tokens'), [
    ('resnet50', {}, 1, (1, 2048)), ('tsm_resnet34', dict(temporal_pool=True), 5, (3, 512))])
def test_endpoints_are_clips_of_every_layer(name: str, options: dict[str, Any], frames: int,
                                            tokens: tuple[int, int]) -> None:
    model = create_model(name, **options)
    outputs, _ = jax.eval_shape(lambda: model.init_with_output(
        jax.random.key(0), {'rgb': jnp.zeros((2, frames, 219, 220, 3))}, train=False))
    width = tokens[1] // 8
    assert outputs.endpoints['rgb/conv1'].shape == (2, frames, 110, 110, 64)
    assert outputs.endpoints['rgb/layer1'].shape == (2, frames, 55, 55, width)
    assert outputs.endpoints['rgb/layer2_1'].shape == (2, tokens[0], 28, 28, 2 * width)
    assert outputs.endpoints['rgb/layer4'].shape == (2, tokens[0], 7, 7, 8 * width)
    assert outputs.endpoints['rgb/tokens'].shape == (2, *tokens)


@pytest.mark.slow
@pytest.mark.parametrize('options', [
    dict(shift='uni', shift_place='block'), dict(shift='bi', temporal_pool=True, non_local=True)], ids=str)
def test_invalid_frames_change_nothing(options: dict[str, Any]) -> None:
    assert_invalid_frames_change_nothing('resnet18', width_multiplier=0.25, **options)


# The blocks of 34 and 101 layers are those of 18 and 50; of 101, only every second block of a layer is shifted.
@pytest.mark.parametrize(('depth', 'options'), [
    (18, dict(shift_div=3)),
    (18, dict(shift_place='block')),
    pytest.param(50, {}, marks=pytest.mark.slow),
    pytest.param(50, dict(shift_place='block'), marks=pytest.mark.slow),
    pytest.param(101, {}, marks=pytest.mark.slow)], ids=str)
def test_streaming_is_the_offline_network(depth: int, options: dict[str, Any]) -> None:
    model, variables = built(f'tsm_resnet{depth}', shift='uni', width_multiplier=0.25, **options)
    assert_streams(model, variables, clips(2, 4), scanned=depth == 18)


def test_a_stream_in_half_precision_with_remat_carries_what_it_began_with() -> None:
    model, variables = built('tsm_resnet18', shift='uni', width_multiplier=0.25, dtype=jnp.bfloat16, remat=True)
    carry, logits = jax.jit(lambda v, c, x: jax.lax.scan(lambda c, frame: model.stream_step(v, c, frame), c, x),
                            compiler_options=FAST)(
        variables, model.init_stream({'rgb': clips(1, 1)}), jnp.moveaxis(clips(1, 3), 1, 0))
    assert {leaf.dtype for leaf in jax.tree.leaves(carry)} == {jnp.dtype(jnp.bfloat16)}
    assert logits.shape == (3, 1, 5)
    assert logits.dtype == jnp.float32


def test_a_network_without_a_shift_streams_with_nothing_to_carry() -> None:
    model, variables = built('tsn_resnet18', width_multiplier=0.25)
    assert not jax.tree.leaves(model.init_stream(2))
    assert_streams(model, variables, clips(2, 2))


def test_what_cannot_be_streamed_says_what_to_change() -> None:
    for options, remedy in ((dict(shift='bi'), "shift='uni'"), (dict(temporal_pool=True), 'temporal_pool=False'),
                            (dict(non_local=True), 'non_local=False')):
        with pytest.raises(UserError, match=remedy):
            create_model('tsm_resnet18', **options).init_stream(1)
    with pytest.raises(UserError, match='frame by frame'):
        create_model('i3d').init_stream(1)
    two = create(dict(encoders={key: dict(name='resnet18') for key in ('flow', 'rgb')}, fusion=dict(name='concat'),
                      head=dict(name='consensus'), preprocess=dict(flow='flow_tsn', rgb='imagenet')), 3)
    with pytest.raises(UserError, match='one stream'):
        two.init_stream(1)
    with pytest.raises(UserError, match='num_classes'):
        create_model('resnet18', num_classes=0).init_stream(1)
    model, variables = built('tsm_resnet18', shift='uni', width_multiplier=0.25)
    with pytest.raises(UserError, match='begin again'):
        model.stream_step(variables, model.init_stream(1), clips(1, 1)[:, 0])


@pytest.mark.slow
def test_half_precision_agrees() -> None:
    assert_half_precision_agrees('tsm_resnet18', non_local=True)


@pytest.mark.slow
def test_jit_is_no_jit() -> None:
    model, variables = built('tsm_resnet18', width_multiplier=0.25)
    batch = {'rgb': clips(2, 2)}
    compiled = jax.jit(lambda: model.apply(variables, batch, train=False).logits, compiler_options=FAST)()
    assert_near(model.apply(variables, batch, train=False).logits, compiled, 1e-5)


@pytest.mark.slow
def test_computing_blocks_again_changes_nothing() -> None:
    (model, variables), (saving, _) = (built('tsm_resnet18', width_multiplier=0.25, remat=remat)
                                       for remat in (False, True))
    batch = {'rgb': clips(2, 2)}
    assert_near(training(saving)(variables, batch), training(model)(variables, batch), 1e-3, floor=0.1)


@pytest.mark.slow
def test_frozen_batch_norms_stay_and_the_first_may_learn() -> None:
    batch = {'rgb': clips(2, 2)}
    for frozen, learning in (('all', set()), ('all_but_first', {'bn1'})):
        model, variables = built('resnet18', width_multiplier=0.25, frozen_bn=frozen)
        gradients, (logits, _, state) = training(model)(variables, batch)
        before, after = (tree['batch_stats']['encoders_rgb'] for tree in (variables, state))
        assert {name for name in before if not jax.tree.all(jax.tree.map(np.array_equal, before[name],
                                                                         after[name]))} == learning
        block = gradients['encoders_rgb']['layer1_0']
        assert not block['bn1']['scale'].any()
        assert block['conv1']['kernel'].any()
        assert gradients['encoders_rgb']['bn1']['bias'].any() == bool(learning)
        if not learning:
            assert_near(logits, model.apply(variables, batch, train=False).logits, 1e-5)


@pytest.mark.parametrize(('options', 'meant'), [
    (dict(shift='both'), 'bi'), (dict(shift_place='blokres'), 'blockres'), (dict(depth=51), '50'),
    (dict(frozen_bn='al'), 'all'), (dict(non_local_mode='gausian'), 'gaussian'), (dict(shift_dif=4), 'shift_div')])
def test_a_misspelt_option_names_the_right_one(options: dict[str, Any], meant: str) -> None:
    with pytest.raises(UserError, match=f'did you mean.*{meant}|Known:.*{meant}'):
        create_model('tsm_resnet50', **options)


def test_a_picture_without_time_is_told_to_be_a_clip_of_one_frame() -> None:
    with pytest.raises(UserError, match='clip of one frame'):
        create_model('resnet18').init(jax.random.key(0), {'rgb': jnp.zeros((2, 32, 32, 3))}, train=False)


def test_a_narrow_network_has_narrow_tokens() -> None:
    model = create_model('resnet18', num_classes=3, width_multiplier=0.25)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), {'rgb': jnp.zeros((1, 2, 32, 32, 3))},
                                                  train=False))
    params = variables['params']
    assert params['encoders_rgb']['conv1']['kernel'].shape == (7, 7, 3, 16)
    assert params['head']['logits']['kernel'].shape == (128, 3)
