import csv
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from vmmjax.errors import UserError
from vmmjax.media.audio import read_waveform
from vmmjax.media.probe import probe
from vmmjax.media.video import read_frames
from vmmjax.prepare.sources import synthetic
from vmmjax.prepare.sources.synthetic import CLASSES, MOTIONS, RATE, SIDE, TONES, Scene, pitch, plan, positions

SIZES = {'train': 12, 'validation': 4, 'test': 8}
# The middles of 8 equal parts of the 50 pictures, as a model samples them.
DENSE = np.floor((np.arange(8) + 0.5) * 50 / 8).astype(int)


def by_motion(count):
    return {motion: [Scene((7, 7, index), motion, 'rising', False) for index in range(count)] for motion in MOTIONS}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2000), st.integers(0, 2**31))
def test_plan_is_balanced_with_a_tenth_silent(count, seed):
    scenes = plan(seed, 'train', count)
    assert len(scenes) == count
    assert len({scene.key for scene in scenes}) == count
    assert sum(scene.silent for scene in scenes) == count // 10
    for some in (scenes, [scene for scene in scenes if scene.silent]):
        per_class = [sum((scene.motion, scene.tone) == name for scene in some) for name in CLASSES]
        assert max(per_class) - min(per_class) <= 1


def test_the_default_splits_are_balanced_exactly():
    for split, count in synthetic.SIZES.items():
        scenes = plan(0, split, count)
        for name in CLASSES:
            own = [scene for scene in scenes if (scene.motion, scene.tone) == name]
            assert len(own) == count / 8
            assert sum(scene.silent for scene in own) == count / 80


def test_splits_and_seeds_share_no_scene():
    keys = [scene.key for args in ((0, 'train'), (0, 'test'), (1, 'train')) for scene in plan(*args, 50)]
    assert len(set(keys)) == 150


def test_nothing_but_the_label_depends_on_the_class():
    """With the same key the first picture, and the loudness and timbre, are the same in every class."""
    scenes = [Scene((3, 1, 4), motion, tone, False) for motion, tone in CLASSES]
    first = [synthetic.pictures(scene)[0] for scene in scenes]
    for picture in first[1:]:
        np.testing.assert_array_equal(picture, first[0])
    steps = [np.abs(np.diff(np.log(pitch(scene)))) for scene in scenes]
    slides = [np.median(step) for step in steps]
    assert max(slides) == pytest.approx(min(slides), rel=1e-3)
    levels = [synthetic.sound(scene).std() for scene in scenes]
    assert max(levels) == pytest.approx(min(levels), rel=0.02)


def test_motion_is_along_its_axis_and_of_the_stated_speed():
    for motion, scenes in by_motion(60).items():
        for scene in scenes:
            path = positions(scene)
            assert path.dtype.kind == 'i'
            step = (np.diff(path[DENSE], axis=0) + SIDE // 2) % SIDE - SIDE // 2
            along, across = (step[:, 0], step[:, 1]) if MOTIONS[motion][0] else (step[:, 1], step[:, 0])
            assert (across == 0).all()
            assert (np.sign(along) == sum(MOTIONS[motion])).all()
            assert np.abs(along).min() >= 0.04 * SIDE - 1
            assert np.abs(along).max() <= 0.14 * SIDE + 1


@pytest.mark.parametrize('instant', [0, 17, 49])
@pytest.mark.parametrize('motion', MOTIONS)
def test_the_place_is_uniform_in_every_class(motion, instant):
    places = np.array([positions(scene)[instant] for scene in by_motion(960)[motion]])
    for axis in range(2):
        counts = np.bincount(places[:, axis] // 8, minlength=12)
        assert stats.chisquare(counts).pvalue > 1e-3
        assert stats.chisquare(np.bincount(places[:, axis] % 16, minlength=16)).pvalue > 1e-3  # Within a macroblock.
    table = np.histogram2d(*places.T, bins=4, range=[[0, SIDE]] * 2)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_every_picture_tells_whether_the_sprite_is_bright():
    for scene in plan(5, 'test', 40):
        background, sprite, inside, _ = synthetic.looks(scene)
        frame = synthetic.pictures(scene)[7].astype(float)
        behind = frame[np.isclose(frame, np.clip(background, 0, 255), atol=1).all(-1)].mean()
        assert scene.labels['sprite'] == ('bright' if sprite[inside[..., 0]].mean() > behind else 'dark')


def accuracy(model, features, labels):
    return cross_val_score(model, features, labels, cv=5).mean()


def three_sigma(chance, count):
    return 3 * np.sqrt(chance * (1 - chance) / count)


@pytest.mark.slow
def test_one_picture_tells_nothing():
    scenes = plan(11, 'test', 800)
    frames = np.stack([synthetic.pictures(scene)[24] for scene in scenes]).astype(np.float32)
    labels = [scene.motion for scene in scenes]
    axes = [scene.labels['axis'] for scene in scenes]
    small = frames.reshape(-1, 12, 8, 12, 8, 3).mean((2, 4)).reshape(len(frames), -1)
    # What a blur or a step along the axis of motion would show in.
    edges = np.concatenate([np.abs(np.diff(frames, n, axis)).mean((1, 2)) for axis in (1, 2) for n in (1, 2)], 1)
    forest = RandomForestClassifier(40, min_samples_leaf=3, random_state=0)
    for model, features in [(forest, small), (make_pipeline(PCA(40), LinearDiscriminantAnalysis()), small),
                            (LinearDiscriminantAnalysis(), edges)]:
        assert accuracy(model, features, labels) < 0.25 + three_sigma(0.25, 800)
        assert accuracy(model, features, axes) < 0.5 + three_sigma(0.5, 800)


def test_places_without_order_tell_the_axis_only():
    scenes = by_motion(1000)
    gaps = {}
    for motion, own in scenes.items():
        axis = 0 if MOTIONS[motion][0] else 1
        places = np.sort([positions(scene)[DENSE, axis] for scene in own], axis=1)
        gap = np.diff(places, axis=1, append=places[:, :1] + SIDE)
        widest = gap.argmax(1)
        gaps[motion] = np.stack([np.roll(row, -first - 1) for row, first in zip(gap, widest, strict=True)])
    for one, other in (('left', 'right'), ('up', 'down')):
        features = np.concatenate([gaps[one], gaps[other]])
        labels = np.repeat([0, 1], 1000)
        for model in (LinearDiscriminantAnalysis(), RandomForestClassifier(40, min_samples_leaf=5, random_state=0)):
            assert accuracy(model, features, labels) < 0.5 + three_sigma(0.5, 2000)


def test_the_tone_slides_as_named_and_an_instant_tells_nothing():
    at = {}
    for tone, sign in TONES.items():
        pitches = np.array([pitch(Scene((5, 5, index), 'left', tone, False)) for index in range(600)])
        assert pitches.min() >= synthetic.LOWEST * 0.999
        assert pitches.max() <= synthetic.HIGHEST * 1.001
        rises = np.sign(np.diff(pitches[:, ::100])) == sign
        assert rises.mean() > 0.98  # But for the wrap.
        at[tone] = np.log(pitches[:, [0, 8000, 31999]])
    uniform = stats.uniform(np.log(synthetic.LOWEST), np.log(synthetic.HIGHEST / synthetic.LOWEST)).cdf
    for instant in range(3):
        for tone in TONES:
            assert stats.kstest(at[tone][:, instant], uniform).pvalue > 1e-3


def test_pictures_and_sound_have_the_stated_form():
    scene = plan(0, 'train', 20)[3]
    frames = synthetic.pictures(scene)
    assert frames.shape == (50, SIDE, SIDE, 3)
    assert frames.dtype == np.uint8
    for other in plan(0, 'train', 40):
        waveform = synthetic.sound(other)
        assert (waveform is None) == other.silent
        assert waveform is None or (waveform.shape == (2 * RATE,) and np.abs(waveform).max() < 1)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp('made')
    assert synthetic.generate(out, seed=3, sizes=SIZES, progress=False) == out / 'manifest.csv'
    return out


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob('*'))
            if path.is_file()}


