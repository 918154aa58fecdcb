import os
import subprocess
import sys

import jax
import pytest

from tests.training.processes import ROOT
from vmmjax.errors import UserError
from vmmjax.training.runtime import compute_deterministically

# The compiler ends a process that gives it a flag it does not know, and tells the flags that it was given.
FRESH = """
import jax
from vmmjax.training.runtime import compute_deterministically
compute_deterministically()
print(jax.device_count())
print(jax.jit(lambda x: x + 1).lower(1.0).compile()(1.0))
"""


def test_the_compiler_is_told_before_it_begins_and_other_flags_stay():
    found = subprocess.run(
        [sys.executable, '-c', FRESH], cwd=ROOT, text=True, capture_output=True, check=False,
        env=os.environ | {'PYTHONPATH': str(ROOT), 'XLA_FLAGS': '--xla_force_host_platform_device_count=3'})
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == ['3', '2.0']


def test_where_jax_computes_already_it_is_refused():
    jax.devices()
    with pytest.raises(UserError, match=r"set the variable XLA_FLAGS='--xla_gpu_deterministic_ops=true'"):
        compute_deterministically()
