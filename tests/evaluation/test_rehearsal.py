from vmmjax.evaluation.rehearsal import remark_on_size


def test_a_split_too_small_to_choose_by_is_told():
    assert remark_on_size(26).startswith('The validation split has 26 clips: an accuracy on it is known to 18 points')
    assert 'has 1 clip:' in remark_on_size(1)
    assert remark_on_size(92)
    assert not remark_on_size(93)
