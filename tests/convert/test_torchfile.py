import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.convert.writers import write_torch
from vmmjax.convert import files, torchfile
from vmmjax.errors import UserError

DATA = Path(__file__).parent / 'data'
LINE = np.arange(12, dtype=np.float32)
EXPECTED = {
    'conv.weight': np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / np.float32(10),
    'bn.running_var': np.float32([.5, 1.5]), 'bn.num_batches_tracked': np.array(7), 'half': np.float16([.5, -2]),
    'bf16': np.array([1.5, -3], ml_dtypes.bfloat16), 'double': np.array([1e-300]), 'mask': np.array([True, False]),
    'bytes': np.uint8([0, 255]), 'transposed': LINE.reshape(3, 4).T, 'tail': LINE[5:], 'tied': LINE,
    'empty': np.zeros((0, 3), np.float32), 'scalar': np.float32(3.5)}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array, name)


@pytest.mark.parametrize('form', ['zip', 'legacy'])
def test_a_file_of_pytorch_is_read_without_it(form):
    assert_same(files.read(DATA / f'torch_{form}.pth'), EXPECTED)


@pytest.mark.parametrize('legacy', [False, True])
def test_what_is_written_is_read(tmp_path, legacy):
    write_torch(tmp_path / 'x.pth', {'state_dict': EXPECTED}, legacy)
    assert_same(files.read(tmp_path / 'x.pth'), EXPECTED)


def test_equal_tensors_give_equal_bytes(tmp_path):
    for name in 'ab':
        torchfile.save(tmp_path / name, EXPECTED)
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def test_pytorch_reads_what_is_written(tmp_path):
    torch = pytest.importorskip('torch')
    torchfile.save(tmp_path / 'x.pth', {'state_dict': EXPECTED})
    found = torch.load(tmp_path / 'x.pth', weights_only=True)['state_dict']
    assert found['bf16'].dtype == torch.bfloat16
    assert_same({name: tensor.float().numpy().astype(EXPECTED[name].dtype) if name == 'bf16' else tensor.numpy()
                 for name, tensor in found.items()}, EXPECTED)


@pytest.mark.parametrize('form', [True, False])
def test_everything_a_state_dict_may_hold_is_read(tmp_path, form):
    torch = pytest.importorskip('torch')
    module = torch.nn.Sequential(torch.nn.Conv3d(2, 3, 3), torch.nn.BatchNorm3d(3), torch.nn.Linear(4, 5))
    module.register_parameter('alone', torch.nn.Parameter(torch.ones(2)[1:]))
    module.alone.note = 'an attribute'
    torch.save({'model': module.state_dict(), 'device': torch.device('cpu'), 'dtype': torch.float32,
                'size': torch.Size((1, 2)), 'parameter': module.alone}, tmp_path / 'x.pt',
               _use_new_zipfile_serialization=form)
    assert_same(files.read(tmp_path / 'x.pt'), {name: value.numpy() for name, value in module.state_dict().items()})


def test_a_view_of_a_storage_in_an_old_file_is_read(tmp_path):
    # As PyTorch 0.3 wrote slices: the storage's id says where the view begins.
    path = tmp_path / 'x.pth'
    with path.open('wb') as file:
        for header in (torchfile.MAGIC, 1001, {'little_endian': True}):
            file.write(pickle.dumps(header, 2))
        list(torchfile.write_pickle(file, {'a': LINE[:8]}, (('view', 4, 8),)))
        file.write(pickle.dumps(['0'], 2) + (12).to_bytes(8, 'little') + LINE.tobytes())
    np.testing.assert_array_equal(files.read(path)['a'], LINE[4:])


def _rewritten(tmp_path, change, compression=zipfile.ZIP_STORED):
    """The file of the fixture with its entries changed by `change(name, content)`."""
    path = tmp_path / 'x.pth'
    with zipfile.ZipFile(DATA / 'torch_zip.pth') as old, zipfile.ZipFile(path, 'w', compression) as new:
        for entry in old.infolist():
            content = change(entry.filename, old.read(entry.filename))
            if content is not None:
                new.writestr(entry.filename, content)
    return path


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / 'x.pth'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', b'\x80\x02}.')
        archive.writestr('archive/data/0', bytes(100_000_000))
    assert path.stat().st_size < 200_000
    with pytest.raises(UserError, match=r'x\.pth has a compressed entry .*it was not unpacked'):
        files.read(path)


def test_damage_is_named(tmp_path):
    content = bytearray((DATA / 'torch_zip.pth').read_bytes())
    content[content.index(LINE.tobytes()) + 5] ^= 1
    (tmp_path / 'x.pth').write_bytes(content)
    with pytest.raises(UserError, match=r"x\.pth has an entry 'torch_zip/data/\d+' that is damaged"):
        files.read(tmp_path / 'x.pth')


@pytest.mark.parametrize(('entry', 'replacement', 'message'), [
    ('byteorder', b'big', 'big-endian'),
    ('data.pkl', None, 'without the data.pkl'),
    ('data/3', None, 'lacks its entry data/3'),
    ('data/8', b'', 'reaches beyond the data'),
])
def test_what_is_wrong_in_an_archive_is_said(tmp_path, entry, replacement, message):
    path = _rewritten(tmp_path, lambda name, content: replacement if name.endswith(f'/{entry}') else content)
    with pytest.raises(UserError, match=message):
        files.read(path)


def test_a_torchscript_program_is_refused(tmp_path):
    torch = pytest.importorskip('torch')
    with pytest.warns(DeprecationWarning, match='torch.jit'):
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / 'x.pt')
    with pytest.raises(UserError, match=r'TorchScript program; save its tensors'):
        files.read(tmp_path / 'x.pt')


def test_a_whole_module_is_refused_with_the_way_out(tmp_path):
    torch = pytest.importorskip('torch')
    torch.save(torch.nn.Linear(2, 2), tmp_path / 'x.pt')
    with pytest.raises(UserError, match=r"asks for 'torch.nn.modules.linear.Linear'.*nothing was run.*state_dict"):
        files.read(tmp_path / 'x.pt')


def test_an_expanded_tensor_does_not_fill_the_memory(tmp_path):
    torch = pytest.importorskip('torch')
    torch.save({'a': torch.ones(1).expand(10**6, 10**6)}, tmp_path / 'x.pt')
    with pytest.raises(UserError, match='a tensor a that cannot be read: it repeats its data'):
        files.read(tmp_path / 'x.pt')


def test_tensors_that_share_a_storage_do_not_fill_the_memory(tmp_path):
    torch = pytest.importorskip('torch')
    line = torch.ones(1000)
    torch.save({'a': line, 'b': line}, tmp_path / 'tied.pt')
    assert len(files.read(tmp_path / 'tied.pt')) == 2
    torch.save(OrderedDict((str(i), line) for i in range(1000)), tmp_path / 'x.pt')
    with pytest.raises(UserError, match='more than 8 times as large as the file'):
        files.read(tmp_path / 'x.pt')
