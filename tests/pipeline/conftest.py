import shutil
from pathlib import Path

import pytest

from vmmjax.prepare import sources
from vmmjax.prepare.audio_columns import Waveform
from vmmjax.prepare.build import prepare
from vmmjax.store.store import Store


@pytest.fixture(scope='session')
def sounds(manifest: Path, store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store with waveforms."""
    path = tmp_path_factory.mktemp('sounds') / 'tiny'
    shutil.copytree(store_path, path)
    prepare(sources.read(str(manifest)), path, [Waveform(audio_rate=8000)], origin='tiny', processes=2, progress=False)
    return Store(path)
