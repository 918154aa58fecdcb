import collections
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.frames import (
    assert_half_precision_agrees,
    assert_invalid_frames_change_nothing,
    assert_streams,
    built,
    clips,
)
from vmmjax.models import create_model
from vmmjax.models.mobilenet import rounded


@pytest.mark.parametrize(('name', 'options', 'count'), [
    ('mobilenet_v2', {}, 3_504_872), ('tsm_mobilenet_v2', {}, 2_736_272),
    ('tsm_mobilenet_v2', dict(num_classes=27, shift='uni'), 2_258_459)])
def test_there_are_as_many_parameters_as_published(name: str, options: dict[str, Any], count: int) -> None:
    model = create_model(name, **options)
    outputs, shapes = jax.eval_shape(lambda: model.init_with_output(
        jax.random.key(0), {'rgb': jnp.zeros((1, 3, 219, 220, 3))}, train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes['params'])) == count
    assert outputs.endpoints['rgb/features_0'].shape == (1, 3, 110, 110, 32)
    assert outputs.endpoints['rgb/features_18'].shape == (1, 3, 7, 7, 1280)
    assert outputs.endpoints['rgb/tokens'].shape == (1, 3, 1280)


@given(st.floats(1, 3000))
def test_rounding_is_to_a_multiple_of_eight_and_loses_at_most_a_tenth(channels: float) -> None:
    found = rounded(channels)
    assert found % 8 == 0
    assert found >= max(8, 0.9 * channels)
    assert found <= max(8, channels + 4, 0.9 * channels + 8)


def test_streaming_buffers_are_the_published_ones() -> None:
    carry = jax.eval_shape(lambda: create_model('tsm_mobilenet_v2', shift='uni').init_stream(1))
    sizes = [leaf.shape[1:] for leaf in jax.tree.leaves(carry)]
    published = {(56, 56, 3): 1, (28, 28, 4): 2, (14, 14, 8): 3, (14, 14, 12): 2, (7, 7, 20): 2}
    assert collections.Counter(sizes) == published
    assert sum(leaf.size for leaf in jax.tree.leaves(carry)) == 27_048


def test_streaming_is_the_offline_network() -> None:
    model, variables = built('tsm_mobilenet_v2', shift='uni', width_multiplier=0.5)
    assert_streams(model, variables, clips(2, 4))


@pytest.mark.slow
def test_invalid_frames_change_nothing() -> None:
    assert_invalid_frames_change_nothing('tsm_mobilenet_v2', width_multiplier=0.35)


@pytest.mark.slow
def test_half_precision_agrees() -> None:
    assert_half_precision_agrees('tsm_mobilenet_v2')
