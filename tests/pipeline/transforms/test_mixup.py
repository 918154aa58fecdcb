from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.pipeline.batches import take
from vmmjax.errors import UserError
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.targets import Names
from vmmjax.pipeline.transforms import mixup
from vmmjax.store.store import Store

STREAMS = {'rgb': {'modality': 'rgb', 'frames': 3, 'size': 16}, 'audio': {'modality': 'audio'}}


CONFIG: dict[str, Any] = {'target': 'label', 'window': {'seconds': 1.5, 'start': None}, 'streams': STREAMS,
                          'dropout': {}, 'views': {}, 'on_damage': 'stop'}


def _pipeline(store_path: Path, batch: int = 16, **augment: Any) -> Pipeline:
    config = {**CONFIG, 'augment': augment}
    return Pipeline(Store(store_path), config, split='train', batch_size=batch, train=True, seed=0)


def test_shares_are_of_the_beta_distribution() -> None:
    draws = np.random.default_rng(0).random((4000, mixup.DRAWS))
    shares, cuts = mixup.shares(draws, 0.4, 0)
    assert not cuts.any()
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.01
    shares, cuts = mixup.shares(draws, 0.2, 1.0)
    assert 0.45 < cuts.mean() < 0.55
    assert stats.kstest(shares[cuts], 'uniform').pvalue > 0.01


@given(share=st.floats(0, 1), place=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)))
def test_cutmix_exchanges_a_square_of_its_share(share: float, place: tuple[float, float]) -> None:
    first, second = np.zeros((2, 20, 20, 3), np.uint8), np.full((2, 20, 20, 3), 9, np.uint8)
    mixup.mix(first, second, np.array([True, False]), share, np.array(place))
    np.testing.assert_array_equal(first + second, 9)
    assert not first[1].any()
    assert abs((first[0] == 9).mean() - share) < 0.08
    sound, other = np.zeros((40, 4), np.float32), np.ones((40, 4), np.float32)
    mixup.mix(sound, other, np.ones(40, bool), share, np.array(place))
    assert abs(sound.mean() - share) < 0.03
    assert np.abs(np.diff(sound[:, 0])).sum() <= 2  # One stretch.


@pytest.mark.parametrize('kind', ['mixup', 'cutmix'])
def test_a_batch_is_that_without_with_its_pairs_mixed(store_path: Path, kind: str) -> None:
    mixed = 0
    for plain, batch in zip(take(_pipeline(store_path), 4), take(_pipeline(store_path, **{kind: 1.0}), 4),
                            strict=True):
        for key in plain:
            if key not in STREAMS:
                np.testing.assert_array_equal(plain[key], batch[key])
        for i in range(0, 16, 2):
            share, partner = batch['mix/weight'][i], batch['mix/target'][i]
            assert share == batch['mix/weight'][i + 1]
            assert partner == plain['target/label'][i + 1]
            same = all(plain[f'present/{name}'][i] == plain[f'present/{name}'][i + 1] for name in STREAMS)
            if not same or -1 in plain['target/label'][i:i + 2]:
                assert share == 0
                for name in STREAMS:
                    np.testing.assert_array_equal(plain[name][i:i + 2], batch[name][i:i + 2])
                continue
            mixed += 1
            for name in STREAMS:
                both = plain[f'valid/{name}'][i] & plain[f'valid/{name}'][i + 1]
                old, new = plain[name][i:i + 2].astype(float), batch[name][i:i + 2]
                np.testing.assert_array_equal(new[:, ~both], old[:, ~both])
                if kind == 'mixup':
                    np.testing.assert_allclose(new[0][both], ((1 - share) * old[0] + share * old[1])[both], atol=0.51)
                np.testing.assert_allclose(new.astype(float).sum(axis=0), old.sum(axis=0), atol=1.01)
    assert mixed > 12


def test_of_several_names_a_clip_each_is_mixed(store_path: Path) -> None:
    store, mixed = Store(store_path), 0
    options: dict[str, Any] = dict(split='train', batch_size=16, train=True, seed=0, labels=Names(store, 'label'))
    plain, batch = (next(Pipeline(store, {**CONFIG, 'augment': augment}, **options).batches())
                    for augment in ({}, {'mixup': 1.0}))
    assert not {'mix/target', 'mix/weight'} & batch.keys()
    for i in range(0, 16, 2):
        old, new = plain['target/label'][i:i + 2], batch['target/label'][i:i + 2]
        np.testing.assert_allclose(new.sum(axis=0), old.sum(axis=0), atol=1e-6)
        if not np.isnan(old).any() and (old[0] != old[1]).any():
            share = (new[0] * old[1]).sum()
            np.testing.assert_allclose(new[0], (1 - share) * old[0] + share * old[1], atol=1e-6)
            mixed += 0 < share < 1
    assert mixed


def test_mixed_clips_do_not_depend_on_processes_or_the_batch_size(store_path: Path) -> None:
    pipeline = _pipeline(store_path, mixup=0.5, cutmix=0.5)
    whole = take(pipeline, 2)
    parts = [take(pipeline, 2, rows=slice(i * 4, i * 4 + 4)) for i in range(4)]
    small = take(_pipeline(store_path, batch=4, mixup=0.5, cutmix=0.5), 8)
    for step, batch in enumerate(whole):
        for key, values in batch.items():
            np.testing.assert_array_equal(values, np.concatenate([part[step][key] for part in parts]))
            if key != 'row':  # A place in a batch of that size.
                together = np.concatenate([part[key] for part in small[4 * step:4 * step + 4]])
                np.testing.assert_array_equal(values, together)


def test_pairs_must_be_whole(store_path: Path) -> None:
    with pytest.raises(UserError, match='the batch size 15 is odd'):
        _pipeline(store_path, batch=15, mixup=1.0)
    with pytest.raises(UserError, match='multiple of twice the number of processes'):
        next(_pipeline(store_path, batch=6, mixup=1.0).batches(rows=slice(0, 3)))
