"""Files to a store, to a network, and back out, by the interpreter that runs it: scripts/smoke tells more."""

import csv
import importlib
import os
import pkgutil
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import vmmjax
from vmmjax.media.writer import write_clip

ROOT = Path(__file__).resolve().parents[1]
FPS, RATE, SECONDS, SIDE = 25, 16000, 2, 64
SHOWN = ('jax', 'flax', 'orbax-checkpoint', 'numpy', 'av', 'tensorflow-datasets')
# Split -> its files.
SPLITS = {'train': 6, 'validation': 2, 'test': 2}


def command(*arguments: str) -> str:
    """What `vmmjax` prints; where it fails, this process ends with it."""
    began = time.monotonic()
    done = subprocess.run([Path(sys.executable).with_name('vmmjax'), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f'{done.stdout}\nvmmjax {" ".join(arguments)} ended with {done.returncode}.')
    print(f'  {time.monotonic() - began:3.0f} s  vmmjax {arguments[0]}', flush=True)
    return done.stdout


def expect(words: str, output: str) -> None:
    """Ends with what was printed where words are not in it."""
    if words not in output:
        sys.exit(f'{output}\nIt does not say: {words}')


def write_files(folder: Path) -> Path:
    """Ten MP4 files of noise with a tone, and the manifest that names them."""
    rng = np.random.default_rng(0)
    manifest = folder / 'manifest.csv'
    with open(manifest, 'w', newline='', encoding='utf-8') as file:
        lines = csv.writer(file)
        lines.writerow(['path', 'split', 'label', 'motion', 'axis', 'tone'])
        for split, count in SPLITS.items():
            for number in range(count):
                name = f'{split}{number}.mp4'
                tone = np.sin(np.arange(RATE * SECONDS) * (number + 1) / 20).astype(np.float32) / 2
                write_clip(folder / name, rng.integers(0, 256, (FPS * SECONDS, SIDE, SIDE, 3), np.uint8), fps=FPS,
                           waveform=tone, rate=RATE)
                lines.writerow([name, split, *('ab'[number % 2] * 4)])
    return manifest


def main() -> None:
    """Imports all modules; files to a store, to a network, to its evaluation, a further step, and a prediction."""
    print(f'Python {platform.python_version()}: ' + ', '.join(f'{name} {version(name)}' for name in SHOWN), flush=True)
    began = time.monotonic()
    # Commands are imported where they run: a process has the flags of one.
    modules = [module.name for module in pkgutil.walk_packages(vmmjax.__path__, 'vmmjax.')
               if not module.name.startswith('vmmjax.cli.')]
    for name in modules:
        importlib.import_module(name)
    print(f'  {time.monotonic() - began:3.0f} s  {len(modules)} modules imported', flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The tests' small network is a user's own; programs compiled earlier would prove nothing.
        os.environ.update(PYTHONPATH=str(ROOT), XDG_CACHE_HOME=name)
        manifest, store, run = write_files(folder), folder / 'store', folder / 'run'
        command('prepare', f'--source={manifest}', f'--store={store}', '--columns=rgb,audio', '--short_side=32',
                '--fps=12.5')
        rejected = (store / 'rejected.csv').read_text(encoding='utf-8').splitlines()[1:]
        assert not rejected, rejected
        train = ('train', f'--config={ROOT}/tests/cli/toy_config.py', f'--workdir={run}',
                 f'--config.data.store={store}', '--config.batch_size=4', '--config.optimizer.lr.warmup_steps=1',
                 '--config.model.encoders.audio.name=conv2d_audio')
        expect('step 2/2', command(*train, '--config.steps=2'))
        expect('test split, step 2: 2 clips', command('evaluate', f'--workdir={run}'))
        resumed = command(*train, '--config.steps=3', '--allow_changed=steps')
        expect('Going on from step 2', resumed)
        expect('step 3/3', resumed)
        expect('"probability"', command('predict', str(folder / 'test0.mp4'), '--json'))


if __name__ == '__main__':
    main()
