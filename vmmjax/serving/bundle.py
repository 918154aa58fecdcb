"""A run as a bundle, see `vmmjax.convert.bundle`; and the proof that a bundle still says what it said."""

import importlib.metadata
import importlib.resources
import json
import os
import platform as machine
import shutil
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jax import export

import vmmjax
from vmmjax import atomic, optional
from vmmjax.convert import bundle
from vmmjax.convert.bundle import Bundle
from vmmjax.errors import UserError
from vmmjax.serving import programs

if TYPE_CHECKING:
    from vmmjax.experiment import Experiment

Say = Callable[[str], Any]
RUN, LOWERED = 'run', 'lowered, not run'
# Of outputs, relative to the largest; networks that compute in half precision differ between machines in its digits.
_TOLERANCE = {'float32': 1e-5}
_COARSE = 2e-2
_PACKAGES = ('jax', 'jaxlib', 'flax', 'numpy')


def load(source: Path, *, best: bool = False) -> tuple['Experiment', dict[str, Any]]:
    """A run that is to be exported, and what stands beside its weights, plain JSON values.

    Raises:
      UserError: where no checkpoint is whole, and for a run that did not write down how its streams are read.
    """
    # They bring orbax and the pipeline along, which `check` needs not.
    from vmmjax.convert.saved_run import SavedRun
    from vmmjax.experiment import Experiment

    saved = SavedRun.open(source, best=best)
    if saved.is_converted:
        raise UserError(f'{source} was never trained here, so how its network reads clips is not known; export a run '
                        f'of `vmmjax train`, which may begin with it by --config.init_from.workdir={source}.')
    run, meta = Experiment.of(saved), saved.meta
    options = {field.name: getattr(run.task, field.name) for field in fields(run.task) if field.name != 'facts'}
    return run, json.loads(json.dumps({
        'format': bundle.FORMAT,
        'step': saved.step,
        'versions': {'vmmjax': vmmjax.__version__, 'python': machine.python_version(),
                     **{name: importlib.metadata.version(name) for name in _PACKAGES}},
        'task': {'name': run.task.name, **options},
        'run': {**{key: meta[key] for key in ('format', 'fingerprint', 'classes')},
                'config': json.loads(meta['config']), 'inputs': run.run_inputs}}, default=str))


def weights_of(run: 'Experiment', say: Say) -> dict[str, np.ndarray]:
    """The variables that prediction needs, by path; it is said how many values are left out."""
    flat = flatten_dict(run.variables, sep='/')
    kept = {path: np.asarray(value) for path, value in sorted(flat.items())
            if not path.startswith('params/task_training/')}
    if left_out := sum(int(np.size(value)) for path, value in flat.items() if path not in kept):
        say(f'Left out: {left_out:,} parameters that only training needs (task_training).')
    return kept


def write(source: Path, path: Path, *, best: bool = False, say: Say = print) -> None:
    """Writes a run as a bundle, once its program for this platform has given the golden outputs.

    Args:
      source: the run.
      path: of the file.
      best: takes the best checkpoint by `config.best.metric`, not the newest.
      say: is told what is done.

    Raises:
      UserError: see `load`; where the program computes something else than the run.
    """
    optional.load('flatbuffers', 'A bundle', 'export')
    run, contents = load(source, best=best)
    weights = weights_of(run, say)
    recorded = run.run_inputs
    inputs = programs.inputs_of(recorded['spec'], run.config.data.streams)
    words = {name: len(text['vocabulary']) for name, text in recorded['data']['texts'].items()}
    given, program = programs.golden_inputs(inputs, words), programs.of_run(run)
    golden = programs.run(program, weights, given)
    tolerance = _TOLERANCE.get(run.config.model.dtype, _COARSE)
    specs = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()}
    here = programs.current_platform()
    state, made = {}, {}
    for platform in dict.fromkeys([*programs.PLATFORMS, here]):
        began = time.perf_counter()
        exported = programs.lower(program, platform, specs, programs.batched(inputs))
        data = made[bundle.program(platform)] = bytes(exported.serialize())
        state[platform] = RUN if platform == here else LOWERED
        if platform == here and (worst := programs.error_of(exported, weights, given, golden)) > tolerance:
            raise UserError(f'The program for {platform} differs from the run by {worst:.1e} of the largest output, '
                            f'and {tolerance:g} is allowed; nothing was written. Please report the config.')
        say(f'{platform}: {state[platform]}; {len(data) / 1000:.0f} kB, {time.perf_counter() - began:.1f} s.')
    contents['program'] = {
        'platforms': state, 'outputs': programs.shapes(golden), 'inputs': programs.shapes(given),
        'precision': programs.PRECISION, 'tolerance': tolerance}
    readme = importlib.resources.files('vmmjax.serving') / 'bundle.md'
    bundle.write(path, {
        bundle.CONTENTS: _text(contents),
        bundle.README: readme.read_bytes(),
        bundle.WEIGHTS: bundle.packed(weights),
        bundle.GOLDEN: bundle.packed({f'input/{key}': value for key, value in given.items()}
                                     | {f'output/{key}': value for key, value in golden.items()}),
        **made})


