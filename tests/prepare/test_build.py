import contextlib
import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from tests import fakes
from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.prepare import records, sources
from vmmjax.prepare.build import Summary, prepare, stages
from vmmjax.prepare.columns import Rgb
from vmmjax.store import locks
from vmmjax.store.store import Store


def _prepare(manifest: Path, store: Path, *columns: object, processes: int = 1, origin: str = 'tiny',
             **options: Any) -> Summary:
    return prepare(sources.read(str(manifest)), store, columns, origin=origin, processes=processes, progress=False,
                   **options)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob('*')) if file.is_file()}


def test_the_same_bytes_whatever_the_processes_and_the_place(manifest: Path, store_path: Path, tmp_path: Path) -> None:
    columns = (Rgb(fps=10, short_side=24), fakes.Ramp())
    moved = Path(shutil.copytree(manifest.parent, tmp_path / 'elsewhere'))
    _prepare(moved / 'manifest.csv', tmp_path / 'store', *columns, processes=1)
    here, there = _contents(tmp_path / 'store'), _contents(store_path)
    assert set(here) == {name for name in there if '/' not in name or name.split('/')[0] in ('rgb', 'ramp')}
    for name, content in here.items():
        assert content == there[name], name
        assert str(manifest.parent).encode() not in content
        assert str(tmp_path).encode() not in content


def test_a_second_call_does_nothing_and_a_column_can_be_added(manifest: Path, tmp_path: Path) -> None:
    store = tmp_path / 'store'
    assert _prepare(manifest, store, fakes.Ramp()) == Summary(84, ('ramp',), (), 0)
    before = _contents(store)
    times = {file: file.stat().st_mtime_ns for file in store.rglob('*')}
    assert _prepare(manifest, store, fakes.Ramp()) == Summary(84, (), ('ramp',), 0)
    assert _contents(store) == before
    assert {file: file.stat().st_mtime_ns for file in store.rglob('*')} == times
    assert _prepare(manifest, store, fakes.Ramp(), fakes.Gradient()) == Summary(84, ('gradient',), ('ramp',), 0)
    assert _contents(store).items() > before.items()


def test_a_column_can_be_added_to_a_store_of_format_1(manifest: Path, store_path: Path, tmp_path: Path) -> None:
    store = tmp_path / 'store'
    _prepare(manifest, store, fakes.Ramp())
    meta = json.loads((store / 'store.json').read_text())
    with open(store / 'catalog.csv', newline='', encoding='utf-8') as file:
        atomic.write_csv(store / 'catalog.csv', [row[:11] + row[13:] for row in csv.reader(file)])
    atomic.write(store / 'store.json', json.dumps(meta | {'format': 1}))
    before = _contents(store)
    assert _prepare(manifest, store, fakes.Ramp(), Rgb(fps=10, short_side=24)).made == ('rgb',)
    after = _contents(store)
    assert before.items() < after.items()
    rgb = after['rgb/rgb-test.array_record-00000-of-00001']
    assert rgb == (store_path / 'rgb' / 'rgb-test.array_record-00000-of-00001').read_bytes()
    assert Store(store).values('label').tolist() == Store(store_path).values('label').tolist()


def test_whatever_a_column_does_costs_the_clip(tmp_path: Path) -> None:
    manifest = fakes.write_source(tmp_path / 'source', {'train': 9})
    summary = _prepare(manifest, tmp_path / 'store', fakes.Wrong(), fakes.Ramp())
    assert (summary.made, summary.rejected) == (('wrong', 'ramp'), 8)
    with open(tmp_path / 'store' / 'rejected.csv', newline='', encoding='utf-8') as file:
        reasons = [reason for _, reason in list(csv.reader(file))[1:]]
    said = ["wrong: the column raises KeyError: 'nothing' (fakes.py, line ",
            'wrong: the column raises _Unpicklable: 1 of 2 (fakes.py, line ', *['wrong: its frames hold numbers that '
            'are not finite'] * 2, 'wrong: its frames have the shape (3,), not (2,)',
            "wrong: the column raises AttributeError: 'NoneType' object",
            'wrong: the column raises FileNotFoundError: ', 'wrong: the column raises AssertionError']
    assert [reason.startswith(start) for reason, start in zip(reasons, said, strict=True)] == [True] * 8
    columns = Store(tmp_path / 'store').columns
    assert columns['wrong'].lengths.tolist() == [0] * 8 + [20]
    assert (columns['ramp'].lengths > 0).all()


def test_stages_say_what_is_made_and_make_nothing(manifest: Path, tmp_path: Path) -> None:
    clips, columns = sources.read(str(manifest)), (Rgb(fps=10, short_side=24), fakes.Ramp())
    text = stages(clips, tmp_path / 'store', columns, origin='tiny')
    assert not (tmp_path / 'store').exists()
    assert 'tiny: 84 clips, test 5, train 70, validation 9' in text
    assert 'rgb: picture, 10 frames/s, 1 a record (fps=10, short_side=24) -> ' in text
    _prepare(manifest, tmp_path / 'store', fakes.Ramp())
    *_, rgb, ramp, _ = stages(clips, tmp_path / 'store', columns, origin='tiny').split('\n')
    assert rgb.endswith('shards at most')
    assert ramp.endswith('there already')


