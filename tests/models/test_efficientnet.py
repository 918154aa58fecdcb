import jax
import jax.numpy as jnp
import pytest

from tests.models.frames import (
    assert_half_precision_agrees,
    assert_invalid_frames_change_nothing,
    assert_streams,
    built,
    clips,
)
from vmmjax.models import create_model


@pytest.mark.parametrize(('name', 'count'), [('efficientnet_lite0', 4_652_008), ('tsm_efficientnet_lite0', 3_883_408)])
def test_there_are_as_many_parameters_as_published(name: str, count: int) -> None:
    model = create_model(name)
    outputs, shapes = jax.eval_shape(lambda: model.init_with_output(
        jax.random.key(0), {'rgb': jnp.zeros((1, 3, 219, 220, 3))}, train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes['params'])) == count
    assert outputs.endpoints['rgb/stem'].shape == (1, 3, 110, 110, 32)
    assert outputs.endpoints['rgb/blocks_15'].shape == (1, 3, 7, 7, 320)
    assert outputs.endpoints['rgb/tokens'].shape == (1, 3, 1280)


def test_streaming_is_the_offline_network() -> None:
    model, variables = built('tsm_efficientnet_lite0', shift='uni', width_multiplier=0.25)
    assert_streams(model, variables, clips(2, 4))


@pytest.mark.slow
def test_invalid_frames_change_nothing() -> None:
    assert_invalid_frames_change_nothing('tsm_efficientnet_lite0', width_multiplier=0.25)


@pytest.mark.slow
def test_half_precision_agrees() -> None:
    assert_half_precision_agrees('efficientnet_lite0', width_multiplier=0.25)
