"""What is lost when a part is hidden is what the part adds, of a model that adds them up."""

import jax.numpy as jnp
import numpy as np

from tests.explain.test_gradients import attributed, built
from vmmjax.explain import baselines, occlusion
from vmmjax.explain.score import of_logits


def test_parts_cover_every_place_once() -> None:
    numbers = occlusion.cells((5, 6, 7), (2, 3, 4))
    assert (numbers.dtype, numbers.shape) == (np.int32, (5, 6, 7))
    assert {*numbers.ravel().tolist()} == {*range(24)}
    np.testing.assert_array_equal(np.unique(numbers[0]), np.arange(12))  # Time comes first.
    assert occlusion.grid((2, 8, 48, 48, 3)) == (4, 4, 4)
    assert occlusion.grid((2, 3, 48, 2, 3)) == (3, 4, 2)
    assert occlusion.grid((2, 200, 64)) == (16, 8)


def test_a_linear_model_loses_what_the_part_was_attributed() -> None:
    model, variables, batch, _ = built(linear=True)
    expected = attributed(True, 1).of
    for name, parts in (('rgb', (3, 2, 2)), ('audio', (2, 5))):
        start = baselines.baseline(batch[name], batch.get(f'valid/{name}'))
        numbers = occlusion.cells(batch[name].shape[1:1 + len(parts)], parts)
        count = int(np.prod(parts))
        lost = occlusion.occlusion(of_logits(model), name)(variables, batch, jnp.array([0, 2]), start, numbers, count)
        sums = [[np.asarray(values)[numbers == part].sum() for values in expected[name]] for part in range(count)]
        np.testing.assert_allclose(lost, sums, atol=1e-5)


def test_hidden_words_are_left_out() -> None:
    model, variables, batch, _ = built()
    score = of_logits(model)
    classes = jnp.array([0, 2])
    lost = occlusion.occlusion(score, 'text')(variables, batch, classes, None, np.arange(5, dtype=np.int32), 5)
    without = {**batch, 'text_mask': batch['text_mask'] & (np.arange(5) != 1)}
    expected = score(variables, batch, classes) - score(variables, without, classes)
    np.testing.assert_allclose(lost[1], expected, atol=1e-5)
    assert not lost[3:, 1].any()  # There are no words.
