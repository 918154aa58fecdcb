import dataclasses

import numpy as np
import pytest

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.prepare.array_store import ArrayStore
from vmmjax.store.joined import joined


def store(first, labels, extra=None, **more):
    """A store whose clips hold consecutive numbers, and labels."""
    def split(begin):
        x = np.arange(begin, begin + len(labels), dtype=np.float32)[:, None, None] * np.ones((1, 4, 1), np.float32)
        found = {'x': list(x), 'label': list(labels)}
        return found | ({'y': list(x + 0.5)} if more else {}) | ({extra: list(labels)} if extra else {})

    return ArrayStore({'train': split(first), 'test': split(first + len(labels))}, {'x': 4, **more})


def test_batches_hold_the_clips_of_each_store_by_its_share():
    made = joined(store(0, 'aabb', y=4), [(store(100, 'ccc', 'mood'), 0.25), (store(200, 'cd'), 0.25)])
    assert made.classes('label') == ['a', 'b', 'c', 'd']
    assert [list(made.splits['test']), len(made)] == [[4, 5, 6, 7], 18]
    assert made.values('mood').tolist() == [*[''] * 8, *'cccccc', *[''] * 4]
    assert made.values('row').tolist() == [str(row) for row in range(18)]
    data = configs.defaults().data
    data.window.seconds = 1.0
    data.streams = {name: dict(modality=name) for name in 'xy'}
    pipeline = Pipeline(made, data, split='train', batch_size=16, train=True, seed=0)
    assert '25 % of 3 clips' in pipeline.summary()
    batch = next(pipeline.batches(5))
    number = batch['x'][:, 0, 0]
    assert [((number // 100) == which).sum() for which in range(3)] == [8, 4, 4]
    own = dict(enumerate([0, 1, 2, 3, *[None] * 4, 100, 101, 102, *[None] * 3, 200, 201]))
    assert number.tolist() == [own[row] for row in batch['id'].tolist()]
    np.testing.assert_array_equal(batch['present/y'], number < 100)
    np.testing.assert_array_equal(batch['y'][number < 100, 0, 0], number[number < 100] + 0.5)
    again = next(pipeline.batches(5, slice(4, 12)))
    np.testing.assert_array_equal(again['x'], batch['x'][4:12])
    tested = next(Pipeline(made, data, split='test', batch_size=4, train=False, seed=0).batches())
    assert tested['x'][:, 0, 0].tolist() == [4, 5, 6, 7]


def test_shares_and_columns_that_do_not_fit():
    one, other = store(0, 'ab'), store(10, 'ab')
    for shares in ((0.0,), (0.5, 0.5), (-0.1,)):
        with pytest.raises(UserError, match='all together below 1'):
            joined(one, [(other, share) for share in shares])
    other.columns = {'x': dataclasses.replace(other.columns['x'], rate=8.0)}
    with pytest.raises(UserError, match=r"column 'x' has rate 4\.0 in the store in memory and 8\.0"):
        joined(one, [(other, 0.5)])
    assert joined(one, []) is one
