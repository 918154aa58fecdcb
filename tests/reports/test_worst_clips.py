import base64
import csv
import dataclasses
import io
import re
import types
import wave

import av
import numpy as np
import pytest

from tests.evaluation.pages import Page, opened
from tests.media.files import counting_frames, write_media
from tests.reports.test_run_page import result_of
from vmmjax.evaluation.predictions import Predictions
from vmmjax.evaluation.result import write
from vmmjax.prepare import sources
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Audio, Flow, Rgb, Waveform
from vmmjax.reports import players, run_page, worst_clips
from vmmjax.serving.explanation import Explanation, Map
from vmmjax.store.store import Store

RATE = 8000
COLUMNS = (Rgb(fps=12.5, short_side=32), Flow(fps=12.5, short_side=32), Audio(audio_rate=RATE, fmax=3800.0, bands=16),
           Waveform(audio_rate=RATE))
TOLD = [{'target': 'label', 'truth': 'place', 'probability': 0.125, 'named': [['set', 0.75], ['place', 0.125]]}]


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    """A clip with sound, and one without."""
    folder = tmp_path_factory.mktemp('worst')
    tone = np.sin(np.arange(19200) * 0.3).astype(np.float32) / 2
    write_media(folder / 'a.mp4', counting_frames(30), waveform=tone)
    write_media(folder / 'silent.mp4', counting_frames(30))
    with (folder / 'manifest.csv').open('w', newline='') as file:
        csv.writer(file).writerows([['path', 'split', 'id', 'said'], ['a.mp4', 'test', 'first', 'place <b>red</b>'],
                                    ['silent.mp4', 'test', 'silent', '']])
    prepare(sources.read(str(folder / 'manifest.csv')), folder / 'store', COLUMNS, origin='manifest.csv', processes=1,
            progress=False)
    return Store(folder / 'store')


def data(*modalities, seconds=0.4, **views):
    return {'streams': {name: {'modality': name} for name in modalities},
            'window': {'seconds': seconds, 'start': None}, 'views': views}


def shown(store, *clips, **options):
    found = [{'clip': clip, 'loss': 2.0, 'told': TOLD} for clip in clips]
    return worst_clips.shown(found, store, data('flow', 'audio', 'rgb', 'text:said', **options))


def content(source):
    kind, text = source.split(';base64,')
    return kind, base64.b64decode(text)


def test_the_greatest_losses_come_first_and_unknown_ones_not_at_all():
    losses = np.array([1.0, 3.0, np.nan, 2.0])
    task = types.SimpleNamespace(losses=lambda rows: losses, reading=lambda rows, place: [place])
    rows = Predictions(np.array([4, 5, 6, 7], np.int32), None, None, {})
    store = types.SimpleNamespace(clip='row {}'.format)
    assert worst_clips.listed(task, rows, store) == [{'clip': 'row 5', 'loss': 3.0, 'told': [1]},
                                               {'clip': 'row 7', 'loss': 2.0, 'told': [3]},
                                               {'clip': 'row 4', 'loss': 1.0, 'told': [0]}]
    task.losses = lambda rows: None
    assert worst_clips.listed(task, rows, store) == []
    task.losses, rows = lambda rows: np.arange(30.), Predictions(np.arange(30), None, None, {})
    assert [each['loss'] for each in worst_clips.listed(task, rows, store)] == [29, 28, 27, 26, 25, 24]


def test_pictures_and_motion_play_beside_each_other_with_the_sound(store):
    first, silent = shown(store, 'first', 'silent')
    kind, video = content(first['video'])
    assert kind == 'data:video/mp4'
    with av.open(io.BytesIO(video)) as file:
        assert float(file.streams.video[0].average_rate) == 12.5
        frames = [frame.to_ndarray(format='rgb24') for frame in file.decode(video=0)]
        assert file.streams.audio[0].rate == RATE
    assert len(frames) == 15
    assert frames[0].shape == (160, 320, 3)
    # Each picture is brighter than the last; a still place of the motion is white.
    left = [frame[:, :160].mean() for frame in frames]
    np.testing.assert_allclose(np.diff(left), 8, atol=2)
    assert frames[0][:, 160:].mean() > 240
    with av.open(io.BytesIO(content(silent['video'])[1])) as file:
        assert not file.streams.audio
    assert first['holds'] == ['rgb', 'flow']


def test_a_clip_is_told_as_it_was_seen(store):
    (clip,) = shown(store, 'first', clips=3)
    lanes = {lane['name']: lane for lane in clip['seen']['lanes']}
    assert list(lanes) == ['window', 'rgb', 'flow', 'audio']  # What the run reads, and no waveform.
    assert [span['left'] for span in lanes['window']['spans']] == pytest.approx([0, 100 / 3, 200 / 3])
    assert [span['width'] for span in lanes['window']['spans']] == pytest.approx([100 / 3] * 3)
    assert clip['texts'] == {'said': 'place <b>red</b>'}
    (text,) = worst_clips.shown([{'clip': 'first'}], store, data('text:said'))
    assert not text['seen']['lanes']
    (whole,) = shown(store, 'first', seconds=0)
    assert 'window' not in [lane['name'] for lane in whole['seen']['lanes']]
    (unknown,) = shown(store, 'of another store')
    assert 'video' not in unknown