def test_files_are_what_was_drawn(made):
    with (made / 'manifest.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ['path', 'split', 'label', 'motion', 'axis', 'tone', 'sprite']
    assert [row['split'] for row in rows] == [split for split, count in SIZES.items() for _ in range(count)]
    for row, scene in zip(rows[:6], plan(3, 'train', 12), strict=False):
        assert row['label'] == f'{scene.motion}_{scene.tone}'
        info = probe(made / row['path'])
        assert (info.width, info.height, info.fps, info.duration) == (96, 96, 25, pytest.approx(2))
        back = read_frames(made / row['path'], start=0, end=2, fps=25, short_side=96)
        assert np.abs(back.astype(int) - synthetic.pictures(scene)).mean() < 8
        waveform = read_waveform(made / row['path'], start=0, end=2, rate=RATE)
        assert (waveform is None) == scene.silent
        if waveform is not None:
            assert np.corrcoef(waveform, synthetic.sound(scene))[0, 1] > 0.9


def test_the_same_bytes_from_a_pool(made, tmp_path):
    synthetic.generate(tmp_path, seed=3, sizes=SIZES, progress=False, workers=2)
    assert content(tmp_path) == content(made)


def test_killed_and_run_again_it_is_the_same(made, tmp_path):
    code = ('import pathlib, sys\nfrom vmmjax.prepare.sources import synthetic\nif __name__ == "__main__":\n'
            f'    synthetic.generate(pathlib.Path(sys.argv[1]), seed=3, sizes={SIZES}, workers=2)\n')
    script = tmp_path / 'make.py'
    script.write_text(code)
    out = tmp_path / 'out'
    process = subprocess.Popen([sys.executable, script, out], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.glob('clips/*.mp4')) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # The workers see it and end.
    assert not (out / 'manifest.csv').exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob('clips/*.mp4')}
    time.sleep(0.3)
    assert sorted(out.glob('clips/*.mp4')) == sorted(kept)
    subprocess.run([sys.executable, script, out], check=True, stderr=subprocess.PIPE)
    assert content(out) == content(made)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_progress_is_shown(tmp_path, capfd):
    synthetic.generate(tmp_path, seed=0, sizes={'train': 2})
    assert re.search(r'generating motion_sound: 100%', capfd.readouterr().err)


def test_other_settings_are_refused(made, tmp_path):
    with pytest.raises(UserError, match='other settings'):
        synthetic.generate(made, seed=4, sizes=SIZES, progress=False)
    (tmp_path / 'manifest.csv').write_text('path,split\n')
    with pytest.raises(UserError, match='another folder'):
        synthetic.generate(tmp_path, sizes=SIZES, progress=False)
    assert os.listdir(tmp_path) == ['manifest.csv']


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be written'):
        synthetic.generate(tmp_path / 'file' / 'out', sizes=SIZES, progress=False)
