"""A network that takes no time to compile, and videos for it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vmmjax import config as configs
from vmmjax import models
from vmmjax.models import Tokens
from vmmjax.pipeline import inputs
from vmmjax.store.store import Store
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.state import TrainState

CLASSES = ['dark', 'grey', 'bright']
CONFIG = dict(encoders=dict(rgb=dict(name='tests.serving.tiny:Brightness')), preprocess=dict(rgb='signed'),
              fusion=dict(name='concat'), head=dict(name='consensus'))
TRACED = []


class Brightness(nn.Module):
    """One token a clip: functions of its pictures' mean and of how they change, which windows do not share."""

    features: int = 3
    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, x, valid, train):
        TRACED.append(x.shape)
        mean = x.mean((2, 3, 4))
        token = jnp.stack([mean[:, 0], (mean ** 2).mean(1), jnp.abs(mean).max(1)], -1)
        return Tokens(token[:, None], valid.any(1, keepdims=True)), {}


def network(**changes):
    """A model and its variables."""
    model = models.create(CONFIG | changes, len(CLASSES))
    variables = jax.jit(lambda key: model.init(key, {'rgb': jnp.zeros((1, 4, 24, 24, 3))}, train=False))(
        jax.random.key(0))
    return model, {'params': jax.tree.map(lambda leaf: 4 * leaf, variables['params'])}


def save_run(folder, store='', task='classification', views=1, **stream):
    """The folder of a run on pictures alone, as `vmmjax train` leaves it."""
    _, variables = network()
    config = configs.defaults()
    config.model, config.data.store, config.task = CONFIG, str(store), dict(name=task)
    config.data.window.seconds, config.data.views.clips = 0.8, views
    config.data.streams = dict(rgb=dict(modality='rgb', **stream)) if stream else {}
    checkpoints = Checkpoints(folder)
    state = TrainState(step=jnp.asarray(7), params=variables['params'], model_state={}, opt_state=())
    meta = {'config': configs.to_json(configs.lock(config)), 'fingerprint': '', 'classes': CLASSES}
    if stream:
        meta['inputs'] = {'data': inputs.describe(Store(store), config.data), 'task': {'classes': CLASSES}, 'spec': {
            'rgb': [[stream['frames'], stream['size'], stream['size'], 3], 'uint8']}}
    checkpoints.save(state, meta)
    checkpoints.close()
    return folder


def softmax(logits):
    """In float64."""
    powers = np.exp(np.asarray(logits, np.float64))
    return powers / powers.sum(-1, keepdims=True)
