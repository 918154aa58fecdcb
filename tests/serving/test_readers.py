import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.files import counting_frames, numbers, write_media
from vmmjax.media import probe
from vmmjax.media.video import read_frames
from vmmjax.pipeline.windows import WindowSpec
from vmmjax.prepare.audio_columns import Audio, Waveform
from vmmjax.serving.readers import Pictures, Sounds, batches, sliding

PICTURES = Pictures(5, short_side=32, size=24)


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """30 counting pictures, 1.2 s, and a tone that rises."""
    path = tmp_path_factory.mktemp('videos') / 'video.mp4'
    times = np.arange(19200) / 16000
    write_media(path, counting_frames(30), waveform=(0.3 * np.sin(2000 * times * (1 + times))).astype(np.float32))
    return path


def video_frames(path, start, end):
    return read_frames(path, start=start, end=end, fps=25.0, short_side=32)


def read(path, cut, batch_size=8, **readers):
    found = probe.probe(path)
    starts = cut.starts(found.duration)
    made = list(batches(path, readers, found, starts, cut, batch_size))
    return starts, {key: np.concatenate([batch[key] for batch in made]) for key in made[0]}


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 8), st.integers(0, 40))
def test_pictures_slide_by_and_only_the_last_windows_lack_some(frames, step, count, length):
    found = list(sliding(iter(np.arange(length)), frames, step, count))
    assert [window.tolist() if len(window) else [] for window in map(np.array, found)] == [
        list(range(length))[i * step:i * step + frames] for i in range(count)]


def test_no_more_is_read_than_the_windows_need():
    taken = []
    windows = sliding((taken.append(number) or np.array(number) for number in range(100)), 10, 3, 5)
    assert len(next(windows)) == 10
    assert len(taken) == 10
    assert len(list(windows)) == 4
    assert len(taken) == 22


def test_windows_of_a_video_are_its_pictures_at_their_times(video):
    starts, found = read(video, WindowSpec(0.2, 0.12, 'drop'), rgb=PICTURES)
    assert found['rgb'].shape == (9, 5, 24, 24, 3)
    for start, window in zip(starts, found['rgb'], strict=True):
        assert numbers(window) == [round(25 * start) + i for i in range(5)]
    assert found['valid/rgb'].all()


@pytest.mark.parametrize('stride', [0.12, 0.1])
def test_a_window_is_the_same_alone_as_among_others(video, stride):
    # The second stride is no number of pictures, so that every window is read for itself.
    readers = dict(rgb=PICTURES, audio=Sounds(Audio()))
    cut = WindowSpec(0.2, stride)
    starts, found = read(video, cut, **readers)
    for k in (0, 3, len(starts) - 1):
        pictures = video_frames(video, starts[k], min(starts[k] + 0.2, 1.2))
        np.testing.assert_array_equal(found['rgb'][k][:len(pictures)], pictures[:, 4:28, 4:28])
        assert found['valid/rgb'][k].sum() == len(pictures)
        sound, = (Sounds(Audio()).windows(video, probe.probe(video), starts[k:k + 1], cut))
        np.testing.assert_array_equal(found['audio'][k], sound[0])


@pytest.mark.parametrize(('tail', 'last'), [('pad', [25, 26, 27, 28, 29]), ('reflect', [25, 26, 27, 28, 29])])
def test_a_stride_that_fits_leaves_no_tail(video, tail, last):
    _, found = read(video, WindowSpec(0.2, tail=tail), rgb=PICTURES)
    assert numbers(found['rgb'][5]) == last


def test_what_lies_past_the_end_is_masked_or_reflected(video):
    _, padded = read(video, WindowSpec(0.2, 0.28, 'pad'), rgb=PICTURES)
    assert numbers(padded['rgb'][4])[:2] == [28, 29]
    assert padded['valid/rgb'][4].tolist() == [True, True, False, False, False]
    assert not padded['rgb'][4][2:].any()
    _, reflected = read(video, WindowSpec(0.2, 0.28, 'reflect'), rgb=PICTURES)
    assert numbers(reflected['rgb'][4]) == [28, 29, 28, 29, 28]
    assert reflected['valid/rgb'][4].all()
    starts, _ = read(video, WindowSpec(0.2, 0.28, 'drop'), rgb=PICTURES)
    assert len(starts) == 4


def test_one_window_of_the_whole_video_has_its_pictures_at_equal_distances(video):
    _, found = read(video, WindowSpec(0), rgb=Pictures(6, 32, 24))
    assert numbers(found['rgb'][0]) == [2, 7, 12, 17, 22, 27]


def test_pictures_and_sound_are_of_the_same_time(video):
    column = Waveform()
    starts, found = read(video, WindowSpec(0.4, 0.4), rgb=Pictures(10, 32, 24), sound=Sounds(column))
    assert found['sound'].shape == (4, 6400)
    whole = found['sound'][:3].ravel()
    clip, = read(video, WindowSpec(1.2), sound=Sounds(column))[1]['sound']
    np.testing.assert_allclose(whole, clip, atol=1e-3)
    assert [numbers(window)[0] for window in found['rgb'][:3]] == np.rint(25 * starts).astype(int).tolist()


def test_what_a_file_lacks_is_masked_unless_it_is_all(tmp_path):
    write_media(tmp_path / 'silent.mp4', counting_frames(30))
    _, found = read(tmp_path / 'silent.mp4', WindowSpec(0.4), rgb=PICTURES, sound=Sounds(Waveform()))
    assert found['present/rgb'][:3].all()
    assert not found['present/sound'].any()
    assert not found['valid/sound'].any()
    with pytest.raises(probe.MediaError, match=r'nothing that the network reads \(sound\)'):
        read(tmp_path / 'silent.mp4', WindowSpec(0.4), sound=Sounds(Waveform()))


def test_the_last_batch_is_as_small_as_a_power_of_two_allows(video):
    made = list(batches(video, dict(rgb=PICTURES), probe.probe(video), np.arange(11) * 0.08, WindowSpec(0.2, 0.08), 8))
    assert [batch['mask'].tolist() for batch in made] == [[1] * 8, [1, 1, 1, 0]]
    assert not made[1]['valid/rgb'][3].any()
    assert not made[1]['present/rgb'][3]
