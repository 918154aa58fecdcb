import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import fakes
from tests.prepare.test_build_workers import flip_a_bit
from vmmjax.errors import UserError
from vmmjax.prepare import column_writer, sources
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Rgb
from vmmjax.store import locks
from vmmjax.store.store import Store

pytest.importorskip('aiohttp', reason='needs the extra remote')


@pytest.fixture(scope='module')
def folder(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of many shards."""
    store = tmp_path_factory.mktemp('served') / 'store'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_writer, 'CLIPS_A_SHARD', 16)
        prepare(sources.read(str(manifest)), store, (Rgb(fps=10, short_side=24), fakes.Ramp()), origin='tiny',
                processes=2, progress=False)
    return store


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / 'log'


@pytest.fixture
def url(folder: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A copy of the store behind an HTTP server of its own process."""
    monkeypatch.setenv('VMMJAX_CACHE', str(tmp_path / 'cache'))
    shutil.copytree(folder, tmp_path / 'www' / 'store')
    with open(log, 'wb') as file:
        server = subprocess.Popen([sys.executable, '-u', '-m', 'http.server', '0', '--bind=127.0.0.1',
                                   f'--directory={tmp_path / "www"}'], stdout=file, stderr=file)
    deadline = time.monotonic() + 30
    while ' port ' not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield f'http://127.0.0.1:{log.read_text().split(" port ")[1].split()[0]}/store'
    server.terminate()
    server.wait()


def _gets(log: Path) -> int:
    return sum('GET' in line and 'array_record' in line for line in log.read_text().splitlines())


def _cached(tmp_path: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in (tmp_path / 'cache').glob('*/*/*array_record*')}


def test_a_remote_store_is_the_local_one(url: str, folder: Path, log: Path, tmp_path: Path) -> None:
    here, there = Store(folder), Store(url)
    assert there.fingerprint == here.fingerprint
    assert there.splits == here.splits
    assert there.columns.keys() == here.columns.keys()
    assert _cached(tmp_path) == {}
    for name, column in here.columns.items():
        np.testing.assert_array_equal(there.columns[name].lengths, column.lengths)
        indices = np.random.default_rng(0).permutation(int(column.offsets[-1]))
        assert there.columns[name].records(indices[:1]) == column.records(indices[:1])
        assert sum(file.startswith(name) for file in _cached(tmp_path)) == 1, 'no other shard is copied'
        assert there.columns[name].records(indices) == column.records(indices)
        assert there.columns[name].records(indices[:0]) == []
    copied = _gets(log)
    assert copied == 14, 'each shard once'
    again = Store(url).columns['rgb']
    assert again.records(np.arange(3)) == here.columns['rgb'].records(np.arange(3))
    assert _gets(log) == copied


def test_the_cache_is_bounded_and_loses_what_was_not_used_for_longest(
        url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Store(folder).columns['rgb']
    sizes = {file.name: file.stat().st_size for file in here.source.files}
    limit = 3.2 * max(sizes.values())
    monkeypatch.setenv('VMMJAX_CACHE_GB', f'{limit / 1e9:.12f}')
    there = Store(url).columns['rgb']
    firsts = np.cumsum([0, *here.source.counts[:-1]])
    for shard in (0, 1, 2, 0, 3):  # Shard 1 has to go.
        there.records(firsts[[shard]])
        time.sleep(0.02)
    assert {here.source.files[shard].name for shard in (0, 2, 3)} <= _cached(tmp_path).keys()
    assert here.source.files[1].name not in _cached(tmp_path)

    def read(seed: int) -> bool:
        indices = np.random.default_rng(seed).integers(0, int(here.offsets[-1]), 10)
        assert there.records(indices) == here.records(indices)
        with locks.turn(tmp_path / 'cache'):  # Nobody makes room or fills it between two looks.
            assert sum(_sizes(tmp_path)) <= limit
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(12)))
    opened = {os.readlink(link) for link in _links() if 'array_record' in os.readlink(link)}
    assert not [name for name in opened if str(tmp_path / 'cache') in name and '(deleted)' in name]


def test_a_shard_removed_just_before_it_is_opened_is_copied_again(
        url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, touch = Store(folder).columns['rgb'], os.utime
    Store(url).columns['rgb'].records(np.array([0]))

    there = Store(url).columns['rgb']

    def lose(path: Path, *arguments: object, **options: Any) -> None:
        touch(path, *arguments, **options)
        if path == there.source.files[0]:
            monkeypatch.setattr(os, 'utime', touch)
            path.unlink()

    monkeypatch.setattr(os, 'utime', lose)
    assert there.records(np.array([0])) == here.records(np.array([0]))


def _sizes(tmp_path: Path) -> list[int]:
    found = {}  # By file, not by name: one may be renamed meanwhile.
    for file in (tmp_path / 'cache').glob('*/*/*array_record*'):
        with contextlib.suppress(FileNotFoundError):
            status = file.stat()
            found[status.st_ino] = status.st_size
    return list(found.values())


def _links() -> Iterator[Path]:
    for link in Path('/proc/self/fd').iterdir():
        if os.path.islink(link):
            yield link


def test_a_shard_damaged_on_its_way_is_not_kept(url: str, tmp_path: Path) -> None:
    flip_a_bit(tmp_path / 'www' / 'store' / 'ramp' / 'ramp-test.array_record-00000-of-00001')
    column = Store(url).columns['ramp']
    with pytest.raises(UserError, match=r'ramp-test\.array_record-00000-of-00001 is damaged'):
        column.records(column.offsets[-2:-1])
    assert _cached(tmp_path) == {}


def test_what_cannot_be_read_is_one_sentence(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match='is not a finished store'):
        Store(f'{url}s')
    with pytest.raises(UserError, match=r'http://127\.0\.0\.1:9/store cannot be read'):
        Store('http://127.0.0.1:9/store')
    with pytest.raises(UserError, match='cannot be read'):
        Store('nothing://here')
    (tmp_path / 'www' / 'store' / 'ramp' / 'ramp-test.array_record-00000-of-00001').unlink()
    column = Store(url).columns['ramp']
    with pytest.raises(UserError, match=r'ramp-test.*is not there'):
        column.records(column.offsets[-2:-1])
    monkeypatch.setenv('VMMJAX_CACHE_GB', '0.000001')
    with pytest.raises(UserError, match='set VMMJAX_CACHE_GB above'):
        Store(url).columns['rgb'].records(np.arange(1))
