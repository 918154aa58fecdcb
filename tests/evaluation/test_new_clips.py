"""What a run predicts of new files is what its evaluation says of a store of them."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests import fakes
from tests.evaluation import runs
from vmmjax.errors import UserError
from vmmjax.evaluation import new_clips, prediction_lines
from vmmjax.evaluation.measure_clips import measure
from vmmjax.experiment import Experiment
from vmmjax.media.probe import MediaError
from vmmjax.pipeline.windows import SlidingWindows, WindowSpec
from vmmjax.prepare import file_store, sources
from vmmjax.prepare.forward import Forward
from vmmjax.prepare.sources.clip import Clip
from vmmjax.store.store import Store
from vmmjax.training.sharding import row_shards

CUT = WindowSpec(0.6, 0.25)


@pytest.fixture(scope='module')
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.write_source(tmp_path_factory.mktemp('files'), {'train': 6, 'test': 6})


@pytest.fixture(scope='module')
def store(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return runs.prepared(manifest, tmp_path_factory.mktemp('stores') / 'store')


@pytest.fixture(scope='module')
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return runs.trained(store, tmp_path_factory.mktemp('runs') / 'classes', views=dict(clips=2))


@pytest.fixture(scope='module')
def events(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    task = dict(name='events', positive='left', high=0.5, low=0.4)
    return runs.trained(store, tmp_path_factory.mktemp('runs') / 'events', task=task, model=runs.PER_TOKEN,
                        streams=dict(audio=runs.AUDIO), views=dict(clips=3))


def _test_clips(manifest: Path) -> list[Clip]:
    return [clip for clip in sources.read(str(manifest)) if clip.split == 'test']


@pytest.mark.parametrize('which', ['run', 'events'])
def test_new_clips_are_measured_as_a_store_of_them(which: str, manifest: Path, store: Store,
                                                   request: pytest.FixtureRequest) -> None:
    experiment: Experiment = request.getfixturevalue(which)
    found = measure(experiment, _test_clips(manifest), name='new', most=2)
    expected = experiment.predictions('test')
    assert list(found.predictions) == list(expected)
    for subset, rows in expected.items():
        mine = found.predictions[subset]
        jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5),
                     (mine.target, mine.scores, mine.present), (rows.target, rows.scores, rows.present))
        assert found.store.values('id')[mine.id].tolist() == store.values('id')[rows.id].tolist()
    one, other = (dataclasses.asdict(result) for result in (
        experiment.result(found.predictions, 'test', found.store), experiment.result(expected, 'test')))
    assert (one.pop('store'), other.pop('store')) == ('new', store.name)
    _assert_close(one, other)
    assert [told.clip for told in found.told] == [clip.id for clip in _test_clips(manifest)]
    assert not any(told.error for told in found.told if told.present.get('audio'))


def _assert_close(one: Any, other: Any) -> None:
    if isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in other:
            _assert_close(one[key], other[key])
    elif isinstance(other, list | tuple):
        for left, right in zip(one, other, strict=True):
            _assert_close(left, right)
    else:
        assert one == (pytest.approx(other, rel=1e-4, abs=1e-6) if isinstance(other, float) else other)


def test_labels_may_be_few_missing_or_unknown(run: Experiment, manifest: Path) -> None:
    clips = [dataclasses.replace(clip, labels={'label': label, 'name': ''}) for clip, label in zip(
        _test_clips(manifest)[:3], ('up', '', 'up'), strict=True)]
    rows = measure(run, clips, name='new', most=1).predictions['audio+rgb']
    assert rows.id.tolist() == [0, 2]
    assert rows.target.tolist() == [2, 2], 'a class has the number that it has in the run'
    bare = [dataclasses.replace(clip, labels={}) for clip in clips]
    found = measure(run, bare, name='new', most=1)
    assert (found.predictions, len(found.told)) == ({}, 3)
    wrong = [dataclasses.replace(clips[0], labels={'label': 'ritgh', 'name': ''})]
    with pytest.raises(UserError, match="'label' = 'ritgh', which is no class of the run: did you mean 'right'"):
        measure(run, wrong, name='new', most=1)
    with pytest.raises(UserError, match=r'None of the 1 clips of new can be read; the first: .*there is no such file'):
        measure(run, [dataclasses.replace(bare[0], path=Path('nowhere.mp4'))], name='new', most=1)


@pytest.mark.parametrize('forward', [False, True])
def test_a_timeline_is_that_of_the_stored_clip(forward: bool, run: Experiment, manifest: Path, store: Store,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    if forward:
        monkeypatch.setattr(file_store, '_LONG', 0.0)
    row = store.rows('test')[1]
    clip = next(clip for clip in _test_clips(manifest) if clip.id == store.clip(row))
    found = list(new_clips.windows(run, clip, CUT, most=1, batch_size=1))
    size = row_shards(run.batch_sharding)
    expected = SlidingWindows(store, run.config.data.to_dict(), np.array([row]), cut=CUT, batch_size=size)
    np.testing.assert_allclose([told.start for told in found], expected.starts)
    np.testing.assert_allclose([told.end for told in found], expected.ends)
    scores = []
    for step, batch in enumerate(expected.batches()):
        numbers = np.where(batch['mask'] > 0, size * step + batch['row'], -1).astype(np.int32)
        rows = run.predictions_of([{**batch, 'id': numbers}], [], subsets=False)['audio+rgb']
        scores += list(rows.scores)
    np.testing.assert_array_equal([told.scores for told in found], scores)
    assert len({told.reading[0]['named'][0][1] for told in found}) > 1, 'windows differ'
    line = json.loads(prediction_lines.of_json(found[1], 'video'))
    assert (line['video'], line['start'], line['end']) == (clip.id, 0.25, 0.85)
    assert prediction_lines.of_text(found[1]).startswith('      0.25 to 0.85 s  ')


def test_the_parts_of_a_file_have_the_times_of_the_file(run: Experiment, manifest: Path) -> None:
    whole = _test_clips(manifest)[1]
    part = dataclasses.replace(whole, start=0.5, end=1.25)
    found = list(new_clips.windows(run, part, WindowSpec(0.6), most=1))
    assert [(told.start, told.end) for told in found] == [(0.5, 1.1), (1.1, 1.25)]
    (told,) = run.predict([part])
    assert (told.start, told.end) == (0.5, 1.25)


def test_events_have_the_times_of_the_file(events: Experiment, manifest: Path) -> None:
    clip = dataclasses.replace(_test_clips(manifest)[1], start=0.1)
    parts = list(new_clips.windows(events, clip, WindowSpec(0.6), most=1))
    whole = new_clips.whole(events, parts, WindowSpec(0.6))
    assert (whole.start, whole.end) == (0.1, parts[-1].end)
    for told in (whole, *parts, *events.predict([clip])):
        (reading,) = told.reading
        assert len(reading['named']) == len(reading['events'])
        for event in reading['events']:
            assert told.start - 1e-3 <= event['start'] < event['end'] <= told.end + 0.01
            assert 0.5 <= event['probability'] <= 1
    # Every moment of a window is in it alone: the file's events are those of the windows, joined where they touch.
    spans = [(event['start'], event['end']) for told in parts for event in told.reading[0]['events']]
    assert sum(end - start for start, end in spans) == pytest.approx(
        sum(event['end'] - event['start'] for event in whole.reading[0]['events']), abs=0.01 * (len(spans) + 1))
    assert 'events' in whole.to_json()['predicted'][0]


def test_one_file_that_fails_on_the_way_costs_only_itself(run: Experiment, manifest: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    clips = _test_clips(manifest)[1:4]
    expected = run.predict(clips)
    monkeypatch.setattr(file_store, '_LONG', 0.0)
    take = Forward._take

    def fails(self: Forward) -> None:
        if self._path == clips[1].path and self._next > 2:
            raise MediaError(self._path, 'it is damaged further on')
        take(self)

    monkeypatch.setattr(Forward, '_take', fails)
    found = run.predict(clips)
    assert [bool(told.error) for told in found] == [False, True, False]
    assert 'it is damaged further on' in found[1].error
    for place in (0, 2):
        np.testing.assert_allclose(found[place].scores, expected[place].scores, rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match='damaged further on'):
        list(new_clips.windows(run, clips[1], CUT, most=1))


def test_retrieval_says_how_alike_the_streams_are(store: Store, manifest: Path, tmp_path: Path) -> None:
    task = dict(name='retrieval', streams=('rgb', 'audio'), dimensions=4)
    experiment = runs.trained(store, tmp_path, task=task, model=dict(stream_head=dict(name='consensus')))
    clips = _test_clips(manifest)
    for told, clip in zip(experiment.predict(clips), clips, strict=True):
        (reading,) = told.reading
        vectors = reading['embeddings']
        assert all(np.linalg.norm(vector) == pytest.approx(1) for vector in vectors.values())
        if clip.name == '006.mp4':
            assert (list(vectors), reading['named']) == (['rgb'], [])
        else:
            assert reading['cosine'] == pytest.approx(np.dot(vectors['rgb'], vectors['audio']))
        json.loads(prediction_lines.of_json(told))
    assert measure(experiment, clips, name='new', most=1).predictions['rgb+audio'].target == {}


def test_a_line_of_csv_for_every_target(run: Experiment, manifest: Path, tmp_path: Path) -> None:
    good, (broken,) = run.predict([_test_clips(manifest)[0].path], most=2), run.predict([tmp_path / 'none.mp4'])
    text = prediction_lines.header() + ''.join(prediction_lines.of_csv(told, 2) for told in (*good, broken))
    first, second = csv.DictReader(text.splitlines())
    assert (first['target'], first['absent'], first['error']) == ('label', 'audio', '')
    assert first['predicted'].count(';') == first['probability'].count(';') == 1
    assert 'there is no such file' in second['error']
