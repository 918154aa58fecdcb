"""What README says of a user's own encoder and fusion, and own columns, done in a folder that is on no path."""

import os
import re

import pytest

from tests.cli.conftest import ROOT, vmmjax

EXAMPLE = ROOT / 'experiments' / 'examples' / 'mine.py'


def in_folder(folder, *arguments):
    """Runs a command there, which is not on the path before, as by the console script."""
    found = vmmjax(*arguments, cwd=folder)
    return found.returncode, found.stdout, found.stderr


def python_blocks():
    section = re.search(r'\n#+ Your own encoder and fusion\n(.*?)\n#', (ROOT / 'README.md').read_text(), re.DOTALL)
    return re.findall(r'```python\n(.*?)```', section[1], re.DOTALL)


def test_readme_shows_the_example():
    assert python_blocks()[0] in EXAMPLE.read_text()


@pytest.mark.slow
def test_the_example_trains_as_readme_says(tmp_path, store):
    (tmp_path / 'mine.py').write_text(EXAMPLE.read_text())
    named = python_blocks()[1].replace('\n', '\n        ')
    (tmp_path / 'my_config.py').write_text(f"""\
from tests.cli import toy_config


def get_config():
    config = toy_config.get_config()
    with config.unlocked():
        config.steps = 3
        {named}
    return config
""")
    code, _, errors = in_folder(tmp_path, 'train', '--config=my_config.py', '--workdir=run',
                                f'--config.data.store={store}')
    assert code == 0, errors
    code, table, errors = in_folder(tmp_path, 'evaluate', '--workdir=run')
    assert code == 0, errors
    assert 'audio+rgb' in table
    # Elsewhere the encoder is not to be found.
    (tmp_path / 'other').mkdir()
    code, _, errors = in_folder(tmp_path / 'other', 'evaluate', '--workdir=../run')
    assert code == 2, errors
    assert f"there is no module 'mine' in {tmp_path / 'other'} or on the Python path." in errors


def test_a_wrong_encoder_is_one_sentence(tmp_path, store):
    (tmp_path / 'mine.py').write_text(EXAMPLE.read_text().replace('features: int = 32', 'width: int = 32'))
    code, _, errors = in_folder(tmp_path, 'train', f'--config={ROOT}/tests/cli/toy_config.py', '--workdir=run',
                                f'--config.data.store={store}', '--config.model.encoders.rgb.name=mine:FrameCNN')
    assert code == 2
    (line,) = [line for line in errors.splitlines() if line.startswith('vmmjax: ')]
    assert "The encoder 'mine:FrameCNN' has no whole number 'features'; an encoder is a flax.linen.Module with" in line
    assert 'Traceback' not in errors


def test_a_column_of_ones_own_is_made_in_processes(tmp_path):
    (tmp_path / 'columns.py').write_text('from tests.fakes import Gradient\n\n\nclass Mine(Gradient):\n    pass\n')
    found = in_folder(tmp_path, 'prepare', '--source=synthetic:motion_sound', '--store=store', '--processes=2',
                      '--columns=columns:Mine', '--sizes=train=8,validation=4,test=4')
    assert found[0] == 0, found[2]
    assert os.path.isdir(tmp_path / 'store' / 'gradient')
