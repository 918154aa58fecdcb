import argparse
import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.convert.writers import write_torch
from vmmjax.convert import files, pickles
from vmmjax.errors import UserError

A = np.arange(6, dtype=np.float32).reshape(2, 3)


def read(tmp_path, content):
    (tmp_path / 'x.pkl').write_bytes(content)
    return files.read(tmp_path / 'x.pkl')


def loads(content):
    return pickles.load(io.BytesIO(content), len(content))


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_arrays_are_read_as_numpy_wrote_them(tmp_path, protocol):
    tree = {'params': {'a': {'kernel': A}, 'b': [A.T, np.float64(3)]}, 'x': A.astype('>f8'), 'n': A.astype(np.int16),
            'name': 'text', 'none': None, 'o': collections.OrderedDict(y=np.zeros((0, 2))), 'c': np.array(True)}
    found = read(tmp_path, pickle.dumps(tree, protocol))
    assert {name: array.dtype.kind + str(array.itemsize) for name, array in found.items()} == {
        'params/a/kernel': 'f4', 'params/b/0': 'f4', 'params/b/1': 'f8', 'x': 'f8', 'n': 'i2', 'o/y': 'f8', 'c': 'b1'}
    np.testing.assert_array_equal(found['params/a/kernel'], A)
    np.testing.assert_array_equal(found['params/b/0'], A.T)
    np.testing.assert_array_equal(found['x'], A)
    assert found['params/b/1'] == 3


def test_names_of_both_generations_of_numpy_are_known(tmp_path):
    content = pickle.dumps({'a': A}, 2)
    for core in (b'numpy.core.', b'numpy._core.'):
        found = read(tmp_path, content.replace(b'numpy._core.', core))
        np.testing.assert_array_equal(found['a'], A)


def test_an_array_from_python_2_is_read(tmp_path):
    # Bytes were texts there.
    data = A.tobytes()
    content = (b'\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R'
               b'(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff'
               b'\xff\xffK\x00tb\x89U' + bytes([len(data)]) + data + b'tbs.')
    np.testing.assert_array_equal(read(tmp_path, content)['a'], A)


def test_harmless_objects_are_left_out(tmp_path):
    content = pickle.dumps({'a': A, 'args': argparse.Namespace(lr=.1), 'path': Path('x'), 'set': {1, 2},
                            'counts': collections.Counter('ab'), 'd': collections.defaultdict(list, x=[1])}, 4)
    assert list(read(tmp_path, content)) == ['a']


