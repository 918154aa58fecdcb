"""Of five kinds of runs: files are predicted from the inputs of evaluation, bit for bit, with its outputs."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.evaluation import runs
from vmmjax.evaluation import new_clips
from vmmjax.experiment import Experiment
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.targets import WindowTimes
from vmmjax.prepare import sources
from vmmjax.prepare.columns import Audio, Rgb
from vmmjax.prepare.sources.clip import Clip
from vmmjax.store.store import Store

CLIPS = 10
WORDS = dict(name='gru', vocab_size=64, embedding_size=4, hidden_size=4)
GRID = {
    'frames and sound in one window': dict(target='digit', seconds=2.0, streams=dict(
        rgb=dict(modality='rgb', frames=8, size=24, region=(0.5, 0.25, 1.0, 0.75)), audio=dict(modality='audio'))),
    'text and frames': dict(target='command', seconds=0.0, encoders=dict(text=WORDS), streams=dict(
        rgb=dict(modality='rgb', frames=4, size=40, sampling='segments'),
        text=dict(modality='text:text', length=8, hide=('command',)))),
    'events': dict(target=('command_start_s', 'adverb_end_s'), seconds=1.0, task=dict(name='events'), streams=dict(
        audio=dict(modality='audio')), model=runs.PER_TOKEN, views=dict(clips=3)),
    'several labels': dict(target='words', seconds=1.5, task=dict(name='multi_label'), streams=dict(
        rgb=dict(modality='rgb', rate=5.0, size=40), audio=dict(modality='audio')))}


@pytest.fixture(scope='module')
def grid(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[Clip]]:
    """Two clips to train on and those to test on, with a column of several labels."""
    folder = tmp_path_factory.mktemp('grid')
    with open(shared_data / 'grid' / 'manifest.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    chosen = [row for row in rows if row['split'] == 'train'][:2]
    chosen += [row for row in rows if row['split'] == 'test'][:CLIPS]
    for row in chosen:
        row['path'] = str(shared_data.resolve() / 'grid' / row['path'])
        row['words'] = f'{row["color"]};{row["preposition"]}'
    with open(folder / 'manifest.csv', 'w', newline='') as file:
        table = csv.DictWriter(file, list(chosen[0]))
        table.writeheader()
        table.writerows(chosen)
    return runs.prepared(folder / 'manifest.csv', folder / 'store', [Rgb(short_side=56), Audio()]), sources.read(
        str(folder / 'manifest.csv'))[2:]


@pytest.mark.slow
@pytest.mark.parametrize('kind', list(GRID))
def test_on_real_clips(kind: str, grid: tuple[Store, list[Clip]], tmp_path: Path) -> None:
    store, clips = grid
    options: dict[str, Any] = GRID[kind]
    check(runs.trained(store, tmp_path / 'run', **options), store, clips)


@pytest.mark.slow
def test_on_the_clips_of_the_demo_and_the_store_is_gone(tmp_path: Path) -> None:
    clips = sources.read('synthetic:motion_sound', generated=tmp_path / 'files', sizes=dict(train=2, test=CLIPS),
                         progress=False)
    (tmp_path / 'manifest.csv').symlink_to(next((tmp_path / 'files').rglob('manifest.csv')))
    store = runs.prepared((tmp_path / 'manifest.csv').resolve(), tmp_path / 'store', [
        Rgb(fps=6.25, short_side=32), Audio()])
    experiment = runs.trained(store, tmp_path / 'run', seconds=2.0, steps=2)
    expected = check(experiment, store, clips[2:])
    # The run's folder alone, in an empty folder.
    (tmp_path / 'elsewhere').mkdir()
    moved = shutil.move(tmp_path / 'run', tmp_path / 'elsewhere' / 'run')
    shutil.rmtree(tmp_path / 'store')
    for told, scores in zip(Experiment.load(moved).predict(clips[2:]), expected, strict=True):
        np.testing.assert_allclose(told.scores, scores, rtol=1e-5, atol=1e-5)


def check(experiment: Experiment, store: Store, clips: Sequence[Clip]) -> np.ndarray:
    """Inputs equal those of the store's test split bit for bit, outputs those of its evaluation; returns the latter."""
    assert len(clips) == CLIPS
    found = list(new_clips.in_groups(experiment, clips, subsets=False, progress=False))
    mine = [_real(_pipeline(experiment, predicted.group.store, 'predict')) for predicted in found]
    theirs = _real(_pipeline(experiment, store, 'test'))
    for key, values in theirs.items():
        if key not in ('id', 'row'):
            np.testing.assert_array_equal(np.concatenate([batch[key] for batch in mine]), values, err_msg=key)
    for stream in experiment.config.data.streams:
        assert theirs[f'present/{stream}'].any(), 'otherwise nothing was compared'
    rows = next(iter(experiment.predictions('test').values()))
    scores = jax.tree.map(lambda *parts: np.concatenate(parts),
                          *(next(iter(predicted.predictions.values())).scores for predicted in found))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5), scores, rows.scores)
    told = [each for predicted in found for each in new_clips.read(experiment, predicted, 3)]
    assert [each.clip for each in told] == [clip.id for clip in clips]
    assert all(each.reading for each in told)
    whole: np.ndarray = rows.scores
    return whole


def _pipeline(experiment: Experiment, store: Store, split: str) -> Pipeline:
    return Pipeline(store, experiment.config.data, split=split, batch_size=4, train=False, seed=0,
                    labels=WindowTimes(store))


def _real(pipeline: Pipeline) -> dict[str, np.ndarray]:
    """Rows of all batches that are no padding."""
    batches = [{key: values[batch['mask'] > 0] for key, values in batch.items()} for batch in pipeline.batches()]
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
