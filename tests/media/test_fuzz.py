import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_mutants_are_read_or_rejected_in_one_line() -> None:
    done = subprocess.run([sys.executable, str(ROOT / 'scripts' / 'fuzz_media.py'), '--entries=30', '--seed=2'],
                          capture_output=True, text=True, check=False, env=os.environ | {'PYTHONPATH': str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert '30 entries with seed 2: 0 faults' in done.stdout
