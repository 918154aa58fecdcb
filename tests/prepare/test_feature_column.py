import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.prepare import sources
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Rgb
from vmmjax.prepare.feature_column import Features
from vmmjax.store import feature_files
from vmmjax.store.store import Store


@dataclasses.dataclass(frozen=True)
class Mine(Features):
    endpoint: str = 'rgb/map'
    name: ClassVar[str] = 'mine'


def write(folder, store, windows=3):
    rows = np.repeat(np.arange(len(store))[1:], windows)  # The first clip has none.
    maps = np.stack([np.full((2, 5), row) + np.arange(5) for row in rows]).astype(np.float32)
    maps[:, 1] += 2  # The mean over the middle axis is one more.
    maps += np.tile(np.arange(windows) / 10, len(store) - 1)[:, None, None].astype(np.float32)
    feature_files.begin(folder, dict(stride=0.5))
    feature_files.write(folder / 'all.npz', [{
        'rgb/map': maps, 't_start': np.tile(np.arange(windows) * 0.5, len(store) - 1),
        't_end': np.tile(np.arange(windows) * 0.5 + 0.5, len(store) - 1), 'row': rows, 'id': store.values('id')[rows],
        'split': np.full(len(rows), 'train')}], {})
    return folder


@pytest.mark.slow
def test_extracted_features_become_a_column_that_is_read_like_any_other(manifest, tmp_path):
    clips, path = sources.read(str(manifest)), tmp_path / 'store'
    prepare(clips, path, [Rgb(fps=10, short_side=24)], origin='tiny', processes=1, progress=False)
    folder = write(tmp_path / 'features', Store(path))
    made = prepare(clips, path, [Mine(folder=str(folder))], origin='tiny', processes=1, progress=False)
    assert made.made == ('mine',)
    store = Store(path)
    assert (store.column('mine').rate, store.column('mine').shape) == (2, (5,))
    assert store.column('mine').lengths.tolist() == [0] + [3] * (len(store) - 1)

    config = configs.defaults().data
    config.streams = dict(mine=dict(modality='mine', frames=3))
    config.window.seconds = 1.5
    config.window.start = (0.0, 0.0)
    batch = next(Pipeline(store, config, split='test', batch_size=5, train=False, seed=0).batches())
    expected = batch['id'][:, None, None] + np.arange(5) + 1 + np.arange(3)[:, None] / 10
    np.testing.assert_allclose(batch['mine'], expected, rtol=1e-6)


def test_what_is_no_column_is_refused(tmp_path):
    feature_files.write(tmp_path / 'a.npz', [{'features': np.zeros((1, 2), np.float32), 't_start': np.zeros(1),
                                         't_end': np.ones(1)}], {})
    with pytest.raises(UserError, match='features of files'):
        _ = Mine(folder=str(tmp_path), endpoint='features').shape
    with pytest.raises(UserError, match='holds no features'):
        _ = Mine(folder=str(tmp_path / 'nowhere')).rate