def write_safetensors(source: Path, folder: Path, *, best: bool = False, say: Say = print) -> None:
    """Writes a run as model hubs expect it: a folder with `model.safetensors` and `config.json`.

    Args:
      source: the run.
      folder: to be made; it may be there where it is empty.
      best: see `write`.
      say: see `write`.

    Raises:
      UserError: see `load`.
    """
    run, contents = load(source, best=best)
    weights = weights_of(run, say)
    partial = folder.with_name(f'.{folder.name}.{os.getpid()}{atomic.SUFFIX}')
    try:
        partial.mkdir(parents=True)
        (partial / 'config.json').write_bytes(_text(contents))
        (partial / 'model.safetensors').write_bytes(bundle.packed(weights))
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _text(contents: dict[str, Any]) -> bytes:
    return (json.dumps(contents, indent=1, sort_keys=True) + '\n').encode()


class Proof(NamedTuple):
    """What `check` has found.

    Attributes:
      members: that are as they were written.
      platform: of the program that was run.
      error: the largest of an output, relative to the largest output.
      tolerance: what is allowed.
    """

    members: int
    platform: str
    error: float
    tolerance: float


def check(path: Path) -> Proof:
    """Proves a bundle: every member is as it was written, and the program for this platform gives the golden outputs.

    The program is run on all golden clips at once and on the first by itself.

    Raises:
      UserError: names the member that was altered, the version that is missing, or says how far the outputs are off.
    """
    found = Bundle(path)
    members = found.check()
    platform = programs.current_platform()
    exported = load_program(found, platform)
    golden = found.tensors(bundle.GOLDEN)
    given, expected = ({key.partition('/')[2]: value for key, value in golden.items() if key.startswith(f'{kind}/')}
                       for kind in ('input', 'output'))
    tolerance = float(found.contents['program']['tolerance'])
    worst = programs.error_of(exported, found.weights, given, expected)
    if worst > tolerance:
        raise UserError(f'{path} does not give its golden outputs on {platform}: they differ by {worst:.1e} of the '
                        f'largest, and {tolerance:g} is allowed; its program is of jax '
                        f'{found.contents["versions"]["jax"]}, and this is {jax.__version__}.')
    return Proof(len(members), platform, worst, tolerance)


def load_program(found: Bundle, platform: str) -> export.Exported:
    """The program of a bundle for a platform.

    Raises:
      UserError: where there is none, or this JAX cannot read it.
    """
    optional.load('flatbuffers', 'A bundle', 'export')
    data = found.member(bundle.program(platform))
    try:
        return export.deserialize(bytearray(data))
    except Exception as error:  # Whatever the reader of a format that is not ours stumbles on.
        raise UserError(f'The member {bundle.program(platform)} of {found.path} cannot be read by jax '
                        f'{jax.__version__} ({type(error).__name__}); it was written by jax '
                        f'{found.contents["versions"]["jax"]}, and later ones read it for six months.') from error
