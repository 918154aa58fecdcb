"""A bundle as a file: every flipped bit is noticed, and what is no bundle is refused in a sentence."""

import hashlib
import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from vmmjax.convert import bundle
from vmmjax.errors import UserError

RUN = {'format': 1, 'config': {'seed': 0}, 'fingerprint': 'abc', 'classes': ['a'], 'inputs': {}}
WEIGHTS = {'params/head/kernel': np.arange(6, dtype=np.float32).reshape(2, 3), 'batch_stats/mean': np.ones(2)}


def members(**changes):
    """Those of a bundle, by name."""
    return {bundle.CONTENTS: json.dumps({'format': 1, 'step': 7, 'run': RUN}).encode(),
            bundle.README: b'# A model', bundle.WEIGHTS: bundle.packed(WEIGHTS),
            bundle.GOLDEN: bundle.packed({'input/rgb': np.zeros((5, 2), np.uint8)}),
            **{bundle.program(platform): bytes(range(200)) for platform in ('cpu', 'cuda', 'tpu')}, **changes}


def refused(path):
    """The sentence with which a file is refused."""
    with pytest.raises(UserError) as caught:
        bundle.Bundle(path).check()
    sentence = str(caught.value)
    assert str(path) in sentence
    assert '\n' not in sentence
    return sentence


def rezipped(path, **changes):
    """Writes the members with others in their place, each with its checksum in the list."""
    found = {**members(), **{name: data for name, data in changes.items() if data is not None}}
    found = {name: data for name, data in found.items() if changes.get(name, b'') is not None}
    with zipfile.ZipFile(path, 'w') as file:
        for name, data in found.items():
            file.writestr(name, data)
        file.writestr(bundle.SUMS, ''.join(f'{hashlib.sha256(data).hexdigest()}  {name}\n'
                                           for name, data in found.items()))
    return path


@pytest.fixture
def file(tmp_path):
    bundle.write(tmp_path / 'model.vmm', members())
    return tmp_path / 'model.vmm'


def test_what_is_written_is_read(file):
    found = bundle.Bundle(file)
    assert found.check() == [*members()]
    assert {name: found.member(name) for name in members()} == members()
    assert found.weights.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(found.weights[name], array)
        assert found.weights[name].dtype == array.dtype
    assert found.newest_meta() == (7, RUN | {'config': '{"seed": 0}'})
    with pytest.raises(UserError, match=r'one checkpoint.*leave out --best'):
        found.best()


def test_any_zip_program_and_sha256sum_read_it(file, tmp_path):
    with zipfile.ZipFile(file) as opened:
        assert opened.testzip() is None
        lines = opened.read(bundle.SUMS).decode().splitlines()
        assert lines == [f'{hashlib.sha256(opened.read(name)).hexdigest()}  {name}' for name in members()]


def test_equal_members_are_equal_bytes_and_nothing_partial_is_left(file, tmp_path):
    bundle.write(tmp_path / 'other.vmm', members())
    assert (tmp_path / 'other.vmm').read_bytes() == file.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {'model.vmm', 'other.vmm'}


@pytest.mark.parametrize('name', ['model.vmm', 'renamed.zip', 'without_ending'])
def test_a_bundle_is_known_by_its_content(file, name):
    moved = file.rename(file.with_name(name))
    assert bundle.is_bundle(moved)
    assert bundle.is_run(moved)
    with zipfile.ZipFile(file.with_name('archive.pth'), 'w') as other:
        other.writestr('archive/data.pkl', b'')
    assert not bundle.is_run(file.with_name('archive.pth'))
    assert not bundle.is_run(file.parent)


def test_a_flipped_bit_is_noticed_by_the_name_of_its_member(file):
    """In 100 of 100 places, some in each member, the list of checksums included."""
    data, random = bytearray(file.read_bytes()), np.random.default_rng(0)
    with zipfile.ZipFile(file) as opened:
        # Where a member's bytes begin: behind its header of 30 bytes and its name.
        places = [(info.filename, info.header_offset + 30 + len(info.filename), info.file_size)
                  for info in opened.infolist()]
    assert len(places) == 8
    for trial in range(100):
        name, begin, size = places[trial % len(places)]
        place, bit = begin + int(random.integers(size)), 1 << int(random.integers(8))
        data[place] ^= bit
        file.write_bytes(data)
        assert f'its member {name} is damaged' in refused(file)
        data[place] ^= bit
    file.write_bytes(data)
    bundle.Bundle(file).check()


