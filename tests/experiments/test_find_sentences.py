import numpy as np

from experiments import find_sentences


def test_of_equal_clips_the_right_one_is_last() -> None:
    alike = np.eye(10)
    assert find_sentences.row('by words', alike)[1:] == ['100', '72.2 to 100.0', '100', '100', '1', '10']
    alike[0, 1] = 1  # As alike as the right clip.
    assert find_sentences.row('by words', alike)[1] == '90'
    assert find_sentences.row('by chance', np.zeros((10, 10)))[1:6:3] == ['0', '100']
