import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.convert.format import Format, torch_name
from vmmjax.convert.match import Inflation, cast, fit, match, patterns
from vmmjax.errors import UserError

FORMAT = Format('toy', lambda tensors: None, lambda path: torch_name(path, head='fc'))
F32 = np.dtype(np.float32)


def array(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(('theirs', 'ours'), [((5, 3), (3, 5)), ((5, 3, 7), (7, 3, 5)), ((5, 3, 7, 6), (7, 6, 3, 5)),
                                              ((5, 3, 2, 7, 6), (2, 7, 6, 3, 5)), ((5, 1, 3, 3), (3, 3, 1, 5))])
def test_kernels_of_pytorch_get_their_channels_last(theirs, ours):
    tensor = array(*theirs)
    found, fate = fit(tensor, 'params/encoder/conv/kernel', ours, 'torch', None)
    assert (found.shape, fate) == (ours, 'loaded')
    index = tuple(np.random.default_rng(1).integers(ours))
    assert found[index] == tensor[index[-1], index[-2], *index[:-2]]


@pytest.mark.parametrize(('theirs', 'layout', 'ours'), [
    ((5, 3, 1, 1, 1), 'torch', (3, 5)), ((1, 1, 1, 3, 5), 'tensorflow', (3, 5)), ((5, 3), 'torch', (1, 1, 3, 5)),
    ((1, 1, 1, 1, 4), 'tensorflow', (4,)), ((), 'torch', (1,))])
def test_axes_of_one_come_and_go(theirs, layout, ours):
    path = 'params/encoder/conv/kernel' if len(ours) > 1 else 'params/encoder/conv/bias'
    found, fate = fit(array(*theirs), path, ours, layout, None)
    assert (found.shape, fate) == (ours, 'reshaped')


@pytest.mark.parametrize(('theirs', 'ours'), [((5, 3), (5, 3)), ((6,), (2, 3)), ((4,), (5,)),
                                              ((5, 3, 3, 3), (3, 3, 3, 3, 5))])
def test_other_sizes_do_not_fit(theirs, ours):
    assert fit(array(*theirs), 'params/encoder/conv/kernel', ours, 'torch', None) is None


@given(st.integers(1, 7), st.sampled_from(['mean', 'centre']), st.integers(1, 12))
def test_a_still_film_gives_what_the_picture_gave(length, way, channels):
    kernel = array(3, 3, 3, 5)
    inflated = Inflation(way, (3, channels)).apply(kernel, (length, 3, 3, channels, 5))
    assert inflated.shape == (length, 3, 3, channels, 5)
    # Summed over time: what it does to one picture repeated. Over channels: the mean, once for each of them.
    expected = kernel if channels == 3 else np.repeat(kernel.mean(2, keepdims=True), channels, 2)
    np.testing.assert_allclose(inflated.sum(0), expected, rtol=1e-5, atol=1e-6)
    if way == 'centre':
        assert not np.delete(inflated, length // 2, 0).any()


def test_only_the_stem_gets_other_channels():
    inflation = Inflation('mean', (3, 10))
    assert fit(array(8, 3, 3, 3), 'params/encoder/conv1/kernel', (3, 3, 10, 8), 'torch', inflation)[1] == 'inflated'
    assert fit(array(8, 4, 3, 3), 'params/encoder/conv2/kernel', (3, 3, 10, 8), 'torch', inflation) is None


def test_an_unknown_way_to_inflate_is_named():
    with pytest.raises(UserError, match="no way to inflate 'center': did you mean 'centre'"):
        Inflation('center', (3, 3))


@pytest.mark.parametrize(('dtype', 'note'), [
    (np.float32, ''), ('>f4', ''), (np.float16, 'float16 to float32'), (np.float64, 'float64 to float32'),
    (ml_dtypes.bfloat16, 'bfloat16 to float32'), (np.int64, 'int64 to float32')])
def test_other_dtypes_are_noted(dtype, note):
    value, said = cast(np.array([1, -2], dtype), F32, 'a')
    assert (value.dtype, value.tolist(), said) == (F32, [1, -2], note)


@pytest.mark.parametrize('value', [np.nan, np.inf, 1e300, 1j])
def test_what_is_no_finite_number_is_named(value):
    with pytest.raises(UserError, match=r'tensor layer1\.weight holds'):
        cast(np.array([0, value]), F32, 'layer1.weight')


def test_every_tensor_and_every_variable_has_a_fate():
    tensors = {'conv1.weight': array(5, 3, 2, 2), 'conv1.extra': array(1), 'bn.num_batches_tracked': np.array(3),
               'fc.weight': array(7, 5), 'fc.bias': array(7).astype(np.float64)}
    wanted = {'params/encoders_rgb/conv1/kernel': ((2, 2, 3, 5), F32), 'params/encoders_rgb/conv1/bias': ((5,), F32),
              'params/head/logits/kernel': ((5, 4), F32), 'params/head/logits/bias': ((7,), F32)}
    found = match(tensors, FORMAT, wanted, None)
    assert {entry.path or entry.name: (entry.fate, entry.note) for entry in found.entries} == {
        'params/encoders_rgb/conv1/kernel': ('loaded', ''),
        'params/encoders_rgb/conv1/bias': ('left at initialisation', ''),
        'params/head/logits/kernel': ('left at initialisation', 'its sizes in the file are others'),
        'params/head/logits/bias': ('loaded', 'float64 to float32'),
        'conv1.extra': ('unused', ''), 'bn.num_batches_tracked': ('ignored', '')}
    assert found.missing == {'params/encoders_rgb/conv1/bias': 'conv1.bias'}
    assert found.misfits == {'params/head/logits/kernel':
                             'fc.weight has shape (7, 5) and params/head/logits/kernel needs (5, 4)'}
    assert found.unused == ['conv1.extra']


def test_values_do_not_share_the_files_memory():
    tensors = {'fc.bias': array(7)}
    found = match(tensors, FORMAT, {'params/head/logits/bias': ((7,), F32)}, None)
    assert not np.shares_memory(found.values['params/head/logits/bias'], tensors['fc.bias'])


def test_patterns_are_searched_anywhere_and_must_match_something():
    (pattern,) = patterns('head/.*', ['params/head/logits/kernel'], 'allow_missing')
    assert pattern.search('params/head/logits/kernel')
    with pytest.raises(UserError, match="'heads' of allow_missing matches nothing; there is params/head/logits"):
        patterns(['heads'], ['params/head/logits/kernel'], 'allow_missing')
    with pytest.raises(UserError, match=r"'\(' of allow_unused is no regular expression"):
        patterns(['('], ['a'], 'allow_unused')
