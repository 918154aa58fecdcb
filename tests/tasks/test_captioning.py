import pytest

from tests.tasks import asked
from tests.tasks.written import FACTS, rows_of
from vmmjax.evaluation import text_metrics

pytest.importorskip('sacrebleu', reason='sacrebleu is not installed: pip install "vmmjax[sequences]"')

REFERENCES = [['a dog runs', 'a dog'], ['a cat sleeps']]


def test_captions_are_measured_against_all_their_references():
    task = asked.task(dict(name='captioning'), 'text', **FACTS)
    rows = rows_of(REFERENCES, ['a dog', 'a dog sleeps'])
    figures = task.summary(rows)
    assert figures['all_right'] == 0.5
    assert figures['loss'] == pytest.approx(0.7)
    assert figures['rouge_l'] == pytest.approx(text_metrics.rouge_l(REFERENCES, ['a dog', 'a dog sleeps']).mean())
    assert figures['cider_d'] == pytest.approx(text_metrics.cider_d(REFERENCES, ['a dog', 'a dog sleeps']).mean())
    assert list(figures) == ['cider_d', 'bleu_4', 'rouge_l', 'all_right', 'loss']
    assert task.per_clip(rows).keys() == figures.keys() - {'bleu_4'}
    assert task.chance(rows)['all_right'] == 0.5  # 'a cat sleeps', the first of those that are as common.
    assert task.reading(rows, 0)[0] == {'target': 'text', 'truth': 'a dog runs | a dog', 'probability': None,
                                        'named': [['a dog', pytest.approx(0.5)]], 'words': []}
