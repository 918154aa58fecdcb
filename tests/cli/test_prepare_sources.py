import functools
import json
from pathlib import Path

import pytest

from tests import fakes
from tests.cli.conftest import vmmjax
from vmmjax.store.store import Store

_prepare = functools.partial(vmmjax, 'prepare')


def test_a_published_data_set_some_of_whose_videos_are_gone(tmp_path: Path) -> None:
    clips = fakes.write_source(tmp_path / 'fakes', {'train': 2}).parent
    for number, file in enumerate(sorted(clips.glob('*.mp4'))):
        file.rename(clips / f'video{number}_000005_000015.mp4')
    train = tmp_path / 'annotations' / 'train.csv'
    train.parent.mkdir()
    train.write_text('label,youtube_id,time_start,time_end,split\n'
                     'abseiling,video0,5,15,train\nbowling,gone,0,10,train\narchery,video1,5,15,train\n')
    store = tmp_path / 'store'
    arguments = (f'--source=kinetics:{train}', f'--media={clips}', f'--store={store}', '--columns=rgb', '--fps=10',
                 '--short_side=24', '--processes=1')
    done = _prepare(*arguments)
    assert done.returncode == 0, done.stderr
    assert '2 clips, prepared rgb' in done.stdout
    assert (store / 'rejected.csv').read_text().splitlines()[1:] == ['gone_000000_000010,there is no such file']
    assert Store(store).classes('label') == ['abseiling', 'archery']
    origin = json.loads((store / 'store.json').read_text())['source']['origin']
    assert origin == 'kinetics:train.csv'
    assert 'nothing was done again' in _prepare(*arguments).stdout


@pytest.mark.parametrize(('arguments', 'said'), [
    (['--source=kinetic:train.csv'], "did you mean 'kinetics:FILES'"),
    (['--source=kinetics:nothing.csv'], "no annotation file 'nothing.csv'"),
    (['--source=tests', '--media=tests'], '--media is for kinetics, '),
    (['--source=synthetic:motion_sound', '--source_fps=10'], '--source_fps is for tfds, dmvr, '),
])
def test_bad_sources_are_one_sentence(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = _prepare(f'--store={tmp_path}/store', *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'store').exists()
