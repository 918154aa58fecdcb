import pytest

from tests.cli.conftest import refused, vmmjax
from vmmjax.cli.main import COMMANDS


def test_without_arguments_it_says_what_there_is():
    found = vmmjax()
    assert found.returncode == 0
    assert all(command in found.stdout for command in COMMANDS)


@pytest.mark.parametrize('command', COMMANDS)
def test_help_teaches(command):
    found = vmmjax(command, '--help')
    assert found.returncode == 0
    assert f'vmmjax {command} ' in found.stdout
    assert command in ('blend', 'inspect') or any(  # These take folders, no flags.
        f'\n  --{flag}: ' in found.stdout for flag in ('store', 'workdir', 'output', 'weights', 'topology'))


def test_an_unknown_command_is_one_sentence():
    assert "no command 'trian': did you mean 'train'" in refused('trian')


def test_only_flags_are_taken():
    assert "takes flags only, not 'x'" in refused('evaluate', 'x', '--workdir=y')
