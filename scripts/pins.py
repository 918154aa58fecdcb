r"""Compares this tree with commit 7d393f7, from before the modules moved; temporary, until they have.

  scripts/pins                                         # exit status 1 where anything differs
  scripts/pins --base=../base --base-dump=base.json    # with a worktree that is there, and a dump that is kept
  scripts/pins --only='train|lowered'                  # some of them, by a regular expression

Each tree is dumped by a process of its own (`pins.py dump`), with its folder as working directory and PYTHONPATH, the
same interpreter, one device, and no program compiled before. Both read the same stores, which the base makes once in
the --work folder. A dump is a JSON file of pins: a name, and lines of text.

  config/FILE:ARGUMENT      the config of every shipped file and row; keys that came later are let pass, and counted
  state/FILE:ARGUMENT       path, shape and dtype of every array of its training state, and of a batch (leading axis
                            left out), with the store left to the imagination; papers: every row that is trained
  batches/FILE:ARGUMENT     SHA-256 of every array of 3 training batches and one of evaluation, where a store can be
                            made: motion_sound, and GRID, fights and ESC-10 beside the checkout (else they are skipped)
  lowered/FILE:ARGUMENT     the training step as StableHLO, names of functions renumbered, without metadata
  train, evaluate           motion_sound: losses, the state after 3 steps, scores and metrics of the test split
  prepare                   SHA-256 of every file of a store with every column

Where modules move, `MOVED` below says where to.
"""

import argparse
import csv
import functools
import hashlib
import importlib
import importlib.util
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

BASE = '7d393f7'
VERSION = 1  # Of what a dump holds; raised when that changes, so that no dump of before is used.
ROOT = Path(__file__).resolve().parents[1]

# What the dump imports from a tree: the places it can have, newest first.
MOVED = {
    'Run': ('vmmjax.experiment:Experiment', 'vmmjax.experiment:Run', 'vmmjax.cli.setup:Run'),
    'SpecStore': ('vmmjax.pipeline.spec_store:SpecStore', 'vmmjax.pipeline.spec_store:ImaginedStore',
                  'vmmjax.data.imagined:ImaginedStore'),
    'build': ('vmmjax.training.build:build',),
    'batch_sharding': ('vmmjax.training.sharding:batch_sharding',),
    'to_json': ('vmmjax.config:to_json',),
    'from_json': ('vmmjax.config:from_json',),
}

# The arguments of the shipped configs, as tests/experiments has them.
ARGUMENTS = {
    'motion_sound': ('', 'single_frame', 'shuffled'),
    'grid_command': ('', 'rgb', 'audio'),
    'grid_noise': ('', 'white', 'fused,babble'),
    'systems/audio': ('', 'cnn14', 'vggish', 'resnet', 'full', 'full,cnn14'),
    'systems/bert_vgg': ('', 'full'),
    'systems/cnn_bilstm': ('', 'full'),
    'systems/i3d_tsm': ('', 'concat', 'fights', 'fights,concat', 'full,fights'),
    'systems/i3d_tsm_audio': ('', 'bottleneck', 'digit', 'digit,bottleneck', 'full'),
    'systems/resnet_lstm': ('', 'full'),
    'systems/two_stream_i3d': ('', 'full'),
    'systems/vgg_lstm_conv1d': ('', 'full'),
    'systems/video_transformer_audio': ('', 'full'),
}
# What no shipped config has: its name here -> the config that is changed, and the changes.
VARIED: dict[str, tuple[str, dict[str, Any]]] = {
    'augmented': ('systems/i3d_tsm:fights', {
        'data.augment': dict(crop='multi_scale', color=0.3, flip=0.5, rand_augment=(2, 9.0), erase=0.5, mixup=0.4,
                             cutmix=1.0), 'data.streams.tsm.sampling': 'segments', 'data.views.clips': 2,
        'data.views.crops': 10}),
    'flow': ('systems/two_stream_i3d:', {
        'data.streams.flow.stack': 5, 'data.streams.flow.frames': 4, 'data.streams.flow.sampling': 'random',
        'model.preprocess.flow': 'flow_tsn', 'data.augment.crop': 'resized', 'data.views.crops': 3}),
    'characters': ('systems/resnet_lstm:', {'data.streams.text.tokenizer': 'characters', 'model.dtype': 'float16'}),
    'events': ('grid_command:rgb', {
        'task': dict(name='events'), 'data.target': ('command_start_s', 'adverb_end_s'),
        'model.head': dict(name='per_token')}),
    'multi_label': ('systems/audio:', {'task': dict(name='multi_label'), 'data.augment.mixup': 1.0, 'microbatches': 2,
                                      'ema_decay': 0.9}),
    'regression': ('grid_command:', {
        'task': dict(name='regression'), 'data.target': ('command_start_s', 'adverb_end_s')}),
    'retrieval': ('grid_command:', {
        'task': dict(name='retrieval', streams=('audio', 'rgb')), 'model.stream_head': dict(name='consensus')}),
}
ALIKE = ('digit', 'fights,concat')  # In names of configs with the step of another.
# Of full-size networks and papers, those whose step is lowered, and keys that make that quick.
LOWERED: dict[str, dict[str, Any]] = {
    'papers/tsm:kinetics400,r50,8f': {'batch_size': 4, 'data.streams.rgb.size': 64}}
