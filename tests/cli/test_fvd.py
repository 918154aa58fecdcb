"""The command in processes of its own, with a network that takes no time."""

import json

import numpy as np
import pytest

from tests.cli.conftest import refused
from tests.cli.conftest import vmmjax as run
from tests.media.files import counting_frames
from tests.serving import tiny
from vmmjax.media.writer import write_clip


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return f'--weights={tiny.save_run(tmp_path_factory.mktemp("run"))}'


@pytest.fixture(scope='module')
def sets(tmp_path_factory):
    """A folder of videos, and an array of the same, but brighter."""
    folder = tmp_path_factory.mktemp('sets')
    (folder / 'real').mkdir()
    made = []
    for index in range(5):
        frames = counting_frames(18 + index)[index:]
        write_clip(folder / 'real' / f'{index}.mp4', frames, fps=25)
        made.append(frames[:16] + np.uint8(9 * index))
    np.save(folder / 'fake.npy', made)
    return folder


def test_statistics_are_saved_and_used_again(sets, weights, tmp_path):
    options = ('--protocol=cdfvd', weights, '--nonstandard', '--json')
    first = run('fvd', sets / 'real', sets / 'fake.npy', *options, f'--save_real={tmp_path / "real.npz"}')
    assert (first.returncode, first.stderr) == (0, '')
    found = json.loads(first.stdout)
    assert (found['protocol'], found['ddof'], found['real']['videos'], found['fake']['videos']) == ('cdfvd', 0, 5, 5)
    assert (found['real']['resize'], found['fake']['resize']) == ('antialias', 'squash')
    assert found['interval'][0] < found['fvd'] < found['interval'][1]
    assert len(found['departures']) == 2
    again = run('fvd', tmp_path / 'real.npz', sets / 'fake.npy', *options)
    assert json.loads(again.stdout)['fvd'] == pytest.approx(found['fvd'], rel=1e-6)


def test_everything_that_the_distance_depends_on_is_printed(sets, weights):
    done = run('fvd', sets / 'real', sets / 'fake.npy', '--frames=16', weights, '--nonstandard', '--resamples=0')
    assert done.returncode == 0, done.stderr
    for part in ('Fréchet video distance', 'official, covariance over N - 1', 'TensorFlow 1', '5 videos',
                 '16 pictures each from the first picture', 'NOT STANDARD: ', 'other weights than TF-Hub had'):
        assert part in done.stdout


def test_what_a_user_can_mend_is_one_sentence(sets, weights):
    assert 'takes 2048 fake videos, not 5' in refused('fvd', sets / 'real', sets / 'fake.npy', '--protocol=styleganv')
    assert 'REAL and FAKE, not 1' in refused('fvd', sets / 'real')
