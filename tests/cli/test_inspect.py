import shutil

from tests.cli.conftest import refused, vmmjax


def test_a_store_is_described(store, tmp_path):
    found = vmmjax('inspect', store)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0] == f'{store}: a store of 73 clips, 2.4 min, from synthetic:motion_sound with seed 0'
    assert any(line.split()[:2] == ['train', '40'] for line in lines)
    rgb = next(line for line in lines if line.startswith('rgb '))
    assert '73 of 73' in rgb
    assert 'picture 32 x 32' in rgb
    assert 'rgb was made with fps=6.25, short_side=32' in lines
    assert 'rejected: nothing' in lines


def test_a_run_is_described(trained):
    found = vmmjax('inspect', trained)
    assert found.returncode == 0, found.stderr
    first, parameters, *rest = found.stdout.splitlines()
    assert f'{trained}: a run at step' in first
    assert 'parameters' in parameters
    assert any(line.startswith('validation/accuracy') for line in rest)
    assert any(line.startswith('fusion ') for line in rest)


def test_what_is_neither_is_refused(tmp_path, store):
    assert 'neither a store' in refused('inspect', tmp_path)
    copy = tmp_path / 'copy'
    shutil.copytree(store, copy)
    (copy / 'store.json').write_text('{')
    assert 'is damaged' in refused('inspect', copy)
