"""The tables of pods, from lines as `vmmjax plan` prints them; compiling them takes hours."""

import pytest

from tests.experiments.test_configs import ROOT
from vmmjax import config as configs

pods = configs.load(ROOT / 'scripts' / 'pods.py')


@pytest.fixture
def work(tmp_path):
    for line in [pods.Line('tsm', 'v5e:4x4', ''), *(pods.Line('tsm', name, 'O1') for name in ('v5e:4x4', 'v6e:4x4'))]:
        line.path(tmp_path).write_text(f'| topology |\n|---|\n| {line.topology} {line.effort} |')
    return tmp_path


def test_what_was_made_stands_below_its_command(work):
    title, full, lines, less, all_lines = pods.tables('tsm', work)
    assert title == '## TSM-R50 on 8 x 224 x 224'
    assert '\nvmmjax plan --config=experiments/papers/tsm.py:kinetics400,r50,8f ' in full
    assert '\nJAX_OPTIMIZATION_LEVEL=O1 vmmjax plan ' in less
    assert lines == '| topology |\n|---|\n| v5e:4x4  |'
    assert all_lines == '| topology |\n|---|\n| v5e:4x4 O1 |\n| v6e:4x4 O1 |'
    assert pods.tables('i3d', work) == []


def test_a_line_that_is_there_is_not_made_again(work):
    line = pods.Line('tsm', 'v5e:4x4', 'O1')
    before = line.path(work).read_text()
    line.make(work)
    assert line.path(work).read_text() == before


def test_every_config_is_there():
    for model in pods.MODELS.values():
        assert (ROOT / model.config.partition(':')[0]).is_file()