# Store -> clips of the source, and arguments of `vmmjax prepare`. Every n-th clip of a source beside the checkout.
STORES: dict[str, tuple[int, tuple[str, ...]]] = {
    'motion_sound': (0, ('--source=synthetic:motion_sound', '--columns=rgb,audio', '--short_side=56', '--fps=12.5',
                         '--sizes=train=72,validation=16,test=24')),
    'grid': (20, ('--columns=rgb,flow,audio,waveform', '--short_side=160', '--flow=farneback')),
    'fights': (6, ('--columns=rgb,flow,audio', '--short_side=64', '--flow=farneback')),
    'esc10': (5, ('--columns=audio',)),
}
PREPARED = ('--source=synthetic:motion_sound', '--columns=rgb,flow,audio,mfcc,waveform', '--short_side=40', '--fps=8',
            '--flow=farneback', '--sizes=train=5,validation=2,test=2')
CLASSES, FPS, BANDS = 8, 25.0, 64  # Of imagined stores, where a row does not say.

Pins = dict[str, list[str]]
FAILED = 'FAILED'  # First line of a pin that could not be made; equal to nothing.


# The dump, in a process of the tree's own.


def find(name: str) -> Any:
    """What `MOVED` names, from wherever this tree has it."""
    for place in MOVED[name]:
        module, _, attribute = place.partition(':')
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and (module == error.name or module.startswith(error.name + '.')):
                continue
            raise
        if hasattr(found, attribute):
            return getattr(found, attribute)
    raise SystemExit(f'{name} is at none of {", ".join(MOVED[name])}: add its new place to MOVED in {__file__}.')


def shipped(work: Path) -> Iterator[tuple[str, Any, int, int]]:
    """Name, config, classes and bands of every shipped config, and of those of `VARIED`."""
    folder = Path('experiments/configs')
    there = {path.relative_to(folder).with_suffix('').as_posix() for path in folder.rglob('*.py')}
    there.discard('systems/common')  # What the configs of systems share, since they share it.
    if there != ARGUMENTS.keys():
        raise SystemExit(f'ARGUMENTS of {__file__} is not of the same configs: {sorted(there ^ ARGUMENTS.keys())}.')
    for name, arguments in ARGUMENTS.items():
        module = load(folder / f'{name}.py')
        for argument in arguments:
            config = module.get_config(argument)
            if 'text' in config.data.streams and config.data.streams.text.get('vocab'):
                config.data.streams.text.vocab = str(vocabulary(work))
            yield f'{name}:{argument}', config, CLASSES, BANDS
    for path in sorted(Path('experiments/papers').glob('*.py')):
        module = load(path)
        for argument, row in module.ROWS.items():
            if not row.get('fuse'):
                bands = row.get('bands', BANDS)
                yield f'papers/{path.stem}:{argument}', module.get_config(argument), row['classes'], bands
    for name, (source, changes) in VARIED.items():
        file, _, argument = source.partition(':')
        text = find('to_json')(load(folder / f'{file}.py').get_config(argument))
        yield f'varied/{name}', find('from_json')(changed(text, changes)), CLASSES, BANDS


