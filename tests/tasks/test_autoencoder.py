"""Pictures of 4 x 8 x 8 and sounds of 4 x 8 through a code of a few numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.tasks import asked
from vmmjax import config as configs
from vmmjax import tasks
from vmmjax.errors import UserError
from vmmjax.training import Player, Players, make_train_step
from vmmjax.training.objective import Context
from vmmjax.training.state import initializer

ROWS, QUICK = 5, {'xla_backend_optimization_level': 0}
STREAMS = dict(rgb=(2, 4, 4), audio=(1, 2, 8))
DECODER = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)


def settings(**task):
    config = configs.defaults()
    config.task = dict(name='autoencoder', streams=STREAMS, code=3, decoder=DECODER) | task
    config.data.streams = {name: dict(modality=name) for name in STREAMS}
    config.model.update(dict(encoders={name: dict(name='tests.cli.toy:Average', features=6) for name in STREAMS},
                             preprocess=dict(rgb='signed', audio='none'), fusion=dict(name='concat')))
    return config


def clips(seed=0):
    """A clip's brightness is one number, and so is its loudness; the last row is padding, the first has no sound."""
    draw = np.random.default_rng(seed)
    light, loud = draw.integers(0, 256, (ROWS, 1, 1, 1, 1)), draw.normal(size=(ROWS, 1, 1))
    return {'rgb': np.broadcast_to(light, (ROWS, 4, 8, 8, 3)).astype(np.uint8),
            'audio': np.broadcast_to(loud, (ROWS, 4, 8)).astype(np.float32), 'mask': (np.arange(ROWS) < 4).astype(
                np.float32), 'valid/rgb': np.ones((ROWS, 4), bool), 'present/rgb': np.ones(ROWS, bool),
            'valid/audio': np.ones((ROWS, 4), bool), 'present/audio': np.arange(ROWS) > 0,
            'id': np.arange(ROWS, dtype=np.int32), 'row': np.arange(ROWS, dtype=np.int32)}


class Setup(asked.Built):
    def __init__(self, **task):
        super().__init__(settings(**task), clips())

    def terms(self, *batches):
        self.draw()
        compiled = jax.jit(lambda batch: self.task.loss(self.ctx(batch)).terms, compiler_options=QUICK)
        return [compiled(batch) for batch in batches]


@pytest.fixture(scope='module')
def apart():
    return Setup()


def test_only_what_is_there_counts(apart):
    changed = clips()
    changed['audio'][0] = np.nan
    changed['rgb'] = changed['rgb'].copy()
    changed['rgb'][4] = 200
    before, after = apart.terms(clips(), changed)
    assert before['loss_rgb'][1] == 4 * 8
    assert before['loss_audio'][1] == 3 * 2
    for name, (value, _) in before.items():
        np.testing.assert_allclose(after[name][0], value, rtol=1e-6)


@pytest.mark.parametrize('joint', [False, True])
def test_streams_share_one_code_or_have_their_own(joint):
    one = Setup(joint=joint)

    def slope(key):
        def of_pictures(params):
            ctx = Context(one.apply, params, {}, clips(), 0, jnp.zeros((), int), None, jax.random.key(0))
            return one.task.loss(ctx).terms['loss_rgb'][0]

        return jax.grad(of_pictures)(one.init(key)['params'])['encoders_audio']

    slopes = jax.jit(slope, compiler_options=QUICK)(jax.random.key(0))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(slopes)) == joint


def test_it_learns_to_reconstruct(apart):
    players = Players(Player(optax.adam(1e-2)))
    state = jax.jit(initializer(apart.init, players), compiler_options=QUICK)(jax.random.key(0))
    step = jax.jit(make_train_step(apart.apply, apart.task, players, seed=0), compiler_options=QUICK)
    for seed in range(150):
        state, _ = step(state, clips(seed))
    compute = jax.jit(lambda batch: apart.task.compute(Context(apart.apply, state.params, {}, batch)),
                      compiler_options=QUICK)
    errors = np.concatenate([np.asarray(compute(clips(seed))['rgb'])[:4] for seed in range(500, 510)])
    assert (errors[:, 0] / errors[:, 2]).mean() < 0.02  # The variance of what is drawn is 1/12.


@pytest.mark.parametrize(('change', 'message'), [
    (dict(streams={}), r'name the streams to reconstruct'), (dict(streams=dict(rgb=(2, 4))), 'three sizes'),
    (dict(streams=dict(flow=(2, 4, 4))), "'flow', which has no encoder to be decoded"),
    (dict(code=0), 'at least 1 number'), (dict(decoder=dict(layers=2)), "takes no key 'layers'")])
def test_what_a_config_gets_wrong(change, message):
    with pytest.raises(UserError, match=message):
        tasks.create(settings(**change))


def test_a_patch_larger_than_the_clip():
    with pytest.raises(UserError, match='holds no patch'):
        Setup(streams=dict(rgb=(2, 16, 16))).terms()
