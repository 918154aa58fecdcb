import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.pipeline import stored_signals
from vmmjax.store.column import InMemory
from vmmjax.store.store import Store

CUT = np.arange(5.0)


@pytest.fixture
def store(films: Path) -> Store:
    return Store(films / 'store')


def test_a_clip_without_sound_or_pictures_has_no_figures_of_them(store: Store) -> None:
    for name, column in store.columns.items():
        store.columns[name] = dataclasses.replace(column, lengths=0 * column.lengths, offsets=0 * column.offsets)
    found = stored_signals.of_segments(store, 0, CUT)
    assert found.keys() == {'motion energy', 'cuts', 'loudness'}
    assert all(np.isnan(values).all() and len(values) == 4 for values in found.values())


@pytest.mark.parametrize('name', ['rgb', 'audio'])
@pytest.mark.parametrize('keep', [0, 1, 40])
def test_a_damaged_record_is_one_sentence(store: Store, name: str, keep: int) -> None:
    column = store.columns[name]
    contents = [record[:keep] for record in column.records(np.arange(column.offsets[-1]))]
    store.columns[name] = dataclasses.replace(column, source=InMemory(contents, name))
    with pytest.raises(UserError, match=rf'column {name} .* is damaged at the clip .*--verify'):
        stored_signals.of_segments(store, 0, CUT)