def changed(text: str, changes: Mapping[str, Any]) -> str:
    """A config as JSON, with other values of some dotted keys."""
    values = json.loads(text)
    for key, value in changes.items():
        *parents, last = key.split('.')
        part = values
        for parent in parents:
            part = part[parent]
        part[last] = value
    return json.dumps(values)


def load(path: Path) -> Any:
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def vocabulary(work: Path) -> Path:
    """A small one for WordPiece; that of the published network is not here."""
    path = work / 'vocab.txt'
    digits = '0123456789'
    path.write_text('\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *digits, *map('##{}'.format, digits)]))
    return path


def dump(path: Path, work: Path, only: str) -> None:
    """Writes the pins of the tree in the working directory."""
    pins: Pins = {}
    began = time.monotonic()

    def pin(name: str, make: Callable[..., list[str]], *arguments: Any) -> None:
        if re.search(only, name):
            try:
                lines = make(*arguments)
            except Exception:
                lines = [FAILED, *traceback.format_exc().splitlines()[::-1]]
            pins[name] = [line.replace(str(work), 'WORK') for line in lines]
            print(f'{time.monotonic() - began:4.0f} s  {name}{" " + FAILED if lines[0] == FAILED else ""}',
                  file=sys.stderr, flush=True)

    to_json = find('to_json')
    for name, config, classes, bands in shipped(work):
        text = to_json(config)
        pin(f'config/{name}', flat, json.loads(text))
        pin(f'state/{name}', state, same_state(text), classes, bands)
        small = not name.startswith('papers/') and 'full' not in name
        if name in LOWERED or (small and not any(part in name for part in ALIKE)):
            pin(f'lowered/{name}', lowered, text, LOWERED.get(name, {}), classes, bands)
        if small and (store := work / config.data.store).is_dir():
            pin(f'batches/{name}', batches, text, store, 1 if 'systems/' in name else None)
    with tempfile.TemporaryDirectory(dir=work) as temporary:
        folder = Path(temporary)
        pin('train', trained, folder / 'run', work / 'stores' / 'motion_sound')
        pin('evaluate', evaluated, folder / 'run', work / 'stores' / 'motion_sound')
        pin('prepare', prepared, folder / 'store')
    sources = [module.__file__ for name, module in sys.modules.items() if name.split('.')[0] == 'vmmjax']
    for source in filter(None, sources):
        if not Path(source).is_relative_to(Path.cwd()):
            raise SystemExit(f'{source} is not of {Path.cwd()}.')
    path.write_text(json.dumps({'made': made(), 'pins': pins}, indent=0))


def flat(values: Mapping[str, Any], prefix: str = '') -> list[str]:
    """The keys of a config, dotted, with their values."""
    lines = []
    for key, value in sorted(values.items()):
        lines += flat(value, f'{prefix}{key}.') if isinstance(value, dict) else [f'{prefix}{key} = {value!r}']
    return lines


def made() -> dict[str, Any]:
    """What two dumps must have alike to be comparable."""
    names = ('array-record', 'av', 'flax', 'jax', 'jaxlib', 'ml-collections', 'numpy', 'opencv-contrib-python-headless',
             'optax', 'orbax-checkpoint', 'tensorflow-cpu')
    return {'version': VERSION, 'python': sys.version, 'machine': [platform.node(), os.cpu_count()],
            'packages': {name: version(name) for name in names}}


def same_state(text: str) -> str:
    """A config without what its state does not depend on: rows that differ in their schedule are built once."""
    values = json.loads(text)
    for key in ('steps', 'init_from', 'log_every', 'evaluate_every', 'checkpoint_every', 'batch_size'):
        del values[key]
    del values['optimizer']['lr'], values['data']['store']
    return json.dumps(values)


def imagined(text: str, classes: int, bands: int) -> tuple[Any, Any]:
    """A run on an imagined store, and what is built of it."""
    import jax

    config = find('from_json')(text)
    run = find('Run')(config, find('SpecStore')(config, classes=classes, fps=FPS, bands=bands),
                      devices=jax.devices())
    # The objective became a part of the task.
    return run, find('build')(config, run.mesh, run.apply, run.init, getattr(run.task, 'objective', run.task))


@functools.cache
def state(text: str, classes: int, bands: int) -> list[str]:
    """The arrays of a training state, and of a batch."""
    import jax

    run, built = imagined(text, classes, bands)
    return [*(f'{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}'
              for path, leaf in jax.tree_util.tree_leaves_with_path(built.abstract)),
            *(f'batch {name} {shape[1:]} {dtype}' for name, (shape, dtype) in spec(run).items())]


def spec(run: Any) -> Mapping[str, tuple[tuple[int, ...], Any]]:
    """Shapes and dtypes of a training batch."""
    return run.pipeline('train', train=True).spec


def lowered(text: str, changes: Mapping[str, int], classes: int, bands: int) -> list[str]:
    """The training step as canonical StableHLO."""
    import jax

    run, built = imagined(changed(text, changes), classes, bands)
    rows = find('batch_sharding')(run.mesh)
    clips = {name: jax.ShapeDtypeStruct(shape, dtype, sharding=rows) for name, (shape, dtype) in spec(run).items()}
    return canonical(built.step.lower(built.spec, clips).as_text())


def canonical(text: str) -> list[str]:
    """A module whose functions are numbered in the order they stand in, without names of Python and locations."""
    names = re.findall(r'func\.func (?:public |private )?@("[^"]+"|[\w.$-]+)', text)
    numbers = {name: f'f{number}' for number, name in enumerate(names)}
    text = re.sub(r'@("[^"]+"|[\w.$-]+)', lambda found: '@' + numbers.get(found[1], found[1]), text)
    text = re.sub(r'\bmodule @\S+', 'module', text)
    text = re.sub(r'(, )?jax\.(result_info|arg_info) = "(\\.|[^"\\])*"', '', text)
    text = re.sub(r' loc\((?:[^()]|\([^()]*\))*\)', '', text)
    return [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith('#loc')]


def batches(text: str, store: Path, fold: int | None) -> list[str]:
    """Three training batches of a real store, and the first of evaluation."""
    config = find('from_json')(text)
    config.data.store, config.data.fold = str(store), fold
    run, lines = find('Run')(config), []
    for split, train, count in (('train', True, 3), ('test', False, 1)):
        found = run.pipeline(split, train=train).batches()
        for number, batch in enumerate(itertools.islice(found, count)):
            lines += [f'{split} {number} {line}' for line in digests(batch)]
        found.close()
    return lines


def digests(arrays: Mapping[str, Any]) -> list[str]:
    """Name, shape, dtype and SHA-256 of each array."""
    import numpy as np

    return [f'{name} {array.shape} {array.dtype} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}'
            for name, array in sorted((name, np.asarray(array)) for name, array in arrays.items())]


def vmmjax(*arguments: str) -> None:
    """Runs a command of the tree in the working directory."""
    found = subprocess.run([sys.executable, '-m', 'vmmjax.cli.main', *arguments], capture_output=True, text=True,
                           check=False)
    if found.returncode:
        raise RuntimeError(f'vmmjax {" ".join(arguments)} failed:\n{found.stdout}{found.stderr}')


def trained(folder: Path, store: Path) -> list[str]:
    """The demo's config, of smaller batches, after three steps."""
    import jax
    import orbax.checkpoint as ocp

    vmmjax('train', '--config=experiments/configs/motion_sound.py', f'--workdir={folder}',
           f'--config.data.store={store}', '--config.steps=3', '--config.batch_size=8', '--config.log_every=1',
           '--config.optimizer.lr.warmup_steps=1')
    lines = []
    for line in (folder / 'log.jsonl').read_text().splitlines():
        values = json.loads(line)
        lines += [f'step {values["step"]} {name} {value!r}' for name, value in sorted(values.items())
                  if name.startswith(('train/', 'validation/', 'learning_rate'))]
    with ocp.PyTreeCheckpointer() as reader:
        found = reader.restore((folder / 'checkpoints' / '3' / 'state').absolute())
    return lines + digests({jax.tree_util.keystr(path): leaf
                            for path, leaf in jax.tree_util.tree_leaves_with_path(found)})


def evaluated(folder: Path, store: Path) -> list[str]:
    """What `vmmjax evaluate` says of that run."""
    import numpy as np

    if not folder.is_dir():
        trained(folder, store)
    vmmjax('evaluate', f'--workdir={folder}')
    result = json.loads((folder / 'eval' / 'test.json').read_text())
    with np.load(folder / 'eval' / 'test.npz') as scores:
        return digests(dict(scores)) + json.dumps(result, indent=1, sort_keys=True).splitlines()


def prepared(folder: Path) -> list[str]:
    """The files of a store."""
    vmmjax('prepare', f'--store={folder}', *PREPARED)
    return [f'{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}'
            for path in sorted(folder.rglob('*')) if path.is_file()]


# The comparison.


# Where vmmjax is installed from yet another tree, that would give what this one has moved away.
SITE = """import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if 'editable' not in getattr(finder, '__module__', '')]
"""


def environment(tree: Path, folder: Path) -> dict[str, str]:
    """That of a tree's process: one CPU device, little effort of the compiler, nothing compiled before.

    Args:
      tree: from which vmmjax is imported.
      folder: for a cache, and for what makes Python import it from nowhere else.
    """
    (folder / 'sitecustomize.py').write_text(SITE)
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(('JAX_', 'XLA_', 'TF_')) and key != 'PYTHONPATH'}
    return kept | {'PYTHONPATH': f'{tree}{os.pathsep}{folder}', 'PYTHONHASHSEED': '0', 'XDG_CACHE_HOME': str(folder),
                   'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': '--xla_backend_optimization_level=0',
                   'TF_CPP_MIN_LOG_LEVEL': '2', 'TF_ENABLE_ONEDNN_OPTS': '0', 'PYTHONDONTWRITEBYTECODE': '1'}


