import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOY = '--config=tests/cli/toy_config.py'


def environment():
    """That of a user: one device, the repository importable for the toy encoder."""
    return {key: value for key, value in os.environ.items() if key != 'XLA_FLAGS'} | {'PYTHONPATH': str(ROOT)}


def command(*arguments):
    return [sys.executable, '-m', 'vmmjax.cli.main', *map(str, arguments)]


def vmmjax(*arguments):
    """Runs a command to its end."""
    return subprocess.run(command(*arguments), cwd=ROOT, env=environment(), text=True, capture_output=True, check=False,
                          timeout=300)


def refused(*arguments):
    """Runs a command that must fail for a reason that the user can mend; returns its one sentence."""
    found = vmmjax(*arguments)
    assert found.returncode == 2, found.stdout + found.stderr
    assert 'Traceback' not in found.stderr
    (line,) = [line for line in found.stderr.splitlines() if line.startswith('vmmjax: ')]
    return line


@pytest.fixture(scope='session')
def store(tmp_path_factory):
    """A small motion_sound, made by the command."""
    folder = tmp_path_factory.mktemp('motion_sound') / 'store'
    found = vmmjax('prepare', '--source=synthetic:motion_sound', f'--store={folder}', '--columns=rgb,audio',
                   '--short_side=32', '--fps=6.25', '--sizes=train=40,validation=12,test=21')
    assert found.returncode == 0, found.stderr
    return folder


@pytest.fixture(scope='session')
def trained(tmp_path_factory, store):
    """A finished run of the toy config."""
    folder = tmp_path_factory.mktemp('runs') / 'whole'
    found = vmmjax('train', TOY, f'--workdir={folder}', f'--config.data.store={store}')
    assert found.returncode == 0, found.stderr
    return folder
