import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.frames import FAST, assert_near, built, clips
from vmmjax import models
from vmmjax.errors import UserError
from vmmjax.evaluation.streaming import frame_by_frame


@pytest.mark.parametrize(('name', 'options'), [('tsm_resnet18', dict(shift='uni')), ('tsn_resnet18', {})])
def test_a_network_of_the_past_gives_the_same_frame_by_frame(name, options):
    model, variables = built(name, width_multiplier=0.125, **options)
    batch = {'rgb': clips(3, 4), 'valid/rgb': jnp.ones((3, 4), bool), 'mask': jnp.asarray([1.0, 1.0, 0.0])}
    whole = jax.jit(lambda v, b: model.apply(v, b, train=False), compiler_options=FAST)(variables, batch)
    found = jax.jit(lambda v, b: frame_by_frame(model, v, b), compiler_options=FAST)(variables, batch)
    assert_near(found.logits[:2], whole.logits[:2], 1e-5)
    np.testing.assert_array_equal(found.present['rgb'], whole.present['rgb'])


def test_frames_that_are_not_valid_say_nothing():
    model, variables = built('tsn_resnet18', width_multiplier=0.125)
    x = clips(2, 4)
    valid = jnp.asarray([[True] * 4, [True, True, False, False]])
    batch = {'rgb': x.at[1, 2:].set(jnp.nan), 'valid/rgb': valid}
    found = jax.jit(lambda v, b: frame_by_frame(model, v, b), compiler_options=FAST)(variables, batch)
    expected = jax.jit(lambda v, b: model.apply(v, b, train=False), compiler_options=FAST)(
        variables, {'rgb': x[1:, :2]})
    assert_near(found.logits[1:], expected.logits, 1e-5)


def test_several_targets_have_logits_each():
    model = models.create(dict(encoders=dict(rgb=dict(name='tsm_resnet18', shift='uni', width_multiplier=0.125)),
                               preprocess=dict(rgb='signed'), fusion=dict(name='concat'),
                               head=dict(name='consensus')), dict(word=3, digit=2))
    batch = {'rgb': clips(2, 3)}
    variables = jax.jit(lambda key: model.init(key, batch, train=False), compiler_options=FAST)(jax.random.key(0))
    found, whole = (jax.jit(function, compiler_options=FAST)(variables) for function in (
        lambda v: frame_by_frame(model, v, batch), lambda v: model.apply(v, batch, train=False)))
    assert_near(found.logits, whole.logits, 1e-5)


def test_what_sees_the_future_is_refused_with_the_remedy():
    model, variables = built('tsm_resnet18', width_multiplier=0.125)
    with pytest.raises(UserError, match="shift='uni'"):
        frame_by_frame(model, variables, {'rgb': clips(1, 2)})
    with pytest.raises(UserError, match='trained on whole clips'):
        frame_by_frame(model, variables, {'rgb': clips(1, 2)}, train=True)
