import csv
import re
import shutil

import numpy as np
import pytest

from tests.cli.conftest import refused, vmmjax
from tests.evaluation.pages import Page, opened
from tests.media.files import counting_frames, write_media
from vmmjax.errors import UserError
from vmmjax.pipeline import stored_frames
from vmmjax.prepare import sources
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Audio, Flow, Mfcc, Rgb, Waveform
from vmmjax.reports import store_page
from vmmjax.store.store import Store

COLUMNS = (Rgb(fps=25, short_side=32), Flow(fps=25, short_side=32), Audio(audio_rate=8000, fmax=3800.0, bands=16),
           Mfcc(audio_rate=8000), Waveform(audio_rate=8000))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Two clips with sound, one without, one with sound alone, one that is damaged."""
    folder = tmp_path_factory.mktemp('preview')
    click = np.zeros(32000, np.float32)
    click[16000:16080] = 0.8  # At one second.
    write_media(folder / 'a.mp4', counting_frames(50), waveform=click)
    write_media(folder / 'b.mp4', counting_frames(50), waveform=click)
    write_media(folder / 'silent.mp4', counting_frames(30))
    write_media(folder / 'long.mp4', np.repeat(counting_frames(50), 6, axis=0))
    (folder / 'damaged.mp4').write_bytes(b'no video')
    with (folder / 'manifest.csv').open('w', newline='') as file:
        csv.writer(file).writerows([
            ['path', 'split', 'start', 'label', 'label_start_s', 'label_end_s', 'said'],
            ['a.mp4', 'train', '', 'place', '1', '1.5', '<b>place & red</b>'],
            ['b.mp4', 'train', '0.5', 'place', '1', '1.5', ''],
            ['silent.mp4', 'test', '', 'set', '', '', ''],
            ['long.mp4', 'test', '', 'set', '', '', ''],
            ['damaged.mp4', 'test', '', 'set', '', '', '']])
    return folder


@pytest.fixture(scope='module')
def store(made):
    prepare(sources.read(str(made / 'manifest.csv')), made / 'store', COLUMNS, origin='manifest.csv', processes=1,
            progress=False)
    return made / 'store'


def test_the_page_shows_every_column_and_says_what_is_missing(store):
    text = store_page.write(store).read_text(encoding='utf-8')
    page = Page(text)
    for said in ('4 clips from manifest.csv', 'train 2', 'a.mp4', 'silent.mp4', 'this clip has none',
                 'the first 8.0 s of it', 'bands=16', 'librosa', '1 could not be read', 'damaged.mp4',
                 '<b>place & red</b>'):
        assert said in page.text
    for name in ('rgb', 'flow', 'audio', 'mfcc', 'waveform'):
        assert page.text.count(f'{name} ') >= 4
    assert page.tags.count('article') == 4
    assert page.tags.count('path') == 2  # Waveforms.
    assert 'script' not in page.tags


def test_the_page_is_whole_by_itself_and_the_same_again(store):
    path = store_page.write(store)
    first = path.read_bytes()
    text = first.decode()
    assert store_page.write(store).read_bytes() == first
    assert '//' not in re.sub(r'base64,[^"]*', '', text)
    for _, name, value in Page(text).attributes:
        if name in ('src', 'href'):
            assert value.startswith('data:')
    assert str(store.parent) not in text


def test_what_happens_together_stands_together(store):
    """Of a clip that begins half a second into its file, the word and the click at 1 s are at 0.5 s, a third of it."""
    opened = Store(store)
    clip = store_page.clip(opened, 1, list(opened.columns.values()))
    lane = {lane['name']: lane for lane in clip['lanes']}
    assert clip['seconds'] == 1.5
    word, = lane['words']['words']
    assert word['left'] == pytest.approx(100 / 3)
    assert word['width'] == pytest.approx(100 / 3)
    assert lane['waveform']['width'] == lane['audio']['width'] == 100
    points = np.array([pair.split() for pair in lane['waveform']['path'].strip('MZ').split('L')], float)
    loudest = points[np.abs(points[:, 1]).argmax(), 0] / lane['waveform']['points']
    assert loudest == pytest.approx(1 / 3, abs=0.02)
    assert [tick['text'] for tick in clip['ticks']][:3] == ['0', '0.2', '0.4']
    assert clip['ticks'][5]['left'] == pytest.approx(100 * 1 / 1.5)


def test_pictures_are_those_in_the_middle_of_their_places(store):
    column = Store(store).column('rgb')
    wanted = [2, 7, 24, 25, 49, 50]
    found = stored_frames.pictures(column, 0, wanted)
    assert found[-1] is None
    brightness = [picture.mean() for picture in found[:-1]]
    np.testing.assert_allclose(brightness, [4 * i + 8 for i in wanted[:-1]], atol=3)


def test_an_array_is_read_across_records(store):
    column = Store(store).column('waveform')
    whole = stored_frames.array(column, 0, 10 ** 9)
    assert whole.shape == (16000,)
    np.testing.assert_array_equal(stored_frames.array(column, 0, 9000), whole[:9000])


def test_each_combination_of_columns_is_chosen(store):
    opened = Store(store)
    assert store_page.choose(opened) == [0, 1, 2, 3]
    assert len(set(store_page.choose(opened, 2)) & {2, 3}) == 1


def test_a_damaged_record_is_named(store, tmp_path):
    copy = tmp_path / 'copy'
    shutil.copytree(store, copy)
    shard = next((copy / 'rgb').glob('*train.array_record*'))
    content = bytearray(shard.read_bytes())
    for start in range(1000, len(content) - 1000, 64):
        content[start] ^= 255
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"column rgb .* damaged at the clip .*--verify"):
        store_page.write(copy)
    assert not list(copy.glob('*.partial'))


def test_the_command_writes_it_after_preparing_and_later(made, tmp_path):
    store = tmp_path / 'store'
    found = vmmjax('prepare', f'--source={made}/manifest.csv', f'--store={store}', '--columns=rgb', '--short_side=32',
                   '--processes=1', '--preview')
    assert found.returncode == 0, found.stderr
    assert f'Wrote {store}/preview.html.' in found.stdout
    page = store / 'preview.html'
    first = page.read_bytes()
    page.unlink()
    assert vmmjax('prepare', f'--store={store}', '--preview').returncode == 0
    assert page.read_bytes() == first
    assert 'not a finished store' in refused('prepare', f'--store={tmp_path}', '--preview')


@pytest.mark.slow
@pytest.mark.parametrize('width', [1200, 390])
def test_the_page_opens_in_a_browser(store, tmp_path_factory, width):
    document, log = opened(store_page.write(store), width, tmp_path_factory.mktemp('browser'))
    assert '<h1>store</h1>' in document
    assert document.count('<article') == 4
    assert 'CONSOLE' not in log