def test_sound_alone_plays(store):
    heard, silent = worst_clips.shown([{'clip': 'first'}, {'clip': 'silent'}], store, data('audio'))
    kind, sound = content(heard['audio'])
    assert kind == 'data:audio/wav'
    with wave.open(io.BytesIO(sound)) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE, pytest.approx(1.2 * RATE, abs=10))
    assert 'video' not in heard
    assert 'audio' not in silent


def test_a_large_clip_is_made_small_or_left_out(store, monkeypatch):
    (whole,) = shown(store, 'first')
    size = len(content(whole['video'])[1])
    monkeypatch.setattr(players, '_MOST_BYTES', size - 1)
    (smaller,) = shown(store, 'first')
    assert 0 < len(content(smaller['video'])[1]) < size
    monkeypatch.setattr(players, '_MOST_BYTES', 100)
    assert shown(store, 'first')[0]['video'] == ''


def explained(store, row):
    """Two windows of pictures and sound under maps, and words."""
    rng = np.random.default_rng(row)
    seen = {'rgb': rng.integers(0, 256, (2, 4, 16, 16, 3), np.uint8), 'audio': rng.normal(size=(2, 40, 8)),
            'said': ['place', 'red']}
    shapes = {'rgb': (2, 2, 4, 4), 'audio': (2, 10, 2), 'said': (2, 2)}
    maps = [Map(name, 'hirescam', f'encoders_{name}/last', rng.normal(size=shape), np.ones(2), np.zeros(2))
            for name, shape in shapes.items()]
    return Explanation(store.clip(row), 1.2, '', 'left', np.array([0.0, 0.4]), 0.8, np.ones(2),
                       dict.fromkeys(seen, True), None, True, maps, seen)


def test_maps_stand_beside_a_clip(store, tmp_path):
    said = {'target': '', 'class': 'left', 'values': {'rgb': 1.25, 'audio': -0.5}}
    listed = [{'clip': 'first', 'loss': 2.0, 'told': TOLD, 'streams': [said]},
              {'clip': 'gone', 'loss': 1.0, 'told': TOLD}]
    first, gone = worst_clips.shown(listed, store, data('rgb', 'audio'), explained)
    assert 'maps' not in gone
    pictures, spectrum = first['maps']
    kind, video = content(pictures['video'])
    assert kind == 'data:video/mp4'
    with av.open(io.BytesIO(video)) as file:
        frames = [frame.to_ndarray(format='rgb24') for frame in file.decode(video=0)]
    assert len(frames) == 8
    assert frames[0].shape[1] == 2 * 224
    assert content(spectrum['image'])[1].startswith(b'\x89PNG')
    write(tmp_path, dataclasses.replace(result_of(), worst=listed))
    page = Page(run_page.write(tmp_path, show=lambda found: worst_clips.shown(
        found, store, data('rgb', 'audio'), explained)).read_text(encoding='utf-8'))
    assert page.tags.count('video') == 2
    assert 'rgb, hirescam at encoders_rgb/last: red speaks for left' in page.text
    assert 'exact: the values sum' in page.text
    assert ' '.join(page.text.split()).count('left, which stream said what: rgb +1.25, audio -0.50') == 1


@pytest.fixture
def page(store, tmp_path):
    listed = [{'clip': name, 'loss': 2.0, 'told': TOLD} for name in ('first', 'silent', 'gone')]
    write(tmp_path, dataclasses.replace(result_of(), worst=listed))
    return run_page.write(
        tmp_path, show=lambda found: worst_clips.shown(found, store, data('rgb', 'flow', 'text:said')))


def test_the_page_plays_them_and_is_whole_by_itself(page, store):
    text = page.read_text(encoding='utf-8')
    parsed = Page(text)
    assert parsed.tags.count('video') == 2
    assert parsed.tags.count('article') == 3
    assert 'script' not in parsed.tags
    for said in ('The worst clips', 'first · loss 2.000', 'place 12.5 %', 'set 75.0 %', 'place <b>red</b>',
                 'this clip has none', 'Motion: the colour'):
        assert said in ' '.join(parsed.text.split())
    assert '//' not in re.sub(r'base64,[^"]*|/\*.*?\*/', '', text)
    for _, name, value in parsed.attributes:
        if name == 'src':
            assert value.startswith('data:')
    assert str(store.path.parent) not in text
    assert len(text) < 600_000


@pytest.mark.slow
def test_they_play_in_a_browser(page, tmp_path_factory):
    """The page itself runs no script: a copy of it tells what the browser made of it."""
    text = page.read_text(encoding='utf-8')
    tells = '<script>onload = () => { document.title = [...document.querySelectorAll("video")].map(' \
            'video => `${video.videoWidth}x${video.videoHeight} ${video.duration.toFixed(1)}`).join() }</script>'
    copy = page.with_name('copy.html')
    copy.write_text(text.replace("default-src 'none'; ", '').replace('</main>', f'</main>{tells}'), encoding='utf-8')
    document, _ = opened(copy, 1200, tmp_path_factory.mktemp('browser'))
    assert '<title>320x160 1.2,320x160 1.2</title>' in document
    document, log = opened(page, 390, tmp_path_factory.mktemp('browser'))
    assert document.count('<video') == 2
    assert 'CONSOLE' not in log
