"""Masked pretraining of pictures, 4 frames of 16 x 16 in tubelets of 2 x 4 x 4, and log-mels, 8 x 8 in patches of 4."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from tests.tasks import asked
from tests.training import tiny
from vmmjax import config as configs
from vmmjax import tasks
from vmmjax.errors import UserError
from vmmjax.evaluation.predictions import Predictions
from vmmjax.tasks.masked import targets_of, values_of
from vmmjax.tasks.reconstruction import joined_patches, patch_values
from vmmjax.training import Player, Players, make_mesh, make_train_step, train
from vmmjax.training.state import initializer
from vmmjax.training.workdir import hold

ROWS, QUICK = 6, {'xla_backend_optimization_level': 0}
ENCODER = dict(pooled=False, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
STREAMS = dict(rgb=dict(ratio=0.75, size=(2, 4, 4)),
               audio=dict(ratio=0.5, masking='random', target='patch', size=(1, 4, 4)))
DECODER = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)


def settings(used=('rgb', 'audio'), **task):
    config = configs.defaults()
    config.task = dict(name='masked', streams={name: STREAMS[name] for name in used}, decoder=DECODER) | task
    config.data.streams = {name: dict(modality=name) for name in used}
    config.model = dict(
        encoders={name: dict(name={'rgb': 'videomae', 'audio': 'audiomae'}[name], size=STREAMS[name]['size'], **ENCODER)
                  for name in used},
        preprocess={name: {'rgb': 'imagenet', 'audio': 'none'}[name] for name in used}, fusion=dict(name='concat'),
        head=dict(name='consensus'), stream_head={}, fixed=(), dtype='float32', debug=False)
    return config


def clips(seed=0):
    draw = np.random.default_rng(seed)
    inside = np.arange(4) < np.array([4, 4, 2, 1, 4, 4])[:, None]
    return {'rgb': draw.integers(0, 256, (ROWS, 4, 16, 16, 3)).astype(np.uint8) * inside[..., None, None, None].astype(
                np.uint8), 'valid/rgb': inside, 'present/rgb': np.array([1, 1, 1, 1, 0, 1], bool),
            'audio': draw.normal(size=(ROWS, 8, 8)).astype(np.float32), 'valid/audio': np.ones((ROWS, 8), bool),
            'present/audio': np.ones(ROWS, bool), 'mask': np.array([1, 1, 1, 1, 1, 0], np.float32),
            'id': np.arange(ROWS, dtype=np.int32), 'row': np.arange(ROWS, dtype=np.int32)}


class Setup(asked.Built):
    def __init__(self, config):
        super().__init__(config, clips())
        self.draw()


@pytest.fixture(scope='module')
def both():
    return Setup(settings())


def drawn(one):
    """The patches that are kept and those that are hidden in the first step."""
    return jax.jit(lambda batch: one.task._places(batch, one.ctx(batch).keys), compiler_options=QUICK)(clips())


def test_tubes_hide_the_same_places_at_all_times_and_nothing_is_both(both):
    places = drawn(both)
    for name, seen, hidden in (('rgb', 8, 24), ('audio', 2, 2)):
        keep, others = places[name]
        assert (keep.shape, others.shape) == ((ROWS, seen), (ROWS, hidden))
        np.testing.assert_array_equal(np.sort(np.concatenate([keep, others], 1), 1),
                                      np.tile(np.arange(seen + hidden), (ROWS, 1)))
    keep = np.asarray(places['rgb'][0]).reshape(ROWS, 2, 4)
    np.testing.assert_array_equal(keep[:, 0], keep[:, 1] - 16)
    assert len({tuple(row) for row in keep[:, 0].tolist()}) > 1


def test_only_hidden_patches_inside_of_what_is_there_count(both):
    terms = jax.jit(lambda batch: both.task.loss(both.ctx(batch)).terms, compiler_options=QUICK)
    before = terms(clips())
    # Tubelets of two frames: rows 0 and 1 have two, row 2 one, row 3 none that is whole; 4 is absent, 5 padding.
    assert before['loss_rgb'][1] == 12 * (2 + 2 + 1)
    assert before['loss_audio'][1] == 2 * 5
    changed = clips()
    changed['rgb'][2, 2:] = changed['rgb'][3, 1:] = changed['rgb'][4:] = 99
    changed['audio'][5] = np.nan
    for name, (value, count) in terms(changed).items():
        np.testing.assert_allclose(value, before[name][0], rtol=1e-5)
        assert count == before[name][1]


def test_the_encoder_does_not_see_what_is_hidden(both):
    batch, places = clips(), drawn(both)
    hidden = np.asarray(places['audio'][1])
    changed = clips()
    for row in range(ROWS):
        for place in hidden[row]:
            i, j = divmod(int(place), 2)
            changed['audio'][row, 4 * i:4 * i + 4, 4 * j:4 * j + 4] = 7
    encode = jax.jit(lambda batch: both.apply({'params': both.params}, batch, train=False).endpoints['audio/tokens'],
                     compiler_options=QUICK)
    np.testing.assert_array_equal(*(encode({**each, 'keep/audio': places['audio'][0]}) for each in (batch, changed)))


def test_targets_are_those_of_the_papers():
    x = np.random.default_rng(0).uniform(size=(2, 3, 24))
    patch = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True, ddof=1) + 1e-6)
    pixels = x.reshape(2, 3, 8, 3)
    channel = (pixels - pixels.mean(2, keepdims=True)) / (pixels.std(2, keepdims=True, ddof=1) + 1e-6)
    for way, expected in (('values', x), ('patch', patch), ('channel', channel.reshape(x.shape))):
        found = jax.jit(targets_of, static_argnums=(1, 2), compiler_options=QUICK)(jnp.asarray(x), 3, way)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_targets_and_patches_go_back():
    x = np.random.default_rng(0).uniform(size=(2, 3, 24))
    for way in ('values', 'patch', 'channel'):
        back = values_of(targets_of(jnp.asarray(x), 3, way), jnp.asarray(x), 3, way)
        np.testing.assert_allclose(back, x, rtol=1e-4, atol=1e-5)
    pictures = clips()['rgb']
    values, channels = patch_values(jnp.asarray(pictures), (2, 4, 4))
    np.testing.assert_array_equal(joined_patches(values, (2, 4, 4), (2, 4, 4), channels, jnp.uint8), pictures)


def test_panels_show_what_was_seen_and_made(both):
    panels = jax.jit(lambda batch: both.task.panels(both.ctx(batch, step=None)), compiler_options=QUICK)(clips())
    for name, of_stream in panels.items():
        truth = clips()[name]
        np.testing.assert_allclose(of_stream['truth'], truth, rtol=1e-5)
        assert list(of_stream) == ['made', 'shown', 'truth']
        same = of_stream['shown'] == truth
        seen = same.reshape(ROWS, -1).mean(1)
        assert ((seen > 0.2) & (seen < 0.6)).all(), name
        np.testing.assert_array_equal(np.asarray(of_stream['made'])[same & (np.asarray(of_stream['shown']) != 128)],
                                      truth[same & (np.asarray(of_stream['shown']) != 128)])


@pytest.mark.slow
def test_a_picture_is_learned_from_its_surroundings():
    config = settings(('rgb',), streams=dict(rgb=dict(STREAMS['rgb'], target='values')))
    one, players = Setup(config), Players(Player(optax.adam(1e-2)))
    step = jax.jit(make_train_step(one.apply, one.task, players, seed=0), compiler_options=QUICK)
    state = jax.jit(initializer(one.init, players), compiler_options=QUICK)(jax.random.key(0))
    draw, losses = np.random.default_rng(0), []
    for _ in range(60):
        batch = clips()
        # The brightness of the whole clip is told by every patch.
        batch['rgb'] = np.broadcast_to(draw.integers(0, 256, (ROWS, 1, 1, 1, 1)), batch['rgb'].shape).astype(np.uint8)
        state, metrics = step(state, batch)
        losses.append(float(metrics['loss']))
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:3])


@pytest.mark.slow
def test_microbatches_hide_the_same_patches(both):
    players = Players(Player(optax.sgd(1.0)))
    state = jax.jit(initializer(both.init, players), compiler_options=QUICK)(jax.random.key(0))
    one, many = (jax.jit(make_train_step(both.apply, both.task, players, seed=0, microbatches=parts),
                         compiler_options=QUICK)(state, clips()) for parts in (1, 2))
    np.testing.assert_allclose(many[1]['loss'], one[1]['loss'], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), many[0].params, one[0].params)


def test_evaluation_measures_against_the_clips_mean(both):
    compute = jax.jit(lambda batch: both.task.compute(both.ctx(batch, step=None)), compiler_options=QUICK)
    scores = compute(clips())
    turned = compute(jax.tree.map(lambda x: x[::-1], clips()))
    np.testing.assert_allclose(turned['rgb'][::-1], scores['rgb'], rtol=1e-4)  # A clip's mask is its own.
    rows = Predictions(np.arange(4), {}, {name: np.asarray(values[:4]) for name, values in scores.items()},
                       {name: np.ones(4, bool) for name in scores})
    figures = both.task.summary(rows)
    assert list(figures) == ['explained_audio', 'error_audio', 'explained_rgb', 'error_rgb', 'loss']
    assert np.isfinite(list(figures.values())).all()
    perfect = rows._replace(scores={name: values * np.array([0, 1, 1]) for name, values in rows.scores.items()})
    assert both.task.summary(perfect)['explained_rgb'] == 1
    assert np.isnan(both.task.per_clip(rows)['error_rgb'][0][3])
    with pytest.raises(UserError, match="nothing to predict of 'audio'"):
        both.task.summary(rows._replace(scores={name: 0 * values for name, values in rows.scores.items()}))


@pytest.mark.parametrize(('change', 'message'), [
    (dict(streams={}), 'task.streams is empty'),
    (dict(streams=dict(rgb=dict(ratio=1.0))), 'ratio is 1.0'),
    (dict(streams=dict(rgb=dict(size=(2, 4, 4)))), 'needs the ratio'),
    (dict(streams=dict(rgb=dict(ratio=0.9, mask='tube'))), "no key 'mask': did you mean 'masking'"),
    (dict(streams=dict(rgb=dict(ratio=0.9, masking='tubes'))), "did you mean 'tube'"),
    (dict(streams=dict(flow=dict(ratio=0.9))), "'flow', which has no encoder to be decoded"),
    (dict(streams=dict(rgb=dict(ratio=0.9))), r'set it to the same'),
    (dict(decoder=dict(layers=2)), "takes no key 'layers'")])
def test_what_a_config_gets_wrong(change, message):
    with pytest.raises(UserError, match=message):
        tasks.create(settings(**change))


def test_encoders_that_do_not_fit():
    for encoder, message in ((dict(name='i3d'), 'cannot leave patches out'),
                             (dict(name='videomae', size=(2, 4, 4)), 'pooled = False')):
        config = settings()
        config.model.encoders.rgb = ConfigDict(encoder)
        with pytest.raises(UserError, match=message):
            tasks.create(config)


@pytest.mark.parametrize('ratio', [0.99, 0.01])
def test_a_ratio_that_leaves_nothing(ratio):
    config = settings(streams=dict(rgb=dict(STREAMS['rgb'], ratio=ratio, masking='random' if ratio > 0.5 else 'tube')))
    with pytest.raises(UserError, match=r'leaves .* of .* patches'):
        Setup(config)


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    one = Setup(settings(('audio',)))
    config = tiny.config(**{'steps': 6, 'checkpoint_every': 2})

    def run(folder, feed):
        with hold(folder):
            return train(config, folder, mesh=make_mesh(config.mesh, jax.devices()[:1]), apply=one.apply, init=one.init,
                         objective=one.task, batches=feed, evaluate=lambda state: {},
                         identity={'config': configs.to_json(config), 'fingerprint': 'f', 'classes': []})

    def dying(first):
        yield from (clips(step) for step in range(first, 5))
        raise KeyboardInterrupt

    whole = run(tmp_path / 'whole', lambda first: map(clips, itertools.count(first)))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / 'killed', dying)
    tiny.assert_equal(run(tmp_path / 'killed', lambda first: map(clips, itertools.count(first))), whole)
