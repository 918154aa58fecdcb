"""The published I3D of Kinetics-400 as the folder of a run, so that whatever takes a run can be shown real clips."""

import jax.numpy as jnp
import numpy as np

import vmmjax
from tests.serving import two_streams
from vmmjax import config as configs
from vmmjax.experiment import Experiment
from vmmjax.serving import kinetics_classes
from vmmjax.training.state import TrainState

FPS, FRAMES = 12.5, 16


def save_run(folder):
    """Windows of 16 frames, of which each clip is shown two; twice as slow as published, so that it computes less."""
    _, variables = vmmjax.load_pretrained('i3d_rgb_kinetics400')
    config = configs.defaults()
    config.data.window.seconds, config.data.views.clips = FRAMES / FPS, 2
    config.data.streams = dict(rgb=dict(modality='rgb', frames=FRAMES, size=224))
    config.model.preprocess = dict(rgb='signed')
    config.model.encoders = dict(rgb=dict(name='i3d'))
    config.batch_size = 2
    recorded = {
        'data': {'format': 1, 'texts': {}, 'columns': {'rgb': {
            'kind': 'picture', 'rate': FPS, 'chunk': 1, 'shape': [], 'builder': '',
            'options': {'fps': FPS, 'short_side': 256}}}},
        'task': {'classes': list(kinetics_classes())},
        'spec': {'rgb': [[FRAMES, 224, 224, 3], 'uint8'], 'valid/rgb': [[FRAMES], 'bool'],
                 'present/rgb': [[], 'bool'], 'mask': [[], 'float32'], 'id': [[], 'int32'], 'row': [[], 'int32'],
                 'target/label': [[], 'int32']}}
    run = Experiment(configs.lock(config), run_inputs=recorded)
    variables = dict(variables)
    run.state = TrainState(step=jnp.asarray(np.int32(1)), params=variables.pop('params'), model_state=variables,
                           opt_state=())
    return two_streams.save(folder, run)