def worktree(folder: Path) -> Path:
    """A worktree of the base."""
    if not folder.is_dir():
        subprocess.run(['git', 'worktree', 'prune'], cwd=ROOT, check=True)
        subprocess.run(['git', 'worktree', 'add', '--detach', str(folder), BASE], cwd=ROOT, check=True)
    found = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=folder, check=True, capture_output=True, text=True).stdout
    if not found.startswith(BASE):
        raise SystemExit(f'{folder} is at {found[:7]}, not at {BASE}.')
    return folder


def make_stores(base: Path, work: Path, data: Path) -> None:
    """Has the base make the stores that are not there yet."""
    for name, (every, arguments) in STORES.items():
        store, manifest = work / 'stores' / name, data / name / 'manifest.csv'
        if (store / 'complete').exists():
            continue
        if every and not manifest.is_file():
            print(f'skipped: the batches of configs that read {name}, as {manifest} is not here')
            continue
        given = list(arguments)
        if every:
            given.append(f'--source={every_nth(manifest, every, work / f"{name}.csv")}')
        shutil.rmtree(store, ignore_errors=True)
        print(f'making {store}', flush=True)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, '-m', 'vmmjax.cli.main', 'prepare', f'--store={store}', *given], cwd=base,
                           env=environment(base, Path(folder)), check=True, stderr=subprocess.DEVNULL)
        (store / 'complete').touch()


