import pytest

from tests.tasks import asked
from tests.tasks.written import FACTS, rows_of

pytest.importorskip('jiwer', reason='jiwer is not installed: pip install "vmmjax[sequences]"')


def test_a_transcript_of_unknown_words_is_never_right():
    task = asked.task(dict(name='transcription'), 'text', **FACTS)
    rows = rows_of([['a fox'], ['a dog']], ['a [UNK]', 'a dog'])
    assert task.said(rows) == ['a ⁇', 'a dog']
    figures = task.summary(rows)
    assert figures['word_error_rate'] == 0.25
    assert figures['all_right'] == 0.5
    values, weights = task.per_clip(rows)['word_error_rate']
    assert (values.tolist(), weights.tolist()) == ([0.5, 0], [2, 2])


def test_a_rate_above_one_has_no_interval():
    task = asked.task(dict(name='transcription'), 'text', **FACTS)
    rows = rows_of([['dog'], ['cat']], ['a a a', 'cat'])
    assert task.summary(rows)['word_error_rate'] == 1.5
    assert 'word_error_rate' not in task.per_clip(rows)
