import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests import fakes
from tests.prepare.test_build_workers import COLUMNS, contents, make
from vmmjax.errors import UserError
from vmmjax.prepare import column_writer
from vmmjax.prepare.beam import Beam
from vmmjax.prepare.build import Share
from vmmjax.store.catalog import ClipInfo
from vmmjax.store.store import Store

distributed = pytest.importorskip('distributed', reason='needs the extra beam')

ROOT = Path(__file__).parents[2]
PROCESSES = ('--direct_running_mode=multi_processing', '--direct_num_workers=2')


@dataclasses.dataclass(frozen=True)
class Traced(fakes.Ramp):
    """A ramp that leaves the process of every clip in a folder."""

    folder: str = ''

    name: ClassVar[str] = 'traced'

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        time.sleep(0.01)
        Path(self.folder, f'{path.stem}-{os.getpid()}').touch()
        yield from super().read(path, clip)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_writer, 'CLIPS_A_SHARD', 16)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))


@pytest.fixture(scope='module')
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler with two workers, each a process of its own."""
    folder = tmp_path_factory.mktemp('dask')
    known = folder / 'scheduler.json'
    environment = os.environ | {
        'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]),
        'DASK_TEMPORARY_DIRECTORY': str(folder)}

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        with open(folder / 'log', 'ab') as log:
            return subprocess.Popen([sys.executable, '-m', *arguments, '--host=127.0.0.1', '--no-dashboard'],
                                    env=environment, stdout=log, stderr=log)

    processes = [start('distributed.cli.dask_scheduler', '--port=0', f'--scheduler-file={known}')]
    try:
        _wait_for(lambda: known.exists() and known.stat().st_size > 0, folder / 'log')
        address = json.loads(known.read_text())['address']
        processes += [start('distributed.cli.dask_worker', address, '--nthreads=1', f'--name=worker{i}')
                      for i in range(2)]
        _wait_for(lambda: (folder / 'log').read_text().count('Registered to:') == 2, folder / 'log')
        yield address
    finally:
        for client in list(distributed.Client._instances):  # Beam leaves them open.
            client.close()
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=20)


def _wait_for(done: Any, log: Path) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def _check(manifest: Path, folder: Path, beam: Beam, workers: int) -> None:
    (folder / 'seen').mkdir()
    columns = (COLUMNS[0], Traced(folder=str(folder / 'seen')))
    make(manifest, folder / 'beam', *columns, runner=beam)
    seen = [file.name.split('-') for file in (folder / 'seen').iterdir()]
    assert len(seen) == 84, 'each clip once'
    processes = {pid for _, pid in seen}
    assert len(processes) == workers
    assert str(os.getpid()) not in processes
    make(manifest, folder / 'local', *columns, processes=2)
    assert contents(folder / 'beam') == contents(folder / 'local')


@pytest.mark.slow
def test_the_direct_runner_with_two_processes_makes_the_bytes_of_the_pool(manifest: Path, tmp_path: Path) -> None:
    _check(manifest, tmp_path, Beam('DirectRunner', PROCESSES), workers=2)


@pytest.mark.slow
def test_a_dask_cluster_makes_the_bytes_of_the_pool(manifest: Path, dask: str, tmp_path: Path) -> None:
    options = (f'--dask_client_address={dask}', '--dask_partition_size=1')
    _check(manifest, tmp_path, Beam('DaskRunner', options), workers=2)


def test_what_a_pool_began_beam_completes(manifest: Path, tmp_path: Path) -> None:
    make(manifest, tmp_path / 'store', fakes.Ramp(), share=Share(1, 3))
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / 'store' / 'ramp').glob('*array_record*')}
    make(manifest, tmp_path / 'store', fakes.Ramp(), runner=Beam('DirectRunner'))
    assert made
    assert {file: file.stat().st_mtime_ns for file in made} == made
    assert make(manifest, tmp_path / 'store', fakes.Ramp()).found == ('ramp',)


@pytest.mark.parametrize('kind', ['here', 'processes', 'dask'])
def test_what_the_user_can_mend_comes_through_as_one_sentence(kind: str, manifest: Path, tmp_path: Path,
                                                              request: pytest.FixtureRequest) -> None:
    if kind == 'dask':
        beam = Beam('DaskRunner', (f'--dask_client_address={request.getfixturevalue("dask")}',))
    else:
        beam = Beam('DirectRunner', PROCESSES if kind == 'processes' else ())
    store = tmp_path / 'store'
    make(manifest, store, fakes.Gradient())
    with pytest.raises(UserError, match=r'ramp-\w+\.array_record.* could not be written: No space left') as error:
        make(manifest, store, fakes.Full(), runner=beam)
    assert 'Traceback' not in str(error.value)
    assert list(Store(store).columns) == ['gradient']


def test_a_runner_or_option_that_is_not_there(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='The Beam runner DirctRunner did not make ramp'):
        make(manifest, tmp_path / 'store', fakes.Ramp(), runner=Beam('DirctRunner'))
