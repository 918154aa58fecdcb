"""A run on pictures and sound whose networks are quick to compile, without a store."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.models.frames import FAST
from vmmjax import config as configs
from vmmjax.experiment import Experiment
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.state import TrainState

CLASSES = ['clap', 'nod', 'wave']
WORDS = ['[PAD]', '[UNK]', '[MASK]', 'left', 'right']
DATA = {'format': 1, 'texts': {}, 'columns': {
    'rgb': {'kind': 'picture', 'rate': 6.25, 'chunk': 1, 'shape': [], 'options': {'fps': 6.25, 'short_side': 16},
            'builder': ''},
    'audio': {'kind': 'array', 'rate': 100.0, 'chunk': 100, 'shape': [8], 'builder': '',
              'options': dict(audio_rate=16000, bands=8, denoise=0.0, fmax=7500, fmin=125, front_end='log_mel',
                              hop_ms=10.0, trim_db=0.0, window_ms=25.0)}}}
SPEC = {'rgb': [[4, 16, 16, 3], 'uint8'], 'valid/rgb': [[4], 'bool'], 'present/rgb': [[], 'bool'],
        'audio': [[20, 8], 'float32'], 'valid/audio': [[20], 'bool'], 'present/audio': [[], 'bool'],
        'mask': [[], 'float32'], 'id': [[], 'int32'], 'row': [[], 'int32'], 'target/label': [[], 'int32']}
TEXT = {'words': [[6], 'int32'], 'words_mask': [[6], 'bool'], 'present/words': [[], 'bool']}


def config_of(**changes):
    """The config, with other values of dotted keys."""
    config = configs.defaults()
    config.data.window.seconds = 0.2
    config.data.streams = dict(rgb=dict(modality='rgb', frames=4, size=16), audio=dict(modality='audio'))
    config.model.preprocess = dict(rgb='signed', audio='none')
    config.model.encoders = dict(rgb=dict(name='tests.cli.toy:Average'), audio=dict(name='tests.cli.toy:Average'))
    config.update_from_flattened_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return config


def with_words(config):
    """The config with a text as a third stream."""
    config.data.streams.words = dict(modality='text:words', length=6)
    config.model.preprocess.words = 'ids'
    config.model.encoders.words = dict(name='gru', vocab_size=len(WORDS), embedding_size=4, hidden_size=4)
    return config


def experiment(config, **facts):
    """An experiment with what a run has recorded, and random parameters."""
    texts = {'words': {'column': 'words', 'hide': [], 'vocabulary': WORDS}} if 'words' in config.data.streams else {}
    recorded = {'data': DATA | {'texts': texts}, 'task': {'classes': CLASSES} | facts,
                'spec': SPEC | (TEXT if texts else {})}
    run = Experiment(configs.lock(config), run_inputs=recorded)
    variables = dict(jax.jit(run.init, compiler_options=FAST)(jax.random.key(0)))
    # Away from what a head begins with, so that an error shows.
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(random.normal(0, 0.5, leaf.shape), leaf.dtype),
                          variables.pop('params'))
    run.state = TrainState(step=jnp.asarray(7), params=params, model_state=variables, opt_state=())
    return run


def save(folder, run):
    """The folder of a run, as `vmmjax train` leaves it."""
    checkpoints = Checkpoints(folder)
    checkpoints.save(run.state, {'config': configs.to_json(run.config), 'fingerprint': 'abc',
                                 'classes': run.task.classes, 'inputs': run.run_inputs})
    checkpoints.close()
    return folder
