"""How large the compiled step of some configs is: what a cold start compiles, whatever the machine."""

import runpy
from pathlib import Path

import jax
import pytest

from vmmjax.experiment import Experiment
from vmmjax.pipeline.spec_store import SpecStore
from vmmjax.planning import operations
from vmmjax.training.build import build

CONFIGS = Path(__file__).resolve().parents[2] / 'experiments' / 'configs'
QUICK = {'xla_backend_optimization_level': 0}  # Of what follows the instructions that are counted.


def instructions(name, devices):
    """Of the optimised step of a config on so many devices, without those that are parameters and constants."""
    path, _, argument = name.partition(':')
    config = runpy.run_path(str(CONFIGS / path))['get_config'](argument)
    run = Experiment(config, SpecStore(config, classes=4, fps=12.5), devices=jax.devices()[:devices])
    built = build(config, run.mesh, run.apply, run.init, run.task)
    batch = {key: jax.ShapeDtypeStruct(shape, dtype, sharding=run.batch_sharding)
             for key, (shape, dtype) in run.pipeline('train', train=True).spec.items()}
    text = built.step.lower(built.spec, batch).compile(QUICK).as_text()
    return sum(each.kind not in ('parameter', 'constant') for each in operations(text).values())


# A tenth above what they are. With the flag and the learning rate computed in every update they were 8,900, 31,700
# and 95,200.
@pytest.mark.parametrize(('name', 'devices', 'most'), [
    ('systems/audio.py:cnn10', 1, 6_900),
    pytest.param('systems/video_transformer_audio.py', 1, 24_300, marks=pytest.mark.slow),
    pytest.param('motion_sound.py', 8, 28_300, marks=pytest.mark.slow),
])
def test_a_step_is_compiled_from_a_bounded_number_of_instructions(name, devices, most):
    assert instructions(name, devices) <= most