def every_nth(manifest: Path, every: int, path: Path) -> Path:
    """Writes a manifest of every n-th clip."""
    with manifest.open(newline='') as file:
        header, *rows = csv.reader(file)
    place = header.index('path')
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows[::every]:
            writer.writerow([str(manifest.parent / value) if i == place else value for i, value in enumerate(row)])
    return path


def dump_of(tree: Path, path: Path, work: Path, only: str) -> dict[str, Any]:
    """Has a tree dumped."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, 'dump', str(path), f'--work={work}', f'--only={only}'], cwd=tree,
                       env=environment(tree, Path(folder)), check=True)
    return json.loads(path.read_text())


def compare(base: Mapping[str, Any], new: Mapping[str, Any], only: str, folder: Path) -> bool:
    """Prints a table; True where all is equal. What differs is written to the folder, too."""
    shutil.rmtree(folder, ignore_errors=True)
    names = [name for name in dict.fromkeys([*base['pins'], *new['pins']]) if re.search(only, name)]
    more = {name: len(set(new['pins'].get(name, ())) - set(base['pins'].get(name, ()))) for name in names}
    later = [name for name in names if name.startswith('config/') and more[name]
             and set(base['pins'].get(name, ())) <= set(new['pins'].get(name, ()))]
    different = [name for name in names if name not in later and (
        base['pins'].get(name) != new['pins'].get(name) or base['pins'][name][0] == FAILED)]
    for name in names:
        lines = base['pins'].get(name, new['pins'].get(name))
        digest = hashlib.sha256('\n'.join(lines).encode()).hexdigest()[:12]
        added = f', and {more[name]} later keys' * (name in later)
        print(f'{"DIFFERENT" if name in different else "equal    "}  {digest}  {len(lines):6} lines{added}  {name}')
    for name in different:
        before, after = base['pins'].get(name, []), new['pins'].get(name, [])
        pairs = list(itertools.zip_longest(before, after))
        places = [place for place, (line, other) in enumerate(pairs) if line != other]
        print(f'\n{name}: {len(places)} of {len(before)} lines differ ({len(after)} now). The first:')
        for place in places[:3]:
            print('\n'.join(f'  {sign} {str(line)[:200]}' for sign, line in zip('-+', pairs[place], strict=True)))
        for side, lines in (('base', before), ('new', after)):
            file = folder / f'{re.sub(r"[^a-z0-9,]+", "_", name)}.{side}.txt'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text('\n'.join(lines) + '\n')
    where = f'; see {folder}' if different else ''
    print(f'\n{len(names) - len(different)} of {len(names)} pins are equal{where}.')
    return bool(names) and not different


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/pins', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'vmmjax-pins'
    parser.add_argument('dump', nargs='*', help='`dump FILE` writes the pins of the tree in the working directory')
    parser.add_argument('--work', type=Path, default=cache, help='folder of stores and worktree, outside of the tree')
    parser.add_argument('--base', type=Path, help=f'worktree of {BASE}; made in the --work folder unless given')
    parser.add_argument('--base-dump', type=Path, help='its pins, made where they are not there; in the --work folder')
    parser.add_argument('--new-dump', type=Path, help='where the pins of this tree go; in the --work folder')
    parser.add_argument('--tree', type=Path, default=ROOT, help='the tree to compare; this one unless given')
    parser.add_argument('--data', type=Path, default=Path(os.environ.get('VMMJAX_SHARED', ROOT.parent / 'shared')) /
                        'data', help='folder of GRID, fights and ESC-10')
    parser.add_argument('--only', default='', help='regular expression of names of pins')
    given = parser.parse_args()
    work = given.work.absolute()
    if given.dump:
        dump(Path(given.dump[1]).absolute(), work, given.only)
        return
    work.mkdir(parents=True, exist_ok=True)
    base_dump = (given.base_dump or work / 'base.json').absolute()
    base = worktree((given.base or work / 'base').absolute())
    make_stores(base, work, given.data)
    if not base_dump.exists():
        dump_of(base, base_dump, work, '')
    before = json.loads(base_dump.read_text())
    if before['made'] != made():
        raise SystemExit(f'{base_dump} was made by another interpreter, machine or version of this script, '
                         f'{before["made"]}, and here there is {made()}; delete it.')
    after = dump_of(given.tree.absolute(), (given.new_dump or work / 'new.json').absolute(), work, given.only)
    sys.exit(0 if compare(before, after, given.only, work / 'different') else 1)


if __name__ == '__main__':
    main()
