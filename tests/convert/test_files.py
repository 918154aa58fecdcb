import pickle
import random
import resource
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.convert.writers import write_safetensors, write_tensorflow, write_tensorflow_v1, write_torch
from vmmjax.convert import files
from vmmjax.errors import UserError

DATA = Path(__file__).parent / 'data'
TENSORS = {f'layer{number}/weight': np.random.default_rng(number).standard_normal((4, 3)).astype(np.float32)
           for number in range(4)}


def assert_same(found, expected=TENSORS):
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, name)


def write(kind, path):
    """Writes the tensors as a file of that kind; returns the path to read, and the file with the tensors in it."""
    if kind == 'tensorflow':
        write_tensorflow(path, TENSORS)
        return path, path.with_name(f'{path.name}.index')
    if kind == 'pickle':
        path.write_bytes(pickle.dumps(TENSORS))
    else:
        {'torch': write_torch, 'legacy': lambda path, tensors: write_torch(path, tensors, legacy=True),
         'safetensors': write_safetensors, 'tensorflow v1': write_tensorflow_v1}[kind](path, TENSORS)
    return path, path


KINDS = ('torch', 'legacy', 'pickle', 'safetensors', 'tensorflow', 'tensorflow v1')


@pytest.mark.parametrize('kind', KINDS)
def test_the_kind_is_told_by_the_content(tmp_path, kind):
    path, _ = write(kind, tmp_path / 'weights.ckpt')
    assert_same(files.read(path))


def test_a_tensorflow_checkpoint_is_named_by_any_of_its_files_or_its_folder(tmp_path):
    prefix = tmp_path / 'model.ckpt-100'
    write_tensorflow(prefix, TENSORS)
    (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "model.ckpt-100"')
    for path in (prefix, f'{prefix}.index', f'{prefix}.data-00000-of-00001', tmp_path):
        assert_same(files.read(path))


@pytest.mark.parametrize('wrap', [
    lambda tensors: {'state_dict': tensors, 'epoch': 3, 'best': np.float32(.5)},
    lambda tensors: {'model': tensors, 'optimizer': {'state': {0: np.ones(3)}}},
    lambda tensors: {'model_state_dict': {f'module.{name}': array for name, array in tensors.items()}},
    lambda tensors: {'model': {'state_dict': tensors}},
    lambda tensors: {f'_orig_mod.module.{name}': array for name, array in tensors.items()},
    lambda tensors: {name.split('/')[0]: {'weight': array} for name, array in tensors.items()},
])
def test_what_training_scripts_put_around_the_tensors_is_taken_off(tmp_path, wrap):
    (tmp_path / 'x').write_bytes(pickle.dumps(wrap(TENSORS)))
    assert_same(files.read(tmp_path / 'x'))


def test_safetensors_are_as_the_library_writes_and_reads_them(tmp_path):
    library = pytest.importorskip('safetensors.numpy')
    tensors = {**TENSORS, 'scalar': np.array(3), 'empty': np.zeros((0, 2), np.float16), 'mask': np.array([True])}
    library.save_file(tensors, tmp_path / 'a.safetensors', metadata={'format': 'pt'})
    assert_same(files.read(tmp_path / 'a.safetensors'), tensors)
    files.write(tmp_path / 'b.safetensors', tensors)
    assert_same(library.load_file(tmp_path / 'b.safetensors'), tensors)


@pytest.mark.parametrize('name', ['x.safetensors', 'x.pth'])
def test_bfloat16_is_kept(tmp_path, name):
    tensors = {'a': np.array([1.5, -2], ml_dtypes.bfloat16)}
    files.write(tmp_path / name, tensors)
    assert files.read(tmp_path / name)['a'].dtype == ml_dtypes.bfloat16
    assert_same(files.read(tmp_path / name), tensors)


def test_another_ending_is_not_written(tmp_path):
    with pytest.raises(UserError, match=r'x\.h5 must end with'):
        files.write(tmp_path / 'x.h5', TENSORS)


@pytest.mark.parametrize(('content', 'message'), [
    (None, 'There is no file'), (b'', 'is empty'), (b'hello', 'none of the files'),
    (b'\x89HDF\r\n\x1a\n' + bytes(100), 'none of the files'), (b'PK\x03\x04', 'zip archive that is damaged'),
    (pickle.dumps({'epoch': 3}), 'holds no tensors'), (pickle.dumps([]), 'holds no tensors'),
    (pickle.dumps('x'), 'holds no tensors'),
    ((10**6).to_bytes(8, 'little') + b'{}', 'none of the files'),
    ((2).to_bytes(8, 'little') + b'{}', 'holds no tensors'),
    ((6).to_bytes(8, 'little') + b'{"a":1', 'damaged file of the safetensors format'),
    ((8_000_000).to_bytes(8, 'little') + b'{"a":' + b'[' * 7_999_995, 'damaged file of the safetensors format'),
])
def test_what_is_no_file_of_weights_gets_a_sentence(tmp_path, content, message):
    path = tmp_path / 'x.pth'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        files.read(path)


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(UserError, match='is a folder with neither'):
        files.read(tmp_path)


def test_a_checkpoint_without_its_data_is_said_to_lack_a_part(tmp_path):
    write_tensorflow(tmp_path / 'x', TENSORS)
    (tmp_path / 'x.data-00000-of-00001').unlink()
    with pytest.raises(UserError, match='x is a TensorFlow checkpoint that is damaged or lacks a part'):
        files.read(tmp_path / 'x')


@pytest.mark.parametrize('kind', KINDS)
def test_a_file_that_is_cut_off_anywhere_gets_a_sentence(tmp_path, kind):
    path, file = write(kind, tmp_path / 'weights')
    content = file.read_bytes()
    for size in range(0, len(content), max(1, len(content) // 60)):
        file.write_bytes(content[:size])
        with pytest.raises(UserError, match='weights'):
            files.read(path)


def _damaged(generator, content):
    """The content with a few bits flipped, bytes set, cut out, repeated or cut off."""
    content = bytearray(content)
    for _ in range(generator.choice([1, 1, 1, 3])):
        place = generator.randrange(len(content))
        way = generator.randrange(6)
        if way < 2:
            content[place] ^= 1 << generator.randrange(8)
        elif way == 2:
            content[place] = generator.choice(b'\x00\xff\x7f\x80(Rbc.u')
        elif way == 3:
            del content[place:place + generator.randrange(1, 9)]
        elif way == 4:
            content[place:place] = content[generator.randrange(len(content)):][:30]
        else:
            del content[max(place, 1):]
    return bytes(content)


@pytest.mark.parametrize('kind', [*KINDS, 'fixture zip', 'fixture legacy'])
def test_damage_gives_a_sentence_or_nothing(tmp_path, kind):
    if kind.startswith('fixture'):
        path = file = tmp_path / 'weights'
        path.write_bytes((DATA / f'torch_{kind.split()[1]}.pth').read_bytes())
    else:
        path, file = write(kind, tmp_path / 'weights')
    content, generator = file.read_bytes(), random.Random(kind)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    refused = []
    for _ in range(400):
        file.write_bytes(_damaged(generator, content))
        try:
            files.read(path)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 200
    assert all(sentence.startswith(str(path)) for sentence in refused)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    assert time.monotonic() - began < 60