def test_a_member_that_was_changed_with_its_zip_checksum_is_noticed(file):
    changed = members(**{bundle.README: b'# Another'})
    with zipfile.ZipFile(file) as opened:
        sums = opened.read(bundle.SUMS)
    with zipfile.ZipFile(file, 'w') as other:
        for name, data in {**changed, bundle.SUMS: sums}.items():
            other.writestr(name, data)
    assert f'its member {bundle.README} is damaged (another SHA-256)' in refused(file)


@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(file, share):
    file.write_bytes(file.read_bytes()[:int(share * file.stat().st_size)])
    assert 'is truncated or no bundle' in refused(file)


@pytest.mark.parametrize('name', ['../model.pkl', '/etc/model', 'programs/../../x', 'C:\\x', '..\\x'])
def test_a_path_that_leads_out(tmp_path, name):
    path = rezipped(tmp_path / 'm.vmm', **{name: b'x'})
    assert 'a path that leads out of it' in refused(path)
    assert [each.name for each in tmp_path.iterdir()] == ['m.vmm']


class Trap:
    """Says in the current folder that it was unpickled."""

    def __reduce__(self):
        return open, ('trapped', 'w')


@pytest.mark.parametrize('name', ['weights.pkl', bundle.WEIGHTS])
def test_a_pickle_is_not_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = rezipped(tmp_path / 'm.vmm', **{name: pickle.dumps(Trap())})
    with pytest.raises(UserError, match=r'holds a pickle|is not of the safetensors format') as caught:
        bundle.Bundle(path).weights  # noqa: B018 - is refused.
    assert name in str(caught.value)
    assert not (tmp_path / 'trapped').exists()


@pytest.mark.parametrize(('changes', 'sentence'), [
    ({bundle.CONTENTS: b'{"format": 2}'}, 'a bundle of version 2, and this vmmjax reads up to 1; install a newer'),
    ({bundle.CONTENTS: b'{"format": 2}', 'what/is/new': b''}, 'a bundle of version 2'),
    ({bundle.CONTENTS: b'{"format": '}, 'is not what a bundle has'),
    ({bundle.CONTENTS: b'[]'}, 'is not what a bundle has'),
    ({bundle.CONTENTS: b'{"format": 1, "step": 7, "run": {}}'}, 'is not what a bundle has'),
    ({bundle.CONTENTS: b'[' * 100_000}, 'is not what a bundle has'),
    ({bundle.WEIGHTS: None}, f'has no member {bundle.WEIGHTS}'),
    ({'more.txt': b'x'}, "holds a member, 'more.txt'"),
])
def test_what_is_no_bundle_of_this_version(tmp_path, changes, sentence):
    assert sentence in refused(rezipped(tmp_path / 'm.vmm', **changes))


def test_members_twice_unlisted_or_compressed(tmp_path):
    path = rezipped(tmp_path / 'm.vmm')
    with zipfile.ZipFile(path, 'a') as file, pytest.warns(UserWarning, match='Duplicate'):
        file.writestr(bundle.WEIGHTS, b'x')
    assert f'several members {bundle.WEIGHTS}' in refused(path)
    path = rezipped(tmp_path / 'm.vmm')
    with zipfile.ZipFile(path, 'a') as file:
        file.writestr(bundle.program('rocm'), b'x')
    assert 'in its list of checksums or in the file, but not in both' in refused(path)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr(bundle.CONTENTS, bytes(10_000_000))
    assert path.stat().st_size < 20_000
    assert 'is compressed or damaged' in refused(path)


def test_a_file_that_is_not_there(tmp_path):
    assert 'There is no file' in refused(tmp_path / 'm.vmm')


def test_arrays_are_packed_in_the_order_of_their_names():
    first, second = ({name: WEIGHTS[name] for name in names} for names in (sorted(WEIGHTS), sorted(WEIGHTS)[::-1]))
    assert bundle.packed(first) == bundle.packed(second)
    assert io.BytesIO(bundle.packed(first)).read(9)[8:] == b'{'
