from pathlib import Path

import pytest

from tests.data import fakes
from vmmjax.data import sources
from vmmjax.data.columns import Audio, Flow, Rgb
from vmmjax.data.prepare import prepare

COLUMNS = (Rgb(fps=10, short_side=24), Flow(fps=10, short_side=24),
           Audio(audio_rate=8000, fmax=3800.0, bands=16), fakes.Ramp(), fakes.Gradient(), fakes.Drift())


@pytest.fixture(scope='session')
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 training clips (more than 64, which are shuffled in another way), 9 and 5."""
    return fakes.write_source(tmp_path_factory.mktemp('source'), {'test': 5, 'train': 70, 'validation': 9})


@pytest.fixture(scope='session')
def store_path(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of all kinds of columns; not to be changed."""
    path = tmp_path_factory.mktemp('stores') / 'tiny'
    prepare(sources.read(str(manifest)), path, COLUMNS, origin='tiny', processes=2, progress=False)
    return path
