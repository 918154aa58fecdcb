"""Tasks whose answer is a text: their losses, what they refuse, and a run from a catalog to a page and back."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.evaluation import clips
from tests.evaluation.sensors import Sensor
from tests.models.frames import FAST
from tests.tasks import asked
from vmmjax.errors import UserError
from vmmjax.evaluation import attention
from vmmjax.evaluation.predictions import Predictions
from vmmjax.experiment import Experiment
from vmmjax.models.tokens import Tokens
from vmmjax.training.objective import Context, mean_of, total

pytest.importorskip('jiwer', reason='jiwer is not installed: pip install "vmmjax[sequences]"')

VOCABULARY = ['[PAD]', '[END]', '[UNK]', 'set', 'red', 'blue']
TASK = dict(name='transcription', decoder=dict(name='gru', hidden_size=4), label_smoothing=0.0)
MASK = jnp.array([[True] * 6, [True] * 3 + [False] * 3, [False] * 6])
X = jax.random.normal(jax.random.key(0), (3, 6, 5))
IDS = np.array([[[3, 4, 4, -1]], [[5, -1, -1, -1]], [[3, -1, -1, -1]]], np.int32)


def task(**options):
    return asked.task(TASK | options, 'text', vocabulary=VOCABULARY, longest=4, classes=[])


def outputs(timed=True):
    return SimpleNamespace(tokens=Tokens(X, MASK), timed=timed)


def batch(ids=IDS, **changes):
    return {'target/text': jnp.asarray(ids), 'mask': jnp.ones(3), 'id': jnp.arange(3), 'row': jnp.arange(3), **changes}


def params_of(asked_task):
    return jax.jit(lambda: asked_task.init(jax.random.key(1), outputs(), {})['params'], compiler_options=FAST)()


def loss_of(asked_task, params):
    """The loss of a batch, compiled once."""
    return jax.jit(lambda batch: asked.loss(asked_task, lambda *_, **__: (outputs(), {}), params, batch),
                   compiler_options=FAST)


def test_the_loss_is_a_weighted_mean_over_tokens():
    both = task(ctc=0.3, decoder=dict(name='gru', hidden_size=4, dropout=0.0))
    params = params_of(both)
    assert set(params['task']) == {'ctc', 'decoder'}
    of = loss_of(both, params)
    loss = of(batch())
    # Texts of 3 and of 1 tokens; the third clip has nothing to say it by.
    assert {name: float(weight) for name, (_, weight) in loss.terms.items()} == {'ctc': 4, 'decoder': 6}
    assert float(mean_of(loss.metrics['fits'])) == 1
    alone = [of(batch(mask=jnp.zeros(3).at[row].set(1))) for row in range(3)]
    for name, (value, _) in loss.terms.items():
        assert float(value) == pytest.approx(sum(float(each.terms[name][0]) for each in alone), rel=1e-5)
    assert float(total(alone[2])) == 0


def test_a_text_that_does_not_fit_is_not_asked_of_ctc():
    one = task(ctc=1.0)
    ids = np.array([[[3, 3, 3, -1]], [[4, 4, 4, -1]], [[3, -1, -1, -1]]], np.int32)
    loss = loss_of(one, params_of(one))(batch(ids))
    assert float(mean_of(loss.metrics['fits'])) == 0.5  # Five frames of six, and of three.
    assert float(loss.terms['ctc'][1]) == 3


def test_of_several_texts_each_is_drawn():
    ids = np.array([[[3, -1], [4, -1], [-1, -1]]] * 3, np.int32)
    one = task(ctc=1.0)
    draw = jax.jit(lambda step: one._one_of(Context(None, {}, {}, batch(ids), step=step)), compiler_options=FAST)
    drawn = np.stack([draw(jnp.int32(step))[:, 0] for step in range(30)])
    assert set(drawn.ravel().tolist()) == {3, 4}


@pytest.mark.parametrize(('ctc', 'generation'), [
    (1.0, {}), (0.3, dict(name='beam', beam=3, penalty='gnmt')),
    *(pytest.param(*each, marks=pytest.mark.slow) for each in (
        (1.0, dict(name='beam', beam=3)), (0.0, {}), (0.0, dict(name='sample', beam=2))))])
def test_what_is_measured(ctc, generation):
    one = task(ctc=ctc, generation=generation)
    params = params_of(one)

    @partial(jax.jit, compiler_options=FAST)
    def compute(batch):
        return one.compute(Context(lambda *_, **__: outputs(), params, {}, batch))

    found = compute(batch())
    count = generation.get('beam', 1)
    assert {name: values.shape for name, values in found.items()} == {
        'ids': (3, count, 4), 'log_probability': (3, count), 'score': (3, count), 'loss': (3,), 'confidence': (3, 4),
        **({'start': (3, 4), 'end': (3, 4)} if ctc else {})}
    there = np.asarray(found['ids'])[:, 0] != 0
    np.testing.assert_array_equal(np.isfinite(found['confidence'][:2]), there[:2])
    assert (np.asarray(found['confidence'])[:2][there[:2]] <= 1).all()
    assert np.isfinite(found['loss'][:2]).all()
    rows = Predictions(np.arange(3), {}, jax.tree.map(np.asarray, found), {})
    (reading,) = one.reading(rows, 0)
    assert reading['truth'] == ''
    for text, confidence in reading['named']:
        assert set(text.split()) <= {*VOCABULARY[3:], '⁇'}
        assert 0 <= confidence <= 1


@pytest.mark.parametrize(('ctc', 'decoder'), [
    (1.0, 'gru'), (0.3, 'gru'), pytest.param(0.0, 'transformer', marks=pytest.mark.slow)])
def test_what_a_token_rests_on(ctc, decoder):
    one = task(ctc=ctc, decoder=dict(name=decoder, hidden_size=4,
                                     **({'num_attention_heads': 2} if decoder == 'transformer' else {})))
    params = params_of(one)

    @partial(jax.jit, compiler_options=FAST)
    def attend(batch):
        ctx = Context(lambda *_, **__: outputs(), params, {}, batch)
        return one.attend(ctx), one.compute(ctx)

    found, measured = attend(batch())
    assert found['weights'].shape == (3, 4, 6)
    np.testing.assert_array_equal(found['ids'], measured['ids'][:, 0])
    weights, there = np.asarray(found['weights']), np.asarray(found['ids']) != 0
    assert (weights[~there] == 0).all()
    assert (weights[1, :, 3:] == 0).all()  # Its last three tokens are no tokens.
    if ctc < 1:
        np.testing.assert_allclose(weights[:2][there[:2]].sum(-1), 1, rtol=1e-5)
    else:
        # A confidence is the greatest of them in the frames of the token.
        assert (weights.max(-1)[there] >= np.asarray(measured['confidence'])[there] - 1e-6)[:2].all()


@pytest.mark.parametrize(('tokenizer', 'tokens', 'words', 'times'), [
    ('words', ['set', 'red'], ['set', 'red'], [(10.0, 11.0), (11.0, 12.0)]),
    ('characters', [*'ab c'], ['ab', 'c'], [(10.0, 12.0), (13.0, 14.0)]),
    ('wordpiece', ['sun', '##set', 'red'], ['sunset', 'red'], [(10.0, 12.0), (12.0, 13.0)]),
])
def test_words_of_a_sentence_have_times_in_the_file(tokenizer, tokens, words, times):
    vocabulary = [*VOCABULARY[:3], *dict.fromkeys(tokens)]
    one = asked.task(TASK | dict(tokenizer=tokenizer), 'text', vocabulary=vocabulary, longest=4, classes=[],
                     pieces=vocabulary)
    ids = np.zeros((1, 1, 4), np.float32)
    ids[0, 0, :len(tokens)] = [vocabulary.index(token) for token in tokens]
    scores = {'ids': ids, 'log_probability': np.zeros((1, 1), np.float32), 'start': np.arange(4)[None] / 4,
              'end': (np.arange(4)[None] + 1) / 4, 'confidence': np.array([[0.5, 0.25, 0.75, 0.125]])}
    (reading,) = one.reading(Predictions(np.zeros(1), {'window': np.array([[10.0, 4.0]])}, scores, {}), 0)
    assert [word['word'] for word in reading['words']] == words
    assert [(word['start'], word['end']) for word in reading['words']] == times
    assert reading['words'][0]['confidence'] == (0.5 if tokenizer == 'words' else 0.25)  # The least of its tokens.
    (unknown,) = one.reading(Predictions(np.zeros(1), {}, scores, {}), 0)
    assert [word.keys() for word in unknown['words']] == [{'word', 'confidence', 'share'}] * len(words)
    assert unknown['words'][0]['share'] == [0, (times[0][1] - 10) / 4]


def test_while_a_model_trains_texts_are_found_greedily():
    one = task(generation=dict(name='beam', beam=5))
    assert (one.search.texts, one.in_training.search.texts) == (5, 1)
    assert one.in_training.facts == one.facts


def test_ctc_is_refused_where_a_text_does_not_fit():
    needy = asked.task(TASK | dict(ctc=1.0), 'text', vocabulary=VOCABULARY, longest=4, neediest=['s1/bbaf2n', 9, 0.5])
    with pytest.raises(UserError, match=r"clip 's1/bbaf2n' needs 9 frames for CTC .* makes 3 of it: 6 are missing"):
        needy.init(jax.random.key(0), outputs(), {})
    with pytest.raises(UserError, match='CTC needs tokens that are moments'):
        task().init(jax.random.key(0), outputs(timed=False), {})
    assert 'ctc' not in task(ctc=0.0).init(jax.random.key(0), outputs(timed=False), {})['params']['task']


@pytest.mark.parametrize(('options', 'message'), [
    (dict(ctc=1.5), 'config.task.ctc is 1.5'),
    (dict(generation=dict(name='beam', beam=0)), 'config.task.generation.beam is 0'),
    (dict(generation=dict(name='beams')), "did you mean 'beam'"),
    (dict(generation=dict(penalty='gmnt')), "There is no length penalty 'gmnt': did you mean 'gnmt'"),
    (dict(generation=dict(alpha=-1.0)), 'alpha=-1.0'),
    (dict(generation=dict(size=3)), 'config.task.generation.size that nothing reads'),
])
def test_options_that_make_no_sense(options, message):
    with pytest.raises(UserError, match=message):
        task(**options)


def test_an_unknown_decoder():
    with pytest.raises(UserError, match="There is no decoder 'gur': did you mean 'gru'"):
        params_of(task(decoder=dict(name='gur')))


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run that says three words of two sensors, trained by CTC and a decoder; and its store."""
    folder = tmp_path_factory.mktemp('writing')
    store = clips.make_store(folder / 'clips')
    config = clips.config_of(
        store, dict(name='transcription', ctc=0.3, context=dict(hidden_size=8, num_layers=1, dropout=0.0),
                    decoder=dict(name='gru', hidden_size=16), generation=dict(name='beam', beam=3)),
        'text', steps=150, fusion=dict(name='over_time', steps=8, join=dict(name='concat')), head={})
    experiment, logged = clips.trained(config, folder / 'run')
    assert np.isfinite(list(logged.values())).all()
    return folder / 'run', experiment


