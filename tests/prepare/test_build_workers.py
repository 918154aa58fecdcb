import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import fakes
from vmmjax.errors import UserError
from vmmjax.prepare import catalog_builder, column_writer, sources
from vmmjax.prepare.build import Share, Summary, prepare
from vmmjax.prepare.columns import Audio, Rgb
from vmmjax.store.store import Store

COLUMNS = (Rgb(fps=10, short_side=24), Audio(audio_rate=8000, fmax=3800.0, bands=16), fakes.Ramp(broken=('020.mp4',)))


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_writer, 'CLIPS_A_SHARD', 16)


@pytest.fixture(scope='module')
def whole(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by the local pool; not to be changed."""
    store = tmp_path_factory.mktemp('whole') / 'store'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_writer, 'CLIPS_A_SHARD', 16)
        make(manifest, store, *COLUMNS, processes=2)
    return store


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / 'store'))


def make(manifest: Path, store: Path, *columns: Any, processes: int = 1, **options: Any) -> Summary:
    return prepare(sources.read(str(manifest)), store, columns, origin='tiny', processes=processes, progress=False,
                   **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob('*') if file.is_file()}


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


_WORKER = '''
import sys
from pathlib import Path
from tests.prepare.test_build_workers import COLUMNS, make
from vmmjax.prepare import column_writer
from vmmjax.prepare.build import Share
if __name__ == '__main__':
    column_writer.CLIPS_A_SHARD = 16
    print(make(Path(sys.argv[1]), Path(sys.argv[2]), *COLUMNS, share=Share(int(sys.argv[3]), 3)))
'''


def test_workers_at_the_same_time_make_the_bytes_of_one(manifest: Path, whole: Path, tmp_path: Path) -> None:
    script = tmp_path / 'worker.py'
    script.write_text(_WORKER)
    workers = [subprocess.Popen([sys.executable, script, manifest, tmp_path / 'store', str(i)],
                                env=os.environ | {'PYTHONPATH': str(Path(__file__).parents[2])},
                                stdout=subprocess.PIPE, text=True) for i in range(3)]
    said = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    # Whoever comes last to a column completes it.
    assert all(any(f"'{column.name}'" in line.split('waiting=')[0] for line in said) for column in COLUMNS), said
    assert contents(tmp_path / 'store') == contents(whole)


def test_workers_one_after_the_other_and_again(manifest: Path, whole: Path, tmp_path: Path) -> None:
    store = tmp_path / 'store'
    names = tuple(column.name for column in COLUMNS)
    for worker, others in ((2, names), (0, names), (0, names)):
        summary = make(manifest, store, *COLUMNS, share=Share(worker, 3))
        assert (summary.made, summary.waiting) == ((), others)
    assert list(Store(store).columns) == []
    assert make(manifest, store, *COLUMNS, share=Share(1, 3)).made == names
    assert contents(store) == contents(whole)
    assert make(manifest, store, *COLUMNS, share=Share(1, 3)).found == names
    assert contents(store) == contents(whole)


def test_one_command_completes_what_workers_left(manifest: Path, whole: Path, tmp_path: Path) -> None:
    store = tmp_path / 'store'
    make(manifest, store, *COLUMNS, share=Share(1, 3))
    (store / 'rgb' / '.a killed one.partial').touch()
    make(manifest, store, *COLUMNS)
    assert contents(store) == contents(whole)


@pytest.mark.parametrize('harm', [flip_a_bit, Path.unlink, lambda file: os.truncate(file, 1000)])
def test_only_the_damaged_shard_is_made_again(harm: Any, manifest: Path, whole: Path, copy: Path) -> None:
    shard = copy / 'rgb' / 'rgb-train.array_record-00002-of-00005'
    times = {file: file.stat().st_mtime_ns for file in copy.rglob('*') if file.is_file() and file != shard}
    harm(shard)
    assert make(manifest, copy, *COLUMNS, check=harm is flip_a_bit).mended == 1
    assert contents(copy) == contents(whole)
    assert {file: file.stat().st_mtime_ns for file in times} == times


def test_a_shard_of_other_versions_is_not_mixed_in(manifest: Path, copy: Path) -> None:
    finished = copy / 'rgb' / 'column.json'
    meta = json.loads(finished.read_text())
    finished.write_text(json.dumps(meta | {'versions': meta['versions'] | {'av': '1.0'}}))
    make(manifest, copy, COLUMNS[0])
    (copy / 'rgb' / 'rgb-train.array_record-00002-of-00005').unlink()
    with pytest.raises(UserError, match=r"rgb-train.array_record-00002-of-00005.*versions .*'av': '1.0'.*--force"):
        make(manifest, copy, COLUMNS[0])
    finished.write_text(json.dumps(meta | {'version': 7}))
    with pytest.raises(UserError, match='was made by another vmmjax: install that, or renew the column with --force'):
        make(manifest, copy, COLUMNS[0])


def test_a_shard_that_comes_out_otherwise_is_said(manifest: Path, copy: Path) -> None:
    finished = copy / 'ramp' / 'column.json'
    meta = json.loads(finished.read_text())
    meta['splits']['test'][0]['sha256'] = '0' * 64
    finished.write_text(json.dumps(meta))
    with pytest.raises(UserError, match=r'with other contents than before.*--force'):
        make(manifest, copy, *COLUMNS, check=True)


def test_force_renews_a_column_and_what_was_rejected(manifest: Path, whole: Path, copy: Path) -> None:
    others = {name: content for name, content in contents(copy).items() if name.startswith(('rgb', 'audio'))}
    summary = make(manifest, copy, fakes.Ramp(rate_=20.0), force=True)
    assert (summary.made, summary.rejected) == (('ramp',), 0)
    assert Store(copy).columns['ramp'].rate == 20
    assert contents(copy).items() > others.items()
    assert make(manifest, copy, fakes.Ramp(broken=('020.mp4',)), force=True).rejected == 1
    assert contents(copy) == contents(whole)


def test_force_goes_on_where_it_was_stopped(manifest: Path, whole: Path, copy: Path) -> None:
    make(manifest, copy, COLUMNS[0], force=True, share=Share(0, 2))  # As one that was killed leaves it.
    made = {file: file.stat().st_mtime_ns for file in (copy / 'rgb').glob('*array_record*')}
    assert len(made) == 4
    make(manifest, copy, COLUMNS[0], force=True)
    assert {file: file.stat().st_mtime_ns for file in made} == made
    assert contents(copy) == contents(whole)


@pytest.mark.parametrize('size', ['other', 'same'])
def test_a_changed_file_under_an_unchanged_manifest_is_noticed(size: str, manifest: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(manifest.parent, tmp_path / 'source'))
    make(source / 'manifest.csv', tmp_path / 'store', fakes.Ramp())
    if size == 'other':
        (source / '010.mp4').write_bytes((source / '011.mp4').read_bytes())
    else:
        flip_a_bit(source / '010.mp4')
    summary = make(source / 'manifest.csv', tmp_path / 'store', fakes.Ramp(), fakes.Gradient())
    assert (summary.made, summary.found, summary.rejected) == (('gradient',), ('ramp',), 1)
    store = Store(tmp_path / 'store')
    names = store.values('path')
    assert names[store.columns['gradient'].lengths == 0].tolist() == ['010.mp4']
    assert (store.columns['ramp'].lengths > 0).all()
    with open(tmp_path / 'store' / 'rejected.csv', newline='') as file:
        assert list(csv.reader(file))[1:] == [
            ['010.mp4', 'gradient: it is no longer the file that the catalog was made from']]


def test_a_file_that_is_gone_costs_itself(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(shutil.copytree(manifest.parent, tmp_path / 'source'))
    build = catalog_builder.build

    def built(*arguments: Any, **options: Any) -> None:
        build(*arguments, **options)
        (source / '010.mp4').unlink()

    monkeypatch.setattr(catalog_builder, 'build', built)
    clips = sources.read(str(source / 'manifest.csv'))
    summary = prepare(clips, tmp_path / 'store', [fakes.Ramp()], origin='tiny', processes=2, progress=False)
    assert summary.rejected == 1
    assert np.flatnonzero(Store(tmp_path / 'store').columns['ramp'].lengths == 0).size == 1
    assert '010.mp4,ramp: it is gone since the catalog was made' in (
        tmp_path / 'store' / 'rejected.csv').read_text()


def test_another_source_of_the_same_names_is_refused(manifest: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(manifest.parent, tmp_path / 'source'))
    make(source / 'manifest.csv', tmp_path / 'store', fakes.Ramp())
    for file in source.glob('*.mp4'):
        file.write_bytes(file.read_bytes() + b'1')
    with pytest.raises(UserError, match='None of the files is any longer the one that the store was made from'):
        make(source / 'manifest.csv', tmp_path / 'store', fakes.Ramp(), fakes.Gradient())


def test_a_store_of_before_notes_its_files(manifest: Path, whole: Path, copy: Path) -> None:
    (copy / 'files.csv').unlink()
    make(manifest, copy, *COLUMNS)
    assert contents(copy) == contents(whole)
