import shlex
import subprocess
import sys
import warnings

import numpy as np
import pytest

from tests.cli.conftest import ROOT, command, environment, refused, vmmjax
from vmmjax.cli.main import COMMANDS, _quiet

metrics = pytest.importorskip('sklearn.metrics')

HELP = '''
import sys
from vmmjax.cli import main
try:
    main.run(sys.argv[1:])
finally:
    print([name for name in ('jax', 'flax', 'optax', 'orbax', 'tensorflow', 'tensorflow_datasets', 'av', 'librosa')
           if name in sys.modules], file=sys.stderr)
'''


def test_without_arguments_it_says_what_there_is():
    found = vmmjax()
    assert found.returncode == 0
    assert all(command in found.stdout for command in COMMANDS)


@pytest.mark.parametrize('command', COMMANDS)
def test_help_teaches_at_once(command):
    found = subprocess.run([sys.executable, '-c', HELP, command, '--help'], cwd=ROOT, env=environment(), text=True,
                           capture_output=True, check=True)
    assert f'vmmjax {command} ' in found.stdout
    assert command in ('blend', 'check', 'inspect') or any(  # These take folders or files, no flags.
        f'\n  --{flag}: ' in found.stdout for flag in ('store', 'workdir', 'output', 'weights', 'topology'))
    assert found.stderr == '[]\n'  # What takes seconds to import is imported when the flags are read.


def test_an_unknown_command_is_one_sentence():
    assert "no command 'trian': did you mean 'train'" in refused('trian')


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    shell = shlex.join(command('--help'))
    found = subprocess.run(['bash', '-c', f'set -o pipefail; {shell} | true'], cwd=ROOT, env=environment(), text=True,
                           capture_output=True, check=False, timeout=300)
    assert (found.returncode, found.stderr) == (141, '')


def test_what_scikit_learn_says_to_programmers_stays_off_the_terminal():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        _quiet()
        metrics.average_precision_score(np.zeros(4), np.arange(4))  # No positive class is there.
    assert not said


def test_only_flags_are_taken():
    assert "takes flags only, not 'x'" in refused('evaluate', 'x', '--workdir=y')