@pytest.mark.slow
def test_a_run_writes_what_it_was_taught(run):
    _, experiment = run
    result = experiment.evaluate('test')
    assert result.metrics['word_error_rate'] < 0.1 < 0.4 < result.chance['word_error_rate']
    assert result.metrics['all_right'] > 0.8
    assert list(result.subsets) == ['one+two', 'one', 'two']
    assert result.subsets['one']['word_error_rate'] <= 1
    assert result.intervals['word_error_rate']['low'] <= result.metrics['word_error_rate'] <= (
        result.intervals['word_error_rate']['high'])
    found = attention.attended(experiment, [row[0] for row in result.tables[0]['rows'][:2]])
    assert len(found) == 2
    for told in found.values():
        assert len(told['weights']) == len(told['tokens']) > 0
        assert {len(weights) for weights in told['weights']} == {8}
        np.testing.assert_allclose(np.sum(told['weights'], 1), 1, atol=0.01)
    (table,) = result.tables
    assert table['title'] == 'Sentences'
    assert len(table['rows']) == 20


@pytest.mark.slow
def test_new_clips_are_read_as_those_of_the_evaluation(run):
    folder, experiment = run
    rows = next(iter(experiment.predictions('test').values()))
    arrays = {name: np.stack([next(Sensor(name).read(None, SimpleNamespace(id=str(number))))
                              for number in rows.id.tolist()]) for name in ('one', 'two')}
    found = Experiment.load(folder).predict(arrays, most=1)
    assert [each.reading[0]['named'][0][0] for each in found] == experiment.task.said(rows)
    assert all(0 < each.reading[0]['named'][0][1] <= 1 for each in found)
    for each in found:
        told = each.reading[0]['words']
        assert ' '.join(word['word'] for word in told) == each.reading[0]['named'][0][0]
        # Behind recurrent layers over the whole clip, CTC's places are no times.
        assert {*told[0]} == {'word', 'confidence'}


@pytest.mark.slow
def test_what_it_reads_of_a_clip_is_what_was_measured(run):
    folder, experiment = run
    found = next(iter(experiment.predictions('test').values()))
    loaded = Experiment.load(folder)
    assert loaded.task.facts == experiment.task.facts
    again = next(iter(loaded.predictions('test').values()))
    np.testing.assert_array_equal(found.scores['ids'], again.scores['ids'])
    # As of new clips: searched in the same way, not greedily as while it trains.
    alone = next(iter(loaded.predictions('test', subsets=False).values()))
    np.testing.assert_array_equal(found.scores['ids'], alone.scores['ids'])
    (reading,) = loaded.task.reading(again, 0)
    assert reading['target'] == 'text'
    assert reading['truth'] == loaded.task.references(again)[0][0]
    assert len(reading['named']) == 3
    confidences = [confidence for _, confidence in reading['named']]
    assert confidences == sorted(confidences, reverse=True)
