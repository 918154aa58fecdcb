import numpy as np
import pytest

from vmmjax.evaluation import audit_columns

RNG = np.random.default_rng(0)
DIGIT = np.tile(np.arange(4), 60).astype(str)


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch):
    monkeypatch.setattr(audit_columns, 'PERMUTATIONS', 200)


def test_a_column_that_fixes_half_of_the_target_tells_a_bit():
    parity = np.where(DIGIT.astype(int) % 2, 'odd', 'even')
    first, second = audit_columns.relations({'other': RNG.choice(list('xyz'), 240), 'parity': parity}, DIGIT)
    assert first.column == 'parity'
    assert first.bits == pytest.approx(1, abs=0.02)
    assert first.of == pytest.approx(2, abs=0.02)
    assert first.p < 0.01
    assert second.p > 0.05
    assert second.bits == pytest.approx(second.by_chance, abs=0.03)


def test_combinations_that_never_repeat_are_found():
    a, b = (each.ravel().astype(str) for each in np.meshgrid(np.arange(10), np.arange(12)))
    found, = audit_columns.combinations({'letter': a, 'coin': RNG.choice(list('ht'), 120)}, 'digit', b)[:1]
    assert set(found.columns) >= {'digit', 'letter'}
    assert found.distinct == 120
    assert found.most == 1
    assert found.by_chance < 110
