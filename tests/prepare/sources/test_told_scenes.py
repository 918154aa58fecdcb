from collections import Counter

import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.media.audio import read_waveform
from vmmjax.media.probe import probe
from vmmjax.prepare.sources import joined_scenes, manifest, told_scenes
from vmmjax.prepare.sources.synthetic import FPS, MOTIONS, RATE, SECONDS


def test_a_clip_played_backwards_has_the_same_frames_and_the_opposite_labels():
    forwards, backwards = told_scenes.plan(0, 'test', 8)[:2]
    assert np.array_equal(told_scenes.pictures(backwards), told_scenes.pictures(forwards)[::-1])
    assert np.array_equal(told_scenes.sound(backwards), told_scenes.sound(forwards)[::-1])
    one, other = forwards.labels, backwards.labels
    assert (one['first'], one['second']) == (other['second'], other['first'])
    assert told_scenes.BACKWARDS[one['motion']] == other['motion']
    assert told_scenes.BACKWARDS[one['tone']] == other['tone']
    assert all(one[name] == other[name] for name in ('sound', 'question', 'pair'))


def test_pictures_show_what_the_labels_say():
    for told in told_scenes.plan(1, 'train', 16):
        frames, labels = told_scenes.pictures(told).astype(int), told.labels
        for frame, name in ((frames[0], 'first'), (frames[-1], 'second')):
            away = {each: np.abs(frame - value).sum(-1).min() for each, value in told_scenes.COLOURS.items()}
            assert min(away, key=away.get) == labels[name]


@pytest.mark.parametrize('split', ['train', 'test'])
def test_questions_tell_nothing(split):
    clips = [told.labels for told in told_scenes.plan(0, split, 800)]
    for kind in told_scenes.KINDS:
        own = [each for each in clips if each['kind'] == kind]
        assert len(own) == 200
        # Knowing the question, the best guess is right so often.
        best = sum(max(Counter(each['answer'] for each in own if each['question'] == question).values())
                   for question in {each['question'] for each in own})
        assert best == (50 if kind == 'motion' else 100)


def test_every_wording_names_every_attribute():
    for told in told_scenes.plan(0, 'test', 400):
        labels = told.labels
        for caption in labels['caption'].split(';'):
            assert told_scenes.said(caption) == {name: labels[name] for name in told_scenes.ATTRIBUTES}
    assert told_scenes.said('it is red') == {'first': 'red', 'second': '', 'motion': '', 'tone': '', 'sound': ''}


def test_files_and_a_manifest(tmp_path):
    path = told_scenes.generate(tmp_path / 'a', seed=3, sizes={'train': 2, 'test': 2}, progress=False)
    again = told_scenes.generate(tmp_path / 'b', seed=3, sizes={'train': 2, 'test': 2}, progress=False)
    clips = manifest.read(path)
    assert [clip.split for clip in clips] == ['train', 'train', 'test', 'test']
    for clip in clips:
        assert clip.path.read_bytes() == (again.parent / 'clips' / clip.path.name).read_bytes()
        found = probe(clip.path)
        assert found.duration == pytest.approx(SECONDS, abs=0.1)
        assert found.fps == FPS
        assert set(clip.labels) == set(told_scenes.LABELS)
    wave = read_waveform(clips[0].path, start=0.0, end=float(SECONDS), rate=RATE)
    assert np.sqrt(np.square(wave[RATE // 10:]).mean()) > 0.01


@pytest.mark.parametrize(('sizes', 'options', 'said'), [({'test': 3}, '', 'even'), ({'test': 2}, 'a=1', 'no settings')])
def test_what_is_refused(tmp_path, sizes, options, said):
    with pytest.raises(UserError, match=said):
        told_scenes.generate(tmp_path, sizes=sizes, options=options)


def test_joined_scenes_fade_and_a_tenth_are_events():
    for joined in joined_scenes.plan(0, 'test', 6):
        starts, ends = (np.array(joined.labels[name].split(';'), float) for name in joined_scenes.LABELS)
        seconds = (joined.starts[-1] + joined.lengths[-1]) / joined_scenes.RATE_OF_PICTURES
        assert len(starts) == joined_scenes.EVENTS
        assert (starts < ends).all()
        assert 0.07 < (ends - starts).sum() / seconds < 0.13
        motions = Counter(told.scene.motion for told in joined.scenes)
        assert motions == {**dict.fromkeys(MOTIONS, 12), joined_scenes.EVENT: 4}


def test_joined_pictures_and_sound_begin_and_end_together():
    joined = joined_scenes.plan(0, 'test', 1)[0]
    frames, wave = joined_scenes.pictures(joined), joined_scenes.sound(joined)
    assert len(wave) / RATE == pytest.approx(len(frames) / joined_scenes.RATE_OF_PICTURES)
    # Outside of the fades a picture is one of its scene.
    first, start = joined.scenes[1], joined.starts[1]
    assert np.array_equal(frames[start + 6], told_scenes.pictures(first)[::2][6])
    middle = joined_scenes.pictures(joined)[start + 2].astype(int)
    mean = (told_scenes.pictures(joined.scenes[0])[::2][start + 2].astype(int)
            + told_scenes.pictures(first)[::2][2].astype(int)) / 2
    assert np.abs(middle - mean).max() <= 1
    assert np.abs(wave).max() < 1
