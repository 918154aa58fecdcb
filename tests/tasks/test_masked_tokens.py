"""Hidden words of texts of four, which a frame beside them gives away."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.tasks.resumed import assert_goes_on_bit_for_bit
from vmmjax import config as configs
from vmmjax import models, tasks
from vmmjax.errors import UserError
from vmmjax.evaluation.predictions import Predictions
from vmmjax.training import Player, Players, make_train_step
from vmmjax.training.objective import Context
from vmmjax.training.state import initializer

ROWS, WORDS, QUICK = 6, 4, {'xla_backend_optimization_level': 0}
VOCABULARY = ['[PAD]', '[UNK]', '[MASK]', 'a', 'b', 'c', '[CLS]', '[SEP]']
BERT = dict(name='bert', vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
            max_position_embeddings=4, dropout=0.0)


def settings(text=None, encoder=BERT, **task):
    config = configs.defaults()
    config.task = dict(name='masked_tokens', ratio=0.5,
                       reader=dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)) | task
    config.data.streams = dict(text=dict(modality='text:said', length=WORDS) | (text or {}), x=dict(modality='x'))
    config.model.update(dict(encoders=dict(text=encoder, x=dict(
        name='tdnn', frame_size=8, widths=(), strides=(), features=8, per_frame=True, dropout=0.0)),
        preprocess=dict(text='ids', x='none')))
    return config


def clips(seed=0):
    draw = np.random.default_rng(seed)
    words = draw.integers(3, 6, (ROWS, WORDS)).astype(np.int32)
    there = np.arange(WORDS) < np.array([4, 4, 3, 1, 4, 4])[:, None]
    return {'text': np.where(there, words, 0), 'text_mask': there, 'present/text': np.array([1, 1, 1, 1, 0, 1], bool),
            'x': np.eye(6, dtype=np.float32)[words] * 3, 'valid/x': np.ones((ROWS, WORDS), bool),
            'present/x': np.array([1, 1, 1, 1, 1, 1], bool), 'mask': np.array([1, 1, 1, 1, 1, 0], np.float32),
            'id': np.arange(ROWS, dtype=np.int32), 'row': np.arange(ROWS, dtype=np.int32)}


class Setup:
    def __init__(self, **options):
        config = settings(**options)
        model = models.create(config.model, 0)
        self.task = tasks.create(config, {'classes': [], 'vocabulary': VOCABULARY})
        self.apply = lambda variables, batch, **given: model.apply(variables, model.preprocess(batch), **given)

        def init(key):
            one = jax.tree.map(lambda x: x[:1], clips())
            variables = dict(model.init(key, model.preprocess(one), train=False))
            own = self.task.init(key, self.apply(variables, one, train=False), one)
            return {**variables, 'params': {**variables['params'], **own['params']}}

        self.init = init
        self.variables = jax.jit(init, compiler_options=QUICK)(jax.random.key(0))

    def ctx(self, batch, step=None):
        state = {'batch_stats': self.variables['batch_stats']}
        return Context(self.apply, self.variables['params'], state, batch, 0,
                       None if step is None else jnp.asarray(step), None, jax.random.key(0))


@pytest.fixture(scope='module')
def one():
    return Setup()


def test_words_are_hidden_where_there_are_any(one):
    hidden = np.stack([one.task._hidden(one.ctx(clips(), step)) for step in range(40)])
    assert hidden[:, 4:].sum() == 0  # Absent, and padding.
    assert not hidden[:, ~clips()['text_mask']].any()
    assert (hidden[:, :4].sum(2) >= 1).all()
    assert hidden[:, :2].mean() == pytest.approx(0.53, abs=0.08)
    assert (one.task._hidden(one.ctx(clips())) == (clips()['text_mask'] & (np.arange(ROWS) < 4)[:, None])).all()


def test_what_is_no_word_is_not_asked_for(one):
    batch = clips()
    batch['text'][:2] = [[6, 3, 2, 7], [6, 2, 2, 7]]  # [CLS] a [MASK] [SEP], and a text of which `hide` leaves nothing.
    hidden = np.stack([one.task._hidden(one.ctx(batch, step)) for step in (None, 0, 1, 2)])
    np.testing.assert_array_equal(hidden[:, :2], np.broadcast_to([[0, 1, 0, 0], [0, 0, 0, 0]], (4, 2, 4)))
    np.testing.assert_array_equal(one.task.compute(one.ctx(batch))['hidden'][:2], [[-1, 3, -1, -1], [-1] * 4])


def test_what_lies_outside_of_a_clip_is_not_looked_at(one):
    batch = clips()
    batch['valid/x'][:, 2:] = False
    read = jax.jit(lambda batch: one.task._tokens(one.apply(one.variables, batch, train=False), batch)[1]['x'].mask)
    np.testing.assert_array_equal(read(batch), batch['valid/x'] & (batch['mask'] > 0)[:, None])


def test_a_hidden_word_is_not_seen_and_absent_means_absent(one):
    compute = jax.jit(lambda batch: one.task._read(one.ctx(batch))[0], compiler_options=QUICK)
    changed = clips()
    changed['text'] = np.where(changed['text_mask'], 3, 0).astype(np.int32)  # All of them are hidden in evaluation.
    np.testing.assert_array_equal(compute(clips())[:4], compute(changed)[:4])
    without = {**clips(), 'present/x': np.zeros(ROWS, bool)}
    noisy = {**without, 'x': np.full_like(without['x'], np.nan)}
    np.testing.assert_allclose(compute(without)[:4], compute(noisy)[:4], atol=1e-6)
    assert np.abs(compute(without)[:4] - compute(clips())[:4]).max() > 1e-3


def test_measures(one):
    assert list(one.task.subsets(['text', 'x'])) == ['text+x', 'text']
    scores = {'hidden': np.array([[3, 4, -1], [3, 3, 3]]), 'told': np.array([[3, 3, 3], [3, 3, 4]]),
              'loss': np.array([[1.0, 2.0, 9.0], [0.0, 0.0, 2.0]])}
    rows = Predictions(np.arange(2), {}, scores, {'text': np.ones(2, bool)})
    assert one.task.summary(rows) == {'accuracy': pytest.approx(0.6), 'loss': 1.0}
    values, weights = one.task.per_clip(rows)['accuracy']
    assert np.average(values, weights=weights) == pytest.approx(0.6)
    assert one.task.chance(rows) == {'accuracy': 0.8}
    assert one.task.reading(rows, 0)[0] | {'target': ''} == {
        'target': '', 'truth': 'a b', 'probability': None, 'named': [['a a', None]]}
    with pytest.raises(UserError, match='no word was hidden'):
        one.task.summary(rows._replace(scores={**scores, 'hidden': 0 * scores['hidden'] - 1}))


@pytest.mark.slow
def test_words_are_told_from_the_stream_beside(one):
    players = Players(Player(optax.adam(3e-3)))
    step = jax.jit(make_train_step(one.apply, one.task, players, seed=0), compiler_options=QUICK)
    state = jax.jit(initializer(one.init, players), compiler_options=QUICK)(jax.random.key(0))
    found = []
    for number in range(300):
        state, metrics = step(state, clips(number))
        found.append(float(metrics['accuracy']))
    assert np.mean(found[-20:]) > 0.8


@pytest.mark.parametrize(('change', 'message'), [
    (dict(ratio=0.0), 'ratio is 0'), (dict(evaluated=1.5), 'evaluated is 1.5'),
    (dict(reader=dict(layers=2)), "no key 'layers'"), (dict(reader=dict(hidden_size=0)), 'hidden_size is 0'),
    (dict(reader=dict(num_hidden_layers=1.5)), 'num_hidden_layers is 1.5'),
    (dict(reader=dict(hidden_size=10, num_attention_heads=4)), 'hidden_size is 10, .* 4 heads'),
    (dict(stream='words'), 'no encoder to be read'),
    (dict(stream='x'), 'which is no text'), (dict(text=dict(mask_rate=0.2)), 'mask_rate hides words')])
def test_what_a_config_gets_wrong(change, message):
    with pytest.raises(UserError, match=message):
        tasks.create(settings(**change))


def test_an_encoder_with_one_token_a_text(one):
    outputs = SimpleNamespace(stream_masks={'text': jnp.ones((2, 1), bool)},
                              endpoints={'text/tokens': jnp.zeros((2, 1, 8))})
    with pytest.raises(UserError, match='1 tokens for 4 words'):
        one.task._tokens(outputs, clips())


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, one):
    assert_goes_on_bit_for_bit(tmp_path, apply=one.apply, init=one.init, task=one.task, clips=clips)
