import pytest

from tests.tasks.written import FACTS, rows_of
from vmmjax import config as configs
from vmmjax import tasks
from vmmjax.errors import UserError
from vmmjax.tasks.question_answering import QuestionAnswering


def test_an_answer_is_right_token_by_token():
    task = QuestionAnswering(target='text', facts=FACTS)
    rows = rows_of([['dog'], ['cat'], ['dog']], ['dog', 'a cat', 'dog'])
    assert task.summary(rows)['accuracy'] == pytest.approx(2 / 3)
    assert task.chance(rows) == {'accuracy': pytest.approx(2 / 3)}
    assert task.per_clip(rows)['accuracy'][0].tolist() == [1, 0, 1]


@pytest.mark.parametrize(('streams', 'message'), [
    (dict(rgb='rgb'), "config.task.question names 'question', which is no stream"),
    (dict(question='rgb'), "names 'question', which holds no text"),
    (dict(question='text:question', history='text:before'), r'There is a question \(question\) without a clip'),
])
def test_a_question_is_a_text_about_a_clip(streams, message):
    config = configs.defaults()
    config.task, config.data.target = dict(name='question_answering'), 'answer'
    config.data.streams = {name: dict(modality=modality) for name, modality in streams.items()}
    with pytest.raises(UserError, match=message):
        tasks.create(config)
    config.data.streams = dict(question=dict(modality='text:question'), rgb=dict(modality='rgb'))
    assert tasks.create(config).name == 'question_answering'
