"""Fixtures of all tests; data that a clone does not carry is looked for and skipped, saying so, where absent."""

import os

# Before JAX or TensorFlow are imported: tests are deterministic on the CPU and quiet.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
# Eight devices for tests of sharding; all others use the first.
os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=8'

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The first example of a property compiles; how long that takes says nothing.
settings.register_profile('vmmjax', deadline=None, derandomize=True)
settings.load_profile('vmmjax')

_SHARED = Path(os.environ.get('VMMJAX_SHARED', Path(__file__).resolve().parents[2] / 'shared'))


def _folder(name: str) -> Path:
    path = _SHARED / name
    if not path.is_dir():
        pytest.skip(f'needs {name} clips beside the checkout ({path.parent.name}/{name}), which are not here')
    return path


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """The folder of real clips."""
    return _folder('data')


@pytest.fixture(scope='session')
def shared_golden() -> Path:
    """The folder of reference outputs."""
    return _folder('golden')


@pytest.fixture(scope='session')
def shared_cases() -> Path:
    """The folder of files that fail, or once did, with what is right."""
    return _folder('cases')


@pytest.fixture(autouse=True, scope='module')
def _forget_compiled() -> Iterator[None]:
    """Drops compiled programs, and the weights in them, with their module: a worker would grow to many gigabytes."""
    yield
    if 'jax' in sys.modules:
        sys.modules['jax'].clear_caches()
        gc.collect()
