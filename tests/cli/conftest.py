import os
import subprocess
import sys
import tempfile

import pytest

from tests.cli.forks import ROOT, Command

TOY = '--config=tests/cli/toy_config.py'


def environment():
    """That of a user: one device, the repository importable for the toy encoder."""
    return {key: value for key, value in os.environ.items() if key != 'XLA_FLAGS'} | {'PYTHONPATH': str(ROOT)}


def command(*arguments):
    """What a shell runs; `started` costs less."""
    return [sys.executable, '-m', 'vmmjax.cli.main', *map(str, arguments)]


def started(*arguments, env=None, **options):
    """A command that runs, as `forks.Command`."""
    return Command(map(str, arguments), env=env or environment(), **options)


def vmmjax(*arguments, **options):
    """Runs a command to its end."""
    with tempfile.TemporaryFile('w+', errors='replace') as stdout, tempfile.TemporaryFile('w+') as stderr:
        running = started(*arguments, **options, stdout=stdout, stderr=stderr)
        try:
            status = running.wait(300)
        finally:
            running.kill()
        for file in (stdout, stderr):
            file.seek(0)
        return subprocess.CompletedProcess(arguments, status, stdout.read(), stderr.read())


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
