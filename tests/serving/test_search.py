"""Clips are found by a sentence, a clip or a sound, and as by comparing everything with everything."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.cli.conftest import refused, vmmjax
from tests.evaluation.pages import Page
from tests.serving import colours, two_streams
from vmmjax.errors import UserError
from vmmjax.experiment import Experiment
from vmmjax.serving.embeddings import Embedded, Towers
from vmmjax.serving.index import SETTINGS, WINDOWS, Index, IndexWriter


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    return colours.make_store(tmp_path_factory.mktemp('colours'))


@pytest.fixture(scope='module')
def run(store, tmp_path_factory):
    return colours.trained(store, tmp_path_factory.mktemp('runs') / 'matched')


@pytest.fixture(scope='module')
def index(store, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp('indexes') / 'test'
    found = vmmjax('index', store.path, f'--weights={run}', f'--output={folder}', '--split=test')
    assert found.returncode == 0, found.stderr
    assert '12 windows' in found.stdout  # Clips of 1.2 s, windows of one second, the last one padded.
    return folder


def asked(index, question, *flags):
    found = vmmjax('search', index, question, '--json', *flags)
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


@pytest.mark.slow
def test_a_sentence_finds_the_clips_that_it_tells_of(index, store, tmp_path):
    page = tmp_path / 'found.html'
    hits = asked(index, 'a green film sounds high', '--top=2', f'--page={page}')
    texts = dict(zip(store.values('id').tolist(), store.values('text').tolist(), strict=True))
    assert texts[hits[0]['clip']] == 'a green film sounds high'
    assert hits[0]['score'] > hits[1]['score']
    assert (hits[0]['start'], hits[0]['end']) in ((0.0, 1.0), (1.0, 1.2))
    shown = Page(page.read_text())
    assert 'a green film sounds high' in shown.text
    assert hits[0]['clip'] in shown.text
    sources = [value for tag, name, value in shown.attributes if (tag, name) == ('video', 'src')]
    assert len(sources) == 2
    assert all(source.startswith('data:video/mp4;base64,') for source in sources)


@pytest.mark.slow
def test_a_sound_finds_pictures_and_a_clip_itself(index, store, tmp_path):
    texts = dict(zip(store.values('id').tolist(), store.values('text').tolist(), strict=True))
    question = tmp_path / 'question.mp4'
    colours.write(question, 'blue', 'low', seed=100)
    hits = asked(index, question, '--top=2')
    assert texts[hits[0]['clip']] == 'a blue film sounds low'
    # Of sound alone: what the pictures of the index say.
    by_pictures = asked(index, question, '--by=rgb', '--top=6')
    assert 'blue' in texts[by_pictures[0]['clip']]
    assert len(by_pictures) == 6


@pytest.mark.slow
def test_files_are_indexed_and_one_that_cannot_be_read_costs_itself(run, tmp_path):
    for place, colour in enumerate(colours.COLOURS):
        colours.write(tmp_path / f'{colour}.mp4', colour, 'low', seed=200 + place, silent=colour == 'blue')
    (tmp_path / 'broken.mp4').write_bytes(b'nothing')
    (tmp_path / 'green.mp4').rename(tmp_path / os.fsdecode(b'gr\xffn.mp4'))
    found = vmmjax('index', tmp_path, f'--weights={run}', f'--output={tmp_path / "films"}', '--stride=0.5')
    assert found.returncode == 2
    assert '1 of 4 files could not be read' in found.stderr
    index = Index(tmp_path / 'films')
    assert index.settings['clips'] == 3
    assert index.settings['weights'] == str(run.absolute())
    vector = Towers(run).of_text('a red film sounds low')
    assert [hit.clip.rpartition('/')[2] for hit in index.find(vector, 1)] == ['red.mp4']
    # A silent file has no vectors of sounds.
    assert {hit.clip.rpartition('/')[2] for hit in index.find(vector, 3, ['audio'])} == {'red.mp4', r'gr\xffn.mp4'}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith('.')]


def made(folder, clips, dimensions=5, seed=0):
    """An index of so many clips of one to four windows, and its vectors; some windows lack the stream."""
    random = np.random.default_rng(seed)
    settings = {'weights': 'runs/mine', 'step': 7, 'run': 'abc', 'streams': ['one', 'two'], 'dimensions': dimensions,
                'window': 1.0, 'stride': 1.0, 'store': ''}
    every: list[tuple[int, np.ndarray, np.ndarray]] = []
    with IndexWriter(folder, settings) as writer:
        for clip in range(clips):
            count = int(random.integers(1, 5))
            vectors = {}
            for name in ('one', 'two'):
                x = random.normal(size=(count, dimensions))
                x /= np.linalg.norm(x, axis=1, keepdims=True)
                vectors[name] = np.where(random.random((count, 1)) < 0.2, 0, x).astype(np.float32)
            starts = np.arange(float(count))
            writer.add(writer.clip(f'clip {clip}', ''), Embedded(np.zeros(count), starts, starts + 1, vectors))
            every += [(clip, vectors['one'][i], vectors['two'][i]) for i in range(count)]
    return Index(folder), every


def test_blocks_of_any_size_find_what_comparing_everything_finds(tmp_path):
    index, every = made(tmp_path / 'index', 60)
    question = np.random.default_rng(1).normal(size=5)
    question = (question / np.linalg.norm(question)).astype(np.float32)
    for streams in ([], ['two']):
        best = {}
        for clip, one, two in every:
            there = [x for x in ((two,) if streams else (one, two)) if x.any()]
            if there:
                best[clip] = max(best.get(clip, -2), float(np.mean([x @ question for x in there])))
        expected = sorted(best.items(), key=lambda pair: -pair[1])[:7]
        for block in (1, 3, 16, 1000):
            hits = index.find(question, 7, streams, block)
            assert [hit.number for hit in hits] == [clip for clip, _ in expected], block
            np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in expected], rtol=1e-5)


def test_an_index_is_whole_or_not_there(tmp_path):
    settings = {'streams': ['one'], 'dimensions': 2, 'windows': 1}
    writer = IndexWriter(tmp_path / 'index', settings)
    writer.clip('a', '')
    writer.__exit__(RuntimeError, None, None)
    assert list(tmp_path.iterdir()) == []
    index, _ = made(tmp_path / 'index', 3)
    with pytest.raises(UserError, match='is there already; name another --output'):
        IndexWriter(tmp_path / 'index', settings)
    with pytest.raises(UserError, match="has no vectors of 'three': "):
        index.find(np.zeros(5, np.float32), 1, ['three'])
    (tmp_path / 'index' / 'one.npy').write_bytes((tmp_path / 'index' / 'one.npy').read_bytes()[:-4])
    with pytest.raises(UserError, match='is damaged'):
        Index(tmp_path / 'index')


@pytest.mark.slow
def test_what_cannot_be_asked_is_one_sentence(index, run, tmp_path):
    changed, other = Experiment.load(run), tmp_path / 'other'
    changed.state = changed.state.replace(params=jax.tree.map(lambda leaf: 1.01 * leaf, changed.state.params))
    two_streams.save(other, changed)
    with pytest.raises(UserError, match=f'{other} has other parameters, with which its vectors do not compare'):
        Index(index).check(Towers(other).identity, str(other))
    towers = Towers(run)
    Index(index).check(towers.identity, str(run))
    with pytest.raises(UserError, match="knows no word of 'zebra crossing'"):
        towers.of_text('zebra crossing')
    with pytest.raises(UserError, match='is no index'):
        Index(run)


@pytest.mark.slow
def test_a_question_is_checked_before_anything_is_read(tmp_path):
    assert 'The file nowhere.wav is not there' in refused('search', tmp_path, 'nowhere.wav')
    assert 'The question is empty' in refused('search', tmp_path, ' ')
    sentence = 'a dog that barks and barks, ' * 20  # No file has a name of so many bytes.
    assert 'is no index' in refused('search', tmp_path, sentence)
    assert 'is no index' in refused('search', sentence, tmp_path)
    assert '--split is for a store' in refused('index', tmp_path / 'x.mp4', f'--weights={tmp_path}',
                                               f'--output={tmp_path / "i"}', '--split=test')


def test_a_full_disk_leaves_nothing_of_an_index(tmp_path):
    code = '''import pathlib, resource, sys, numpy as np
from vmmjax.errors import UserError
from vmmjax.experiment import Experiment
from vmmjax.serving.embeddings import Embedded
from vmmjax.serving.index import IndexWriter
settings = {'streams': ['one'], 'dimensions': 8}
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
for windows in (80, 5000):  # That fail when they are closed, and before.
    try:
        with IndexWriter(pathlib.Path(sys.argv[1]) / 'index', settings) as writer:
            places = np.arange(float(windows))
            writer.add(writer.clip('a', '/a'), Embedded(places, places, places + 1, {'one': np.ones((windows, 8))}))
    except UserError as error:
        print(error)
'''
    done = subprocess.run([sys.executable, '-c', code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.count('cannot be written (File too large); name another --output') == 2
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match='cannot be written'):
        IndexWriter(tmp_path / 'index', {'streams': ['one', 'no/folder'], 'dimensions': 2})
    assert not list(tmp_path.iterdir())


def test_a_file_name_that_is_not_utf_8_is_found_again(tmp_path):
    paths = [os.fsdecode(b'/films/\xff 100%25.mp4'), '/films/100%25.mp4']
    settings = {'weights': '/run', 'step': 7, 'run': 'abc', 'streams': ['one'], 'dimensions': 2, 'store': ''}
    with IndexWriter(tmp_path / 'index', settings) as writer:
        for path in paths:
            writer.add(writer.clip('a', path), Embedded(np.zeros(1), np.zeros(1), np.ones(1), {'one': np.eye(2)[:1]}))
    assert [hit.path for hit in Index(tmp_path / 'index').find(np.eye(2, dtype=np.float32)[0], 2)] == paths


@pytest.mark.parametrize(('file', 'content'), [
    (WINDOWS, b''), ('one.npy', b''), (SETTINGS, b'{"format": 1}'), (SETTINGS, b'[]'), (SETTINGS, b''),
    (SETTINGS, b'{"format": 1, "weights": null, "step": 7, "run": "abc", "streams": ["one", "two"], "dimensions": 5,'
               b'"store": "", "windows": 9}')])
def test_a_damaged_index_is_one_sentence(tmp_path, file, content):
    made(tmp_path / 'index', 3)
    (tmp_path / 'index' / file).write_bytes(content)
    with pytest.raises(UserError, match=r'The index .* is damaged .*delete it and make it again'):
        Index(tmp_path / 'index')


def test_an_index_whose_run_is_gone_asks_for_its_weights(tmp_path):
    made(tmp_path / 'index', 1)
    assert 'was made by runs/mine, which is not there any more; name the run as --weights' in refused(
        'search', tmp_path / 'index', 'a dog barks')