class Reduced:
    """Pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _attacks(command):
    """Pickles that run a command when they are read plainly."""
    name, line = b'posix' if os.name == 'posix' else b'nt', command.encode()
    text = b'X' + struct.pack('<I', len(line)) + line
    nested = Reduced(list, [Reduced(dict, [('a', Reduced(os.system, command))])])
    getter = Reduced(getattr, Reduced(__import__, 'os'), 'system')
    return {
        'os.system': pickle.dumps(Reduced(os.system, command), 2),
        'os.system by name on the stack': pickle.dumps(Reduced(os.system, command), 4),
        'eval': pickle.dumps(Reduced(eval, f'__import__("os").system({command!r})'), 4),
        'exec': pickle.dumps(Reduced(exec, f'import os; os.system({command!r})'), 2),
        'subprocess': pickle.dumps(Reduced(subprocess.call, ['sh', '-c', command]), 4),
        'getattr': pickle.dumps({'a': getter}, 4),
        'getattr of a harmless class': b'\x80\x02cbuiltins\ngetattr\ncargparse\nNamespace\nX\x0b\x00\x00\x00'
                                       b'__globals__\x86R' + text + b'\x85R.',
        'nested': pickle.dumps({'state_dict': {'w': nested}}, 4),
        'key': b'\x80\x02}c' + name + b'\nsystem\n' + text + b'\x85RK\x01s.',
        'inst': b'\x80\x02(' + text + b'i' + name + b'\nsystem\n.',
        'obj': b'\x80\x02(c' + name + b'\nsystem\n' + text + b'o.',
        'newobj': b'\x80\x02c' + name + b'\nsystem\n' + text + b'\x85\x81.',
        'newobj_ex': b'\x80\x04c' + name + b'\nsystem\n' + text + b'\x85}\x92.',
        'build': b'\x80\x02cargparse\nNamespace\n)\x81}X\x0c\x00\x00\x00__setstate__c' + name + b'\nsystem\nsb' + text
                 + b'b.',
        'extension': b'\x80\x02\x82\x01' + text + b'\x85R.',
        'persistent id': b'\x80\x02' + text + b'Q.',
        'protocol 0': b'c' + name + b'\nsystem\n(V' + line + b'\ntR.',
        'numpy': b'\x80\x02cnumpy.testing._private.utils\nrunstring\n' + text + b'}\x86R.',
        'torch': b'\x80\x02ctorch._utils\n_rebuild_from_type_v2\n(c' + name + b'\nsystem\nN(' + text + b'tNtR.',
    }


@pytest.mark.parametrize('name', _attacks(''))
@pytest.mark.parametrize('form', ['pickle', 'torch zip', 'torch legacy'])
def test_nothing_in_a_pickle_is_run(tmp_path, name, form):
    attack = _attacks(f'echo run > {tmp_path / "sentinel"}')[name]
    path = tmp_path / 'x.pth'
    write_torch(path, {'a': A}, legacy=form == 'torch legacy')
    if form == 'torch zip':
        _replace_program(path, attack)
    elif form == 'torch legacy':
        path.write_bytes(path.read_bytes().replace(b'\x80\x02}(', attack[:-1] + b'0}('))
    else:
        path.write_bytes(attack)
    with pytest.raises(UserError, match=r'x\.pth '):
        files.read(path)
    assert not (tmp_path / 'sentinel').exists()


def _replace_program(path, program):
    import zipfile
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, 'w') as new:
        for name, content in entries.items():
            new.writestr(name, program if name.endswith('data.pkl') else content)


def test_the_attacks_are_attacks(tmp_path):
    # Plain unpickling runs the first; the rest differ from it in how they ask.
    attack = _attacks(f'echo run > {tmp_path / "sentinel"}')['os.system']
    subprocess.run([sys.executable, '-c', f'import pickle; pickle.loads({attack!r})'], check=True)
    assert (tmp_path / 'sentinel').exists()


def test_what_is_asked_for_is_named(tmp_path):
    with pytest.raises(UserError, match=r"x\.pkl asks for '(posix|nt)\.system', .*nothing was run"):
        read(tmp_path, pickle.dumps({'a': Reduced(os.system, 'true')}))


def _number(value):
    return b'J' + struct.pack('<i', value)


BOMBS = {
    'a memo index of 4 billion': b'\x80\x02}r\xff\xff\xff\xff.',
    'a text of 4 GB': b'\x80\x02X\xff\xff\xff\xfe.',
    'bytes of 8 EB': b'\x80\x04\x8e' + struct.pack('<Q', 2**63 - 1) + b'.',
    'a frame of 8 EB': b'\x80\x04\x95' + struct.pack('<Q', 2**63 - 1) + b'}.',
    'nested tuples': b'\x80\x02)' + b'\x85' * 100_000 + b'.',
    'nested lists': b'\x80\x02' + b']' * 100_000 + b'a' * 99_999 + b'.',
    'nested dicts': b'\x80\x02}' + b'K\x01}' * 100_000 + b's' * 100_000 + b'.',
    'a nested tuple as key': b'\x80\x02})' + b'\x85' * 100_000 + b'Ns.',
    'a list in itself': b'\x80\x02]q\x00h\x00a.',
    'a dict in itself': b'\x80\x02}q\x00K\x01h\x00sK\x02h\x00s.',
    'laughs': b'\x80\x02]q\x00' + b''.join(b'(' + b'h' + bytes([i]) + b'h' + bytes([i]) + b'lq' + bytes([i + 1])
                                           for i in range(60)) + b'.',
    'too many steps': b'\x80\x02' + b'N0' * 500_001 + b'N.',
    'one text copied again and again': b'\x80\x02X' + struct.pack('<I', 10**6) + b'a' * 10**6 + b'q\x00' + (
        b'c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R') * 5000 + b'.',
    'one list copied again and again': b'\x80\x02](' + b'NN\x86' * 1000 + b'eq\x00' + (
        b'ccollections\nOrderedDict\nh\x00\x85R') * 5_000 + b'.',
    'a name of a megabyte over many': b'\x80\x02}X' + struct.pack('<I', 10**6) + b'a' * 10**6 + (
        b'](' + b'N' * 9_000 + b'es.'),
    'an array of a terabyte': b'\x80\x02}K\x01cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b'
                              b'\x87R(K\x01' + _number(2**30) + _number(2**30) + b'\x86cnumpy\ndtype\nX\x02\x00\x00'
                              b'\x00f4\x89\x88\x87RNtbs.',
    'a number of a million digits': b'\x80\x02L' + b'9' * 1_000_000 + b'L\n.',
    'a dtype of objects': pickle.dumps({'a': np.array([None])}),
    'a module of a huge list': b'\x80\x04](X' + struct.pack('<I', 10**6) + b'a' * 10**6 + b'q\x00' + b'h\x00' * 100_000
                               + b'eX\x01\x00\x00\x00a\x93.',
}


@pytest.mark.parametrize('name', BOMBS)
def test_a_bomb_is_refused_in_little_time_and_memory(tmp_path, name):
    path = tmp_path / 'x.pkl'
    path.write_bytes(BOMBS[name])
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r'x\.pkl '):
            files.read(path)
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()


def test_an_array_of_objects_is_named(tmp_path):
    with pytest.raises(UserError, match='a tensor w/b that cannot be read: it is an array of objects'):
        read(tmp_path, pickle.dumps({'w': {'b': np.array([None, 'x'], object)}}))


@pytest.mark.parametrize('content', [b'\x80\x02.', b'\x80\x02NN.', b'\x80\x020.', b'\x80\x02(.', b'\x80\x02s.',
                                     b'\x80\x02h\x05.', b'\x80\x02Na.', b'\x80\x02NNb.', b'\x80\x02}(Nu.', b'\x80'])
def test_a_program_that_makes_no_sense_is_damaged(content):
    with pytest.raises(UserError, match='damaged'):
        loads(content)
