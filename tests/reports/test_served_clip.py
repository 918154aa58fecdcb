import json

import av
import jax
import numpy as np
import pytest

from scripts import fuzz_media
from tests.serving.live import lights
from vmmjax.errors import UserError
from vmmjax.evaluation import new_clips, prediction_lines
from vmmjax.experiment import Experiment
from vmmjax.media.container import MediaError
from vmmjax.media.writer import write_clip
from vmmjax.pipeline.windows import WindowSpec
from vmmjax.reports.served_clip import ServedClip


@pytest.fixture(scope='module')
def judge(lights_run):
    return ServedClip(Experiment.load(lights_run), WindowSpec(lights.WINDOW))


@pytest.fixture(scope='module')
def found(judge, films, tmp_path_factory):
    return judge(films / 'film.mp4', 'my film', tmp_path_factory.mktemp('found'))


def test_values_over_time_are_those_of_the_tokens(found):
    (curve,) = found.view['curves']
    assert found.view['is_probability']
    moments = np.array(curve['moments'])
    assert moments[:, 0].tolist() == [0, *moments[:-1, 1]], 'no gap'
    assert moments[-1, 1] == lights.SECONDS
    middle = moments[:, :2].mean(1)
    inside = np.logical_or.reduce([(middle > start) & (middle < end) for start, end in lights.EVENTS['film.mp4']])
    assert (moments[inside, 2] > .9).all()
    assert (moments[~inside, 2] < .1).all()
    (read,) = found.view['predicted']
    assert [(event['start'], event['end']) for event in read['events']] == lights.EVENTS['film.mp4']


def test_sound_lies_on_the_same_axis(found):
    lanes = found.view['lanes']
    assert found.view['seconds'] == lights.SECONDS
    assert lanes['path'].startswith('M0 ')
    assert lanes['image'].startswith('data:image/png;base64,')
    assert lanes['width'] == pytest.approx(1, abs=.01)


def test_an_explanation_says_which_stream_and_where(found):
    why = found.view['explanation']
    assert sum(stream['value'] for stream in why['streams']) == pytest.approx(why['logit'], abs=1e-4)
    assert {stream['name'] for stream in why['streams']} == {'rgb', 'audio'}
    assert why['starts'] == [0, 2, 4, 6, 8, 10]
    kinds = {each['stream']: each for each in why['maps']}
    assert kinds['audio']['kind'] == 'spectrum'
    assert found.files['audio.png'].read_bytes().startswith(b'\x89PNG')
    values = np.array(kinds['rgb']['moments'])
    assert kinds['rgb']['kind'] == 'curve'
    assert np.abs(values[:, 2]).max() == 1
    at = values[:, :2].mean(1)
    assert (values[(at > 3) & (at < 5), 2] > .2).all()


def test_what_is_downloaded_is_json(found):
    told = json.loads(json.dumps(found.prediction, allow_nan=False))
    json.dumps(found.view, allow_nan=False)
    assert told['video'] == 'my film'
    assert [(part['start'], part['end']) for part in told['windows']] == [(s, s + 2) for s in range(0, 12, 2)]
    assert told['over_time'] == found.view['curves']
    assert told['explanation']['subsets'].keys() == {'none', 'rgb', 'audio', 'audio+rgb'}


def test_the_keys_are_those_of_predict(found, judge, films):
    (whole,) = judge._run.predict([films / 'film.mp4'], most=5)
    first = next(iter(new_clips.windows(judge._run, films / 'film.mp4', WindowSpec(lights.WINDOW), most=5)))
    lines = [json.loads(prediction_lines.of_json(each, 'video')) for each in (whole, first)]
    assert list(found.prediction) == [*lines[0], 'windows', 'over_time', 'explanation']
    assert list(found.prediction['windows'][0]) == list(lines[1])
    assert found.prediction['predicted'] == lines[0]['predicted']


def test_a_prediction_stands_where_its_explanation_fails(judge, films, tmp_path, monkeypatch):
    def fails(*_):
        raise UserError('The network has no layer that fits; name one.')

    monkeypatch.setattr(judge, '_explainer', fails)
    found = judge(films / 'other.mp4', 'other', tmp_path)
    assert found.view['predicted']
    assert found.view['curves']
    assert (found.view['explanation'], found.prediction['explanation']) == (None, None)
    assert found.view['unexplained'] == 'The network has no layer that fits; name one.'


