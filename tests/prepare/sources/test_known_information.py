import itertools
import json

import av
import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.prepare import sources
from vmmjax.prepare.sources import known_information as known

SETTINGS = known.Settings(flip=0.1, missing=0.2)


def slope(values):
    return np.polyfit(np.arange(len(values)), values, 1)[0]


def test_the_files_show_the_bits_that_the_manifest_has(tmp_path):
    clips = sources.read('synthetic:known_information:missing=.3', generated=tmp_path, sizes={'train': 16},
                         progress=False)
    assert {clip.labels['has_audio'] for clip in clips} == {'0', '1'} == {clip.labels['has_rgb'] for clip in clips}
    half = known.SIDE // 2
    for clip in clips:
        with av.open(str(clip.path)) as container:
            frames = np.stack([frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]).astype(float)
        rises = [slope(frames[:, y:y + half, x:x + half].mean((1, 2, 3))) for y in (0, half) for x in (0, half)]
        if clip.labels['has_rgb'] == '1':
            assert [int(rise > 0) for rise in rises] == [
                int(clip.labels[f'rgb_{name}']) for name in known.CARRIED['rgb']]
            tint = int(frames[..., 0].mean() > frames[..., 2].mean())
            assert tint == int(clip.labels['recording'])
        else:
            assert np.abs(rises).max() < 0.01
        with av.open(str(clip.path)) as container:
            assert bool(container.streams.audio) == (clip.labels['has_audio'] == '1')
            if not container.streams.audio:
                continue
            sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        parts = np.abs(np.fft.rfft(np.stack(np.array_split(sound[:30000], 10)), axis=1))
        bins = [round(frequency * 3000 / known.RATE) for frequency in known.BANDS]
        levels = [np.log(parts[:, place - 2:place + 3].max(1)) for place in bins]
        assert [int(slope(level) > 0) for level in levels] == [
            int(clip.labels[f'audio_{name}']) for name in known.CARRIED['audio']]
        words = clip.labels['text'].split()
        if clip.labels['has_text'] == '1':
            assert [pair.index(word) for pair, word in zip(known.WORDS, words, strict=True)] == [
                int(clip.labels[f'text_{name}']) for name in known.CARRIED['text']]
        else:
            assert not words


def test_what_is_random_beside_the_bits_tells_nothing_of_them():
    scenes = known.plan(SETTINGS, 0, 'test', 400)
    half, shown = known.SIDE // 2, []
    for scene in scenes:
        # In the middle of their change, where what grows and what falls are alike.
        frame, sound = known.frames(scene)[9].astype(float), known.sound(scene)
        levels = [frame[y:y + half, x:x + half].mean() for y in (0, half) for x in (0, half)]
        shown.append([*levels, 0.0 if sound is None else np.log(np.std(sound[15500:16500]))])
    bits = np.array([[int(scene.labels[name]) for name in known.TARGETS] for scene in scenes])
    found = np.corrcoef(np.array(shown).T, bits.T)[:5, 5:]
    assert np.abs(found).max() < 0.2  # Four standard deviations of chance.


def best(labels, target, streams):
    """What the best model says: the likeliest label given what the streams show, by counting all that could be."""
    seen = [stream for stream in streams if labels[f'has_{stream}'] == '1']
    scores = np.zeros(2)
    parts = {'redundant': known.STREAMS, **known.PARITIES}[target]
    name = target
    for true in itertools.product((0, 1), repeat=len(parts)):
        if target == 'redundant' and len(set(true)) > 1:
            continue
        label = true[0] if target == 'redundant' else sum(true) % 2
        chance = 1.0
        for stream, bit in zip(parts, true, strict=True):
            if stream in seen:
                chance *= SETTINGS.flip if int(labels[f'{stream}_{name}']) != bit else 1 - SETTINGS.flip
        scores[label] += chance
    return scores[int(labels[target])] / scores.max() if scores[0] != scores[1] else 0.5


@pytest.mark.parametrize('target', known.TARGETS)
def test_no_rule_is_better_than_the_ceiling_and_the_best_reaches_it(target):
    scenes = known.plan(SETTINGS, 0, 'test', 4000)
    for size in (1, 2, 3):
        for streams in itertools.combinations(known.STREAMS, size):
            right = np.mean([found if (found := best(scene.labels, target, streams)) in (0.5, 1) else 0
                             for scene in scenes])
            ceiling = known.ceiling(SETTINGS, target, streams)
            assert right == pytest.approx(ceiling, abs=4 * (ceiling * (1 - ceiling) / 4000) ** 0.5), streams


def test_ceilings_in_closed_form():
    sure = known.Settings(flip=0, missing=0)
    assert known.ceilings(sure)['triple'] == {
        'rgb+audio+text': 1, 'rgb+audio': 0.5, 'rgb+text': 0.5, 'audio+text': 0.5, 'rgb': 0.5, 'audio': 0.5,
        'text': 0.5}
    noisy = known.Settings(flip=0.1, missing=0)
    assert known.ceiling(noisy, 'triple', known.STREAMS) == pytest.approx(0.756)
    assert [known.ceiling(noisy, 'redundant', known.STREAMS[:n]) for n in (1, 2, 3)] == pytest.approx([0.9, 0.9, 0.972])


def test_the_recording_agrees_in_training_alone():
    for split, share in (('train', SETTINGS.nuisance), ('test', 0.5)):
        labels = [scene.labels for scene in known.plan(SETTINGS, 0, split, 2000)]
        assert np.mean([each['recording'] == each['redundant'] for each in labels]) == pytest.approx(share, abs=0.05)
        assert np.mean([each['redundant'] == '1' for each in labels]) == pytest.approx(0.5, abs=0.05)


def test_the_ceilings_stand_beside_the_clips(tmp_path):
    known.generate(tmp_path, sizes={'test': 1}, options='flip=0,missing=0', progress=False)
    told = json.loads((tmp_path / 'known_information.json').read_text())
    assert told['ceilings']['pair']['rgb+audio'] == 1
    assert told['ceilings']['pair']['rgb'] == 0.5


@pytest.mark.parametrize(('options', 'said'), [
    ('flop=.1', "no setting 'flop': did you mean 'flip'"), ('flip=some', 'is no number'),
    ('flip=2', 'not between 0 and 1'), ('lag=1', 'not between 0 and 0.75')])
def test_bad_settings_are_one_sentence(options, said, tmp_path):
    with pytest.raises(UserError, match=said):
        sources.read(f'synthetic:known_information:{options}', generated=tmp_path, progress=False)
    with pytest.raises(UserError, match='has no settings'):
        sources.read('synthetic:motion_sound:flip=1', generated=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