def test_other_options_or_another_source(manifest: Path, tmp_path: Path) -> None:
    store = tmp_path / 'store'
    _prepare(manifest, store, fakes.Ramp())
    with pytest.raises(UserError, match=r'rate_=10.0, not 20.0; .*another --store, or renew the column with --force'):
        _prepare(manifest, store, fakes.Ramp(rate_=20.0))
    with pytest.raises(UserError, match=r"made from 'tiny', .*another --store"):
        _prepare(manifest, store, fakes.Ramp(), origin='other')
    finished = store / 'ramp' / 'column.json'
    finished.write_text(finished.read_text().replace('"rate_"', '"earlier"'))
    with pytest.raises(UserError, match='older vmmjax, which did not record rate_'):
        _prepare(manifest, store, fakes.Ramp())
    fewer = fakes.write_source(tmp_path / 'fewer', {'train': 3})
    with pytest.raises(UserError, match='another --store'):
        _prepare(fewer, store, fakes.Ramp())


def test_a_clip_that_cannot_be_decoded_is_listed_and_the_run_goes_on(manifest: Path, tmp_path: Path) -> None:
    store = tmp_path / 'store'
    (tmp_path / 'source').mkdir()
    for file in manifest.parent.glob('*'):
        shutil.copy(file, tmp_path / 'source')
    (tmp_path / 'source' / '010.mp4').write_bytes(b'no film')
    summary = _prepare(tmp_path / 'source' / 'manifest.csv', store, fakes.Ramp(broken=('020.mp4', '007.mp4')))
    assert summary == Summary(83, ('ramp',), (), 3)
    with open(store / 'rejected.csv', newline='') as file:
        rejected = list(csv.reader(file))
    assert rejected[0] == ['path', 'reason']
    assert [path for path, _ in rejected[1:]] == ['010.mp4', '007.mp4', '020.mp4']
    assert rejected[2][1] == 'ramp: 007.mp4 is no ramp.'
    lengths = Store(store).columns['ramp'].lengths
    names = Store(store).values('name').tolist()
    assert [names[row] for row in np.flatnonzero(lengths == 0)] == ['n7', 'n20']
    before = _contents(store)
    _prepare(tmp_path / 'source' / 'manifest.csv', store, fakes.Ramp(broken=('020.mp4', '007.mp4')))
    assert _contents(store) == before


_KILLED = '''
import sys
from pathlib import Path
from tests import fakes
from vmmjax.prepare import build, column_writer, sources
if __name__ == '__main__':
    column_writer.CLIPS_A_SHARD = 8
    columns = [fakes.Ramp(delay=float(sys.argv[3])), fakes.Gradient()]
    build.prepare(sources.read(sys.argv[1]), Path(sys.argv[2]), columns, origin='tiny', processes=2, progress=False)
'''


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_store(manifest: Path, tmp_path: Path) -> None:
    script = tmp_path / 'run.py'
    script.write_text(_KILLED)
    environment = os.environ | {'PYTHONPATH': str(Path(__file__).parents[2])}
    killed, whole = tmp_path / 'killed', tmp_path / 'whole'
    command = [sys.executable, str(script), str(manifest), str(killed), '0.05']

    def reports() -> list[Path]:
        return sorted((killed / 'ramp' / 'shards').glob('*array_record*.json'))

    process = subprocess.Popen(command, env=environment, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(reports()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)  # The workers end by themselves.
    process.wait()
    assert 2 <= len(reports()) < 11, 'killed in the middle'
    deadline = time.monotonic() + 20
    while _group_alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _group_alive(process.pid), 'workers outlive their parent'
    finished = {report: report.stat().st_mtime_ns for report in reports()}
    shards_before = {path: path.stat().st_mtime_ns for path in (killed / 'ramp').glob('*array_record*')
                     if any(report.name.startswith(path.name) for report in finished)}
    subprocess.run(command, env=environment, check=True)
    assert shards_before
    for path, written in shards_before.items():
        assert path.stat().st_mtime_ns == written, 'a finished shard was made again'
    subprocess.run([*command[:3], str(whole), '0.05'], env=environment, check=True)
    assert _contents(killed) == _contents(whole)


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_full_disk_is_one_sentence_and_leaves_nothing_partial(manifest: Path, tmp_path: Path) -> None:
    store = tmp_path / 'store'
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Workers inherit the limit: no file may grow over 200 kB, which the pictures' shard does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limit[1]))
    try:
        with pytest.raises(UserError, match=r'rgb-\w+.array_record.* could not be written: .*File too large'):
            _prepare(manifest, store, fakes.Ramp(), Rgb(fps=10, short_side=24))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(store.rglob(f'*{atomic.SUFFIX}'))
    assert list(Store(store).columns) == ['ramp']
    _prepare(manifest, store, Rgb(fps=10, short_side=24))
    assert list(Store(store).columns) == ['ramp', 'rgb']


def test_an_unwritable_folder(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match=r'file.* could not be written'):
        _prepare(manifest, tmp_path / 'file' / 'store', fakes.Ramp())


def test_two_runs_on_one_store(manifest: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(locks.alone(tmp_path, lambda: None))
        with pytest.raises(UserError, match='Another vmmjax prepare'):
            _prepare(manifest, tmp_path, fakes.Ramp())


def test_records_are_what_tfds_writes() -> None:
    features = tfds.features.FeaturesDict({
        'frames': tfds.features.Sequence(tfds.features.Tensor(shape=(2,), dtype=np.float32)),
        'row': np.int64, 'chunk': np.int64})
    parse = tf_example_pb2.Example.FromString
    for frames in (np.arange(6, dtype=np.float32).reshape(3, 2), np.zeros((0, 2), np.float32)):
        theirs = features.serialize_example({'frames': frames, 'row': 3, 'chunk': 1})
        assert parse(records.serialize(frames, 3, 1)) == parse(theirs)  # Theirs leaves the order of keys open.


def test_workers_start_without_tensorflow() -> None:
    code = "import sys, vmmjax.prepare.build, vmmjax.prepare.columns; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, '-c', code], check=True)
