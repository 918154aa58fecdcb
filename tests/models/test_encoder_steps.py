from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.models import Tokens
from vmmjax.models.encoder_steps import Journey, Stage, Stages, run
from vmmjax.models.zoo import MODELS

SMALL = {'i3d': dict(width_multiplier=0.03), 'inception_v1': dict(width_multiplier=0.03),
         'efficientnet_lite0': dict(width_multiplier=0.25), 'panns_cnn6': dict(widths=(4,) * 4),
         'conv2d_audio': dict(widths=(4, 4))}
INPUTS = {'rgb': (2, 9, 32, 32, 3), 'audio': (2, 70, 64)}
# What stands for the encoders of a family; their endpoints differ in number alone.
STAGED = ('conv2d_audio', 'efficientnet_lite0', 'i3d', 'inception_v1', 'mobilenet_v2', 'panns_cnn6', 'panns_resnet22',
          'tsm_resnet18', 'vgg16_bn')


def test_these_encoders_can_be_driven_in_stages() -> None:
    families = {type(MODELS[name].encoder()) for name in STAGED}
    staged = {name for name, entry in MODELS.items() if hasattr(entry.encoder(), 'stages')}
    assert {type(MODELS[name].encoder()) for name in staged} == families
    assert not staged & {'bert', 'lstm', 'vggish', 'vivit', 'ast', 'conv1d_m11'}


@pytest.mark.parametrize('name', STAGED)
def test_stages_are_the_endpoints_in_their_order(name: str) -> None:
    encoder = MODELS[name].encoder(**SMALL.get(name, {}))
    shape = INPUTS[MODELS[name].stream]
    stages: list[Stage] = []

    def drive(module: Any, x: jax.Array, valid: jax.Array) -> Any:
        journey = module.stages(x, valid, False)
        stage = next(journey)
        while True:
            stages.append(stage)
            try:
                stage = journey.send(stage.x)
            except StopIteration as done:
                return done.value

    x, valid = jnp.zeros(shape), jnp.ones(shape[:2], bool)
    variables = jax.eval_shape(lambda: encoder.init(jax.random.key(0), x, valid, False))
    tokens, endpoints = jax.eval_shape(lambda v: encoder.apply(v, x, valid, False), variables)
    driven, same = jax.eval_shape(lambda v: encoder.apply(v, x, valid, method=drive), variables)
    assert (driven.x.shape, driven.mask.shape) == (tokens.x.shape, tokens.mask.shape)
    assert same.keys() == endpoints.keys()
    names = [stage.name for stage in stages]
    assert len({*names}) == len(names)
    assert {*names} <= endpoints.keys()
    for stage in stages:
        assert stage.x.shape == endpoints[stage.name].shape
        assert stage.mask.shape == stage.x.shape[:2]


def test_what_is_put_in_the_place_of_an_endpoint_is_what_later_layers_see() -> None:
    encoder = MODELS['conv2d_audio'].encoder(widths=(4, 4), features=3)
    x, valid = jax.random.normal(jax.random.key(0), (2, 8, 8)), jnp.ones((2, 8), bool)
    variables = encoder.init(jax.random.key(1), x, valid, False)

    def silenced(module: Any) -> Any:
        journey = Journey('audio', module.stages(x, valid, False))
        journey.replace(0 * journey.stop('stage_1').x)
        return journey.end()

    tokens, endpoints = encoder.apply(variables, method=silenced)
    _, before = encoder.apply(variables, x, valid, False)
    np.testing.assert_array_equal(endpoints['normalised'], before['normalised'])
    assert before['stage_1'].any()
    for name in ('stage_1', 'stage_2'):
        assert not endpoints[name].any()
    assert not tokens.x.any()


def steps() -> Stages:
    x = jnp.zeros((1, 1, 1))
    for name in ('one', 'two', 'three'):
        x = yield Stage(name, x + 1, jnp.ones((1, 1), bool))
    return Tokens(x, jnp.ones((1, 1), bool)), {}


def test_a_journey_stops_where_it_is_told_and_goes_on_with_what_it_is_given() -> None:
    assert run(steps())[0].x == 3
    journey = Journey('rgb', steps())
    assert journey.stop('two').x == 2
    journey.replace(jnp.full((1, 1, 1), 10.0))
    assert journey.stop('three').x == 11
    assert journey.end()[0].x == 11


@pytest.mark.parametrize(('stops', 'message'), [(('twoo',), "stream 'rgb' .* 'twoo': did you mean 'two'"),
                                                (('two', 'one'), 'Known: three.*in the order')])
def test_an_endpoint_that_does_not_come_is_named(stops: tuple[str, ...], message: str) -> None:
    journey = Journey('rgb', steps())
    *before, last = stops
    for stop in before:
        journey.stop(stop)
    with pytest.raises(UserError, match=message):
        journey.stop(last)
