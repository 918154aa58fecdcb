import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.errors import UserError
from vmmjax.training import sharding
from vmmjax.training.views import view

NAMES = ('rgb', 'audio', 'text')


def _keys(name: str) -> tuple[str, ...]:
    return name, f'{name}_mask' if name == 'text' else f'valid/{name}', f'present/{name}'


def _batch(counts: dict[str, int], rows: int = 8) -> dict[str, np.ndarray]:
    """Streams with that many views each; every key has other numbers."""
    keys = [*(key for name in counts for key in _keys(name)), 'target/label', 'mask', 'id', 'row']
    keys += [f'view{k}/{key}' for name, count in counts.items() for k in range(1, count) for key in _keys(name)]
    return {key: np.arange(rows) + 100 * place for place, key in enumerate(keys)}


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(1, 12), min_size=1))
def test_a_view_is_an_ordinary_batch(counts: dict[str, int]) -> None:
    batch = _batch(counts)
    plain = set(_batch(dict.fromkeys(counts, 1)))
    for k in range(max(counts.values())):
        found = view(batch, k)
        assert found.keys() == plain
        for name, count in counts.items():
            for key in _keys(name):
                assert found[key] is batch[f'view{k}/{key}' if 0 < k < count else key]
        for key in ('target/label', 'mask', 'id', 'row'):
            assert found[key] is batch[key]
    with pytest.raises(UserError, match=rf'views to at least {max(counts.values()) + 1}'):
        view(batch, max(counts.values()))


def test_a_view_of_one_is_the_batch_and_views_of_tests_are_kept() -> None:
    batch = _batch({'rgb': 1}) | {'view': np.zeros(8, np.int32)}
    assert view(batch, 0) == batch


def test_views_are_those_of_a_sharded_batch_in_a_compiled_function() -> None:
    batch = _batch({'rgb': 3, 'text': 2})
    rows = sharding.batch_sharding(sharding.make_mesh({'data': 4, 'fsdp': 2}))
    placed = sharding.put(batch, rows)

    @jax.jit
    def both(batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {key: jnp.stack([view(batch, k)[key] for k in range(3)]) for key in view(batch, 0)}

    for key, values in both(placed).items():
        np.testing.assert_array_equal(values, [view(batch, k)[key] for k in range(3)])
    for values in placed.values():
        assert values.sharding == rows
    for shard in view(placed, 2)['row'].addressable_shards:
        np.testing.assert_array_equal(shard.data, batch['row'][shard.index])