def test_scores_that_are_not_finite_are_refused(judge, films, tmp_path, monkeypatch):
    state = judge._run.state
    broken = jax.tree.map(lambda leaf: leaf * np.nan, state.params)
    monkeypatch.setattr(judge._run, 'state', state.replace(params=broken))
    with pytest.raises(UserError, match='NaN or infinite'):
        judge(films / 'other.mp4', 'other', tmp_path)


def test_a_summary_is_shown_by_its_scores(films, tmp_path):
    run = lights.save_run(tmp_path / 'run', films / 'store', task=dict(name='summarization', share=.25, segment=.5))
    found = ServedClip(Experiment.load(run), WindowSpec(lights.WINDOW))(films / 'film.mp4', 'film', tmp_path)
    (curve,) = found.view['curves']
    (told,) = found.prediction['predicted']
    assert (curve['class'], curve['moments'], found.view['curves_note']) == ('summary', told['scores'], '')
    assert len(curve['moments']) == lights.SECONDS / .5


@pytest.mark.slow
def test_sentences_are_served(films, tmp_path):
    pytest.importorskip('jiwer', reason='jiwer is not installed: pip install "vmmjax[sequences]"')
    run = Experiment.load(lights.save_run(
        tmp_path / 'run', films / 'store', task=dict(name='transcription', ctc=1.0), target='from',
        views=dict(clips=1, crops=1, average='logits')))
    found = ServedClip(run, WindowSpec(lights.WINDOW))(films / 'film.mp4', 'film', tmp_path)
    assert found.prediction['predicted'] == prediction_lines.as_json(run.predict([films / 'film.mp4'])[0])['predicted']
    assert found.view['curves'] == []
    assert 'transcription says nothing of single moments' in found.view['curves_note']
    assert 'transcription has no classes, and a logit of one is what is explained' in found.view['unexplained']
    json.dumps(found.prediction, allow_nan=False)


def test_a_file_without_sound_and_one_without_pictures(judge, films, tmp_path):
    write_clip(tmp_path / 'silent.mp4', lights.film([(1, 2)], seconds=4)[0], fps=lights.FPS)
    silent = judge(tmp_path / 'silent.mp4', 'silent', tmp_path)
    assert silent.view['present'] == {'rgb': True, 'audio': False}
    assert silent.view['lanes'] is None
    assert {each['stream'] for each in silent.view['explanation']['maps']} == {'rgb'}
    with av.open(str(films / 'film.mp4')) as source, av.open(str(tmp_path / 'heard.m4a'), 'w', format='mp4') as copy:
        track = copy.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = track
                copy.mux(packet)
    heard = judge(tmp_path / 'heard.m4a', 'heard', tmp_path)
    assert heard.view['present'] == {'rgb': False, 'audio': True}
    assert heard.view['lanes'] is not None


def test_a_film_of_what_speaks_where_pictures_have_places(films, tmp_path):
    """A convolution in place of a mean, so that a map has rows and columns."""
    streams = {'rgb': dict(lights.STREAMS['rgb'])}
    run = lights.save_run(tmp_path / 'run', films / 'store', streams=streams, encoder='Places')
    found = ServedClip(Experiment.load(run), WindowSpec(lights.WINDOW))(films / 'other.mp4', 'other', tmp_path)
    (shown,) = found.view['explanation']['maps']
    assert (shown['kind'], shown['file']) == ('film', 'rgb.mp4')
    with av.open(str(found.files['rgb.mp4'])) as container:
        frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    assert len(frames) == 6 * 8
    assert shown['seconds'] == pytest.approx(2)


def test_what_lasts_too_long_is_refused(judge, tmp_path):
    write_clip(tmp_path / 'long.mp4', np.zeros((61, 16, 16, 3), np.uint8), fps=.1)
    with pytest.raises(MediaError, match='it lasts 610 s, and the page takes 600 s at most'):
        judge(tmp_path / 'long.mp4', 'long', tmp_path)


def test_a_small_file_with_huge_pictures_is_refused(judge, tmp_path):
    (tmp_path / 'huge.gif').write_bytes(fuzz_media.gif(300, 8192))
    with pytest.raises(MediaError, match=r'its pictures of 8192 x 8192 are 1\.2 times as many'):
        judge(tmp_path / 'huge.gif', 'huge', tmp_path)
