import jax.numpy as jnp
import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.ops import preprocess

CODES = np.arange(256, dtype=np.uint8)


def test_signed_spans_minus_one_to_one() -> None:
    x = np.asarray(preprocess('signed', CODES))
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, CODES / 127.5 - 1, atol=1e-6)
    assert (x[0], x[-1]) == (-1, 1)


def test_flow_is_a_fraction_of_twenty_pixels() -> None:
    x = np.asarray(preprocess('flow', CODES))
    np.testing.assert_allclose(x * 20, CODES * (40.0 / 255) - 20, atol=1e-5)
    assert abs(x[128] * 20 - 0.0784) < 1e-3


def test_flow_of_tsn_has_the_pictures_mean_deviation() -> None:
    np.testing.assert_allclose(preprocess('flow_tsn', CODES), (CODES / 255 - 0.5) / 0.226, atol=1e-6)


def test_imagenet_normalises_each_channel() -> None:
    x = np.asarray(preprocess('imagenet', np.full((2, 1, 3), 255, np.uint8)))
    np.testing.assert_allclose(x[0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rtol=1e-5)


def test_centred_leaves_what_moves_and_does_not_hear_of_invalid_frames() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 5, 3, 4, 3), np.uint8)
    valid = np.arange(5) < np.array([[5], [3]])
    other = np.where(valid[:, :, None, None, None], x, 255 - x)
    found, again = (np.asarray(preprocess('centred', jnp.asarray(each), jnp.asarray(valid))) for each in (x, other))
    np.testing.assert_array_equal(found[valid], again[valid])
    for row, mask in enumerate(valid):
        np.testing.assert_allclose(found[row, mask], (x[row, mask] - x[row, mask].mean(0)) / 64, atol=1e-5)
    still = np.repeat(x[:, :1], 5, 1)
    assert not np.asarray(preprocess('centred', jnp.asarray(still))).any()


def test_none_changes_the_type_alone() -> None:
    np.testing.assert_array_equal(preprocess('none', CODES), CODES.astype(np.float32))


def test_a_users_own_and_a_misspelt_name() -> None:
    np.testing.assert_array_equal(preprocess('jax.numpy:negative', np.float32([1])), [-1])
    with pytest.raises(UserError, match="did you mean 'signed'"):
        preprocess('singed', CODES)
