"""scripts/environment with interpreters that do nothing but make folders."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Answers as Python 3.MINOR would; what it installs does nothing. {here} says which of several made a folder.
INTERPRETER = '''#!/bin/sh
case "$1 $2" in
  "-c "*print*) echo 3.{minor} ;;
  "-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && echo {here} > "$4/made_by" ;;
esac
'''
# As pyenv's shim of a version that is not chosen.
SHIM = '#!/bin/sh\necho "pyenv: command not found" >&2\nexit 127\n'


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout beside a machine with Python 3.12 on the PATH, and 3.13 where only pyenv finds it."""
    for name in ('scripts/environment', 'requirements.lock', 'setup.cfg'):
        (tmp_path / 'checkout' / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / 'checkout' / name)
    write(tmp_path / 'checkout/scripts/user', 'cd "$(dirname "$0")/.."\n. scripts/environment\necho "$venv: $*"\n')
    write(tmp_path / 'bin/pyenv', f'#!/bin/sh\necho {tmp_path}/pyenv\n')
    for name in ('python3.11', 'python3.13', 'python3'):
        write(tmp_path / 'bin' / name, SHIM)
    write(tmp_path / 'bin/python3.12', INTERPRETER.format(minor=12, here='path'))
    write(tmp_path / 'pyenv/versions/3.13.0/bin/python3.13', INTERPRETER.format(minor=13, here='pyenv'))
    return tmp_path / 'checkout'


@pytest.fixture
def run(checkout: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    path = f'{checkout.parent}/bin:/usr/bin:/bin'

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(['bash', f'checkout/{arguments[0]}', *arguments[1:]], cwd=checkout.parent, check=False,
                              capture_output=True, text=True, env={**os.environ, 'PATH': path})

    return call


def test_the_newest_that_works_is_taken_and_an_environment_that_is_up_to_date_left_alone(checkout, run):
    assert run('scripts/environment').returncode == 0
    assert (checkout / '.venv/made_by').read_text() == 'pyenv\n'
    (checkout / '.venv/made_by').write_text('another')
    assert run('scripts/user', '-k', 'flow').stdout == '.venv: -k flow\n'
    assert (checkout / '.venv/made_by').read_text() == 'another'
    with open(checkout / 'setup.cfg', 'a', encoding='utf-8') as file:
        file.write('# A change.\n')
    assert 'Making .venv' in run('scripts/environment').stdout
    assert (checkout / '.venv/made_by').read_text() == 'pyenv\n'


@pytest.mark.parametrize(('python', 'folder'), [
    ('python3.12', '.venv-3.12'), ('python3.13', '.venv-3.13'), ('../bin/python3.12', '.venv-3.12')])
def test_an_interpreter_has_a_folder_of_its_own(checkout, run, python, folder):
    done = run('scripts/user', f'--python={python}', '--full')
    assert done.stdout.endswith(f'{folder}: --full\n'), done.stderr
    assert [path.name for path in checkout.glob('.venv*')] == [folder]


@pytest.mark.parametrize(('arguments', 'said'), [
    (('--python=python3.11',), 'as python3.11'), (('--python=python3.14',), 'as python3.14'), (('--full',), 'usage')])
def test_what_is_not_there_is_said(checkout, run, arguments, said):
    done = run('scripts/environment', *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(checkout.glob('.venv*'))
