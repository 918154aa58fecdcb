import pytest

from experiments.language_model import Pairs

SENTENCES = [['a', 'x']] * 6 + [['b', 'y']] * 3 + [['b', 'x']]


def test_the_likeliest_sentence_is_that_of_the_pairs() -> None:
    assert Pairs(SENTENCES).likeliest(2, 1.0) == 'a x'
    assert Pairs([['a', 'x'], ['a', 'y'], ['b', 'y'], ['b', 'y']]).likeliest(2, 1.0) == 'b y'


@pytest.mark.parametrize(('share', 'expected'), [(0.0, 'b x'), (1.0, 'b y')])
def test_pairs_correct_a_classifier_that_is_not_certain(share: float, expected: str) -> None:
    # It is sure of the first word, and of the second knows no more than how frequent its words are.
    posteriors = [{'a': 0.05, 'b': 0.95}, {'x': 0.7, 'y': 0.3}]
    assert Pairs(SENTENCES).likeliest(2, share, posteriors) == expected
