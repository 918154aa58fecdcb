import json

import pytest

from tests.cli.conftest import refused, vmmjax
from tests.evaluation.pages import Page


@pytest.mark.slow
def test_what_one_frame_tells_is_told_apart_from_what_needs_time(store, tmp_path):
    found = vmmjax('audit', store, '--target=sprite,tone', f'--output={tmp_path}')
    assert found.returncode == 0, found.stderr
    sprite, tone = (json.loads((tmp_path / f'audit_{name}.json').read_text()) for name in ('sprite', 'tone'))
    assert sprite['controls']['one frame']['bits'] > 0
    assert sprite['controls']['one frame']['p'] < 0.05
    assert {name: told['clips'] for name, told in tone['controls'].items()} == dict.fromkeys(
        ('metadata', 'presence', 'one frame', 'shuffled frames', 'envelope', 'columns'), 21)
    # The label names the tone.
    assert tone['controls']['columns']['accuracy']['mean'] > tone['controls']['columns']['majority']
    assert tone['relations'][0]['column'] == 'label'
    assert 'label tells 1.00 of 1.00 bits of tone' in found.stdout
    assert sum(sprite['priors']['test'].values()) == 21
    page = Page((tmp_path / 'audit_sprite.html').read_text())
    assert 'one frame' in page.text
    assert 'look alike' in found.stdout


def test_a_target_that_is_not_there_is_one_sentence(store, tmp_path):
    assert "no column 'tonne': did you mean 'tone'" in refused('audit', store, '--target=tonne')
    assert 'no column fold' in refused('audit', store, '--target=tone', '--folds', f'--output={tmp_path}')
    assert not list(tmp_path.iterdir())
