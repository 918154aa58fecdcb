import dataclasses
import io
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.files import counting_frames, write_media
from tests.serving import tiny
from vmmjax import create_model
from vmmjax.errors import UserError
from vmmjax.media.video import read_frames
from vmmjax.serving import predict
from vmmjax.serving.predict import Predictor, View, windows

VIEW = View(8, 25.0, short_side=32, size=24)


@pytest.fixture(scope='module')
def network():
    return tiny.network()


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """20 counting pictures, 0.8 s: two windows, and a third for the last four pictures."""
    path = tmp_path_factory.mktemp('videos') / 'video.mp4'
    write_media(path, counting_frames(20))
    return path


def logits(network, pictures):
    model, variables = network
    low = (np.array(pictures.shape[1:3]) - 24) // 2
    clip = pictures[None, :, low[0]:low[0] + 24, low[1]:low[1] + 24]
    return np.asarray(model.apply(variables, model.preprocess({'rgb': clip}), train=False).logits[0], np.float64)


@given(st.integers(1, 40), st.integers(1, 12))
def test_windows_hold_every_picture_once_and_the_last_is_full(count, frames):
    found = list(windows(iter(np.arange(count)), frames))
    assert sum(new for _, new in found) == count
    assert {len(window) for window, _ in found} == {min(count, frames)}
    assert all((np.diff(window) == 1).all() for window, _ in found)
    np.testing.assert_array_equal(np.concatenate([window[-new:] for window, new in found]), np.arange(count))


def test_a_window_is_there_before_the_next_is_read():
    taken = []
    pictures = windows((taken.append(number) or np.array(number) for number in range(100)), 10)
    next(pictures)
    assert len(taken) == 10


def test_logits_are_averaged_over_windows_by_the_pictures_each_adds(network, video):
    pictures = read_frames(video, start=0, end=0.8, fps=25, short_side=32)
    parts = [logits(network, pictures[first:first + 8]) for first in (0, 8, 12)]
    found = Predictor(*network, view=VIEW)(video)
    np.testing.assert_allclose(found.probabilities, tiny.softmax(np.average(parts, 0, [8, 8, 4])), rtol=1e-5)
    assert (found.seconds, found.windows) == (pytest.approx(0.8), 3)
    found = Predictor(*network, view=VIEW, average='probabilities')(video)
    np.testing.assert_allclose(found.probabilities, np.average(tiny.softmax(parts), 0, [8, 8, 4]), rtol=1e-5)
    assert found.probabilities.sum() == pytest.approx(1)


def test_the_best_come_first(network, video):
    found = Predictor(*network, view=VIEW)(video)
    assert found.top(3) == np.argsort(-found.probabilities).tolist()
    assert found.top(1) == found.top(9)[:1]


@pytest.mark.parametrize('count', [1, 5, 8])
def test_a_short_video_is_one_window_as_long_as_it_is(network, tmp_path, count):
    path = tmp_path / 'short.mp4'
    write_media(path, counting_frames(count))
    found = Predictor(*network, view=VIEW)(path)
    whole = logits(network, read_frames(path, start=0, end=count / 25, fps=25, short_side=32))
    np.testing.assert_allclose(found.probabilities, tiny.softmax(whole), rtol=1e-5)
    assert found.windows == 1


def test_segments_are_spread_over_the_whole_video(network, video):
    found = Predictor(*network, view=dataclasses.replace(VIEW, frames=5, fps=None))(video)
    pictures = read_frames(video, start=0, end=0.8, fps=25, short_side=32)[[2, 6, 10, 14, 18]]
    np.testing.assert_allclose(found.probabilities, tiny.softmax(logits(network, pictures)), rtol=1e-5)
    assert found.windows == 1


def test_the_middle_of_the_picture_is_seen(network, tmp_path):
    frames = np.zeros((8, 64, 128, 3), np.uint8)
    frames[:, 8:56, 40:88] = 255  # What 24 x 24 of 32 x 64 show.
    path, plain = tmp_path / 'wide.mp4', tmp_path / 'plain.mp4'
    write_media(path, frames, options={'qp': '1'})
    write_media(plain, np.full((8, 64, 64, 3), 255, np.uint8), options={'qp': '1'})
    predictor = Predictor(*network, view=VIEW)
    np.testing.assert_allclose(predictor(path).probabilities, predictor(plain).probabilities, atol=1e-3)


def test_videos_of_all_lengths_share_one_compilation(network, video, tmp_path):
    longer = tmp_path / 'longer.mp4'
    write_media(longer, counting_frames(27))
    predictor = Predictor(*network, view=VIEW)
    tiny.TRACED.clear()
    predictor(video)
    predictor(longer)
    assert tiny.TRACED == [(1, 8, 24, 24, 3)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(('patience', 'progress', 'stream', 'shown'), [
    (0, True, Terminal, True), (60, True, Terminal, False), (0, False, Terminal, False), (0, True, io.StringIO, False)])
def test_a_bar_is_for_terminals_and_what_takes_long(network, video, monkeypatch, patience, progress, stream, shown):
    monkeypatch.setattr(predict, '_PATIENCE', patience)
    monkeypatch.setattr(sys, 'stderr', stream())
    Predictor(*network, view=VIEW)(video, progress=progress)
    assert ('video.mp4: ' in sys.stderr.getvalue()) == shown


def test_an_animated_gif_is_a_video(network, tmp_path):
    path = tmp_path / 'moving.gif'
    write_gif(path, counting_frames(10))
    found = Predictor(*network, view=VIEW)(path)
    assert (found.seconds, found.windows) == (pytest.approx(0.4), 2)


def write_gif(path, frames):
    import av
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('gif', rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], 'rgb8'
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24').reformat(format='rgb8')))
        container.mux(stream.encode())


def test_a_file_that_is_no_video_is_named(network, video, tmp_path):
    predictor = Predictor(*network, view=VIEW)
    with pytest.raises(UserError, match=r'nothing\.mp4: there is no such file'):
        predictor(tmp_path / 'nothing.mp4')
    sound, cut = tmp_path / 'sound.mkv', tmp_path / 'cut.mp4'
    write_sound(sound)
    with pytest.raises(UserError, match='it holds no pictures'):
        predictor(sound)
    cut.write_bytes(video.read_bytes()[:-900])
    with pytest.raises(UserError, match=r'cut\.mp4: '):
        predictor(cut)


def write_sound(path):
    import av
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=16000)
        stream.layout = 'mono'
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), format='s16', layout='mono')
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_published_networks_bring_their_own_view():
    assert Predictor(create_model('i3d'), {}).view == View(64, 25.0, 256, 224)
    assert Predictor(create_model('tsm_resnet50'), {}).view == View(8, None, 256, 224)


@pytest.mark.parametrize(('name', 'options', 'message'), [
    ('i3d', dict(stream='flow'), 'reads flow'),
    ('vggish', {}, 'reads audio'),
    ('i3d', dict(num_classes=0), 'has no head'),
    ('vivit', {}, 'VideoTransformer'),
])
def test_a_network_that_cannot_be_used_is_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        Predictor(create_model(name, **options), {})


def test_options_that_make_no_sense_are_refused(network):
    with pytest.raises(UserError, match="no average 'logit': did you mean 'logits'"):
        Predictor(*network, view=VIEW, average='logit')
    with pytest.raises(UserError, match='does not fit'):
        View(8, 25.0, short_side=32, size=48)
