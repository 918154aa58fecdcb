"""Fixtures of all tests; data that a clone does not carry is looked for and skipped, saying so, where absent."""

import os
from pathlib import Path

from vmmjax import xla_flags

# Before JAX or TensorFlow are imported: tests are deterministic on the CPU and quiet.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
# What one test compiled is there for the next, of this run and of later ones, in processes that tests start, too.
os.environ['XDG_CACHE_HOME'] = str(Path(__file__).resolve().parents[1] / '.pytest_cache' / 'compiled')
os.environ['JAX_COMPILATION_CACHE_DIR'] = os.path.join(os.environ['XDG_CACHE_HOME'], 'vmmjax', 'xla')
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
# Eight devices for tests of sharding; all others use the first.
os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=8 ' + xla_flags.COMPILE_FASTER

import gc
import sys
from collections.abc import Iterator

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


@pytest.fixture(scope='session')
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 training clips (more than 64, which are shuffled in another way), 9 and 5."""
    from tests import fakes

    return fakes.write_source(tmp_path_factory.mktemp('source'), {'test': 5, 'train': 70, 'validation': 9})


@pytest.fixture(scope='session')
def store_path(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of all kinds of columns; not to be changed."""
    from tests import fakes
    from vmmjax.prepare import sources
    from vmmjax.prepare.build import prepare
    from vmmjax.prepare.columns import Audio, Flow, Rgb

    columns = (Rgb(fps=10, short_side=24), Flow(fps=10, short_side=24),
               Audio(audio_rate=8000, fmax=3800.0, bands=16), fakes.Ramp(), fakes.Gradient(), fakes.Drift())
    path = tmp_path_factory.mktemp('stores') / 'tiny'
    prepare(sources.read(str(manifest)), path, columns, origin='tiny', processes=2, progress=False)
    return path


@pytest.fixture(scope='session')
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with films of events, and a store of them; not to be changed."""
    from tests.serving.live import lights

    folder = tmp_path_factory.mktemp('lights')
    lights.make_store(folder)
    return folder


@pytest.fixture(scope='session')
def lights_run(films: Path) -> Path:
    """A run that finds the events of the films."""
    from tests.serving.live import lights

    return lights.save_run(films / 'run', films / 'store')


@pytest.fixture(autouse=True, scope='module')
def _forget_compiled() -> Iterator[None]:
    """Drops compiled programs, and the weights in them, with their module: a worker would grow to many gigabytes."""
    yield
    if 'jax' in sys.modules:
        sys.modules['jax'].clear_caches()
        gc.collect()
        gc.freeze()  # What is left are packages, which no later collection goes through again.
