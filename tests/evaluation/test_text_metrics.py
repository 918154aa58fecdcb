import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.evaluation import text_metrics

for package in ('jiwer', 'sacrebleu'):
    pytest.importorskip(package, reason=f'{package} is not installed: pip install "vmmjax[sequences]"')

REFERENCES = ['bin blue at f two now', 'set red', 'lay']


@pytest.mark.parametrize(('said', 'words', 'characters'), [
    (REFERENCES, [0, 0, 0], [0, 0, 0]),
    (['bin blue at two now', 'set red red', 'lie'], [1, 1, 1], [2, 4, 2]),
    (['', '', ''], [6, 2, 1], [21, 7, 3]),
])
def test_errors_are_counted_by_clip(said, words, characters):
    wrong, count = text_metrics.errors(REFERENCES, said, 'words')
    assert (wrong.tolist(), count.tolist()) == (words, [6, 2, 1])
    wrong, count = text_metrics.errors(REFERENCES, said, 'characters')
    assert (wrong.tolist(), count.tolist()) == (characters, [21, 7, 3])


def test_more_errors_than_words():
    wrong, count = text_metrics.errors(['a'], ['b c d'], 'words')
    assert (wrong / count).tolist() == [3.0]


def test_an_empty_reference_has_no_rate():
    with pytest.raises(UserError, match='The reference text number 2 is empty'):
        text_metrics.errors(['a', ' '], ['a', 'b'], 'words')


def test_the_commonest_word_at_each_place():
    assert text_metrics.commonest(['a b', 'c b', 'a d', 'e f g']) == 'a b'
    rates = text_metrics.errors(['a b', 'c b', 'a d'], ['a b'] * 3, 'words')
    assert np.divide(*map(np.sum, rates)) == pytest.approx(2 / 6)


CAPTIONS = [['a man plays a red guitar on the stage', 'a man is playing guitar', 'someone plays the guitar'],
            ['a dog runs', 'the brown dog runs over the wet grass and then runs back'],
            ['two people cook', 'a woman and a man cook in a kitchen', 'people are cooking', 'people cook'], ['a cat']]
SAID = ['a man plays the guitar on a stage a stage', 'the dog runs over grass', 'a man cooks', '']


def test_rouge_and_cider_are_those_of_coco_caption():
    # Printed by cider_scorer.py and rouge.py of github.com/tylin/coco-caption for these captions.
    np.testing.assert_allclose(text_metrics.cider_d(CAPTIONS, SAID),
                               [1.613753981429118, 2.0180456629191452, 0.07143973428899339, 0.0], rtol=1e-12)
    np.testing.assert_allclose(text_metrics.rouge_l(CAPTIONS, SAID),
                               [0.6802973977695167, 0.7721518987341772, 0.30576441102756885, 0.0], rtol=1e-12)


def test_what_is_a_reference_is_the_best_there_is():
    right = [texts[0] for texts in CAPTIONS]
    np.testing.assert_allclose(text_metrics.rouge_l(CAPTIONS, right), 1)
    alone = [[text] for text in right]
    assert text_metrics.bleu(alone[:2], right[:2]) == pytest.approx(1)
    assert text_metrics.cider_d([['a man plays a guitar'], ['the dog runs over grass']],
                                ['a man plays a guitar', 'the dog runs over grass']).tolist() == pytest.approx([10, 10])


def test_bleu_is_the_formula():
    # 1-grams 6 of 7, 2-grams 4 of 6, 3-grams 3 of 5, 4-grams 2 of 4; no brevity penalty: 7 words of 6.
    found = text_metrics.bleu([['the cat sat on the mat']], ['the cat sat on the red mat'])
    assert found == pytest.approx((6 / 7 * 4 / 6 * 3 / 5 * 2 / 4) ** 0.25)
