import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.pipeline.batches import assert_equal, take
from vmmjax.errors import UserError
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.transforms import frames
from vmmjax.store.store import Store


@pytest.fixture(scope='module')
def store(store_path: Path) -> Store:
    return Store(store_path)


def _config(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        'target': 'label', 'window': {'seconds': 1.0, 'start': None},
        'streams': {'ramp': {'modality': 'ramp'}},
        'augment': {'crop': 'random', 'color': 0.0, 'flip': 0.0, 'flip_pairs': ()},
        'dropout': {}, 'views': {'clips': 1, 'crops': 1}, 'on_damage': 'stop',
    }
    return config | changes


ALL = {'rgb': {'modality': 'rgb', 'frames': 4, 'size': 16, 'sampling': 'segments'},
       'flow': {'modality': 'flow', 'frames': 4, 'size': 16, 'sampling': 'segments'},
       'slow': {'modality': 'rgb', 'frames': 2, 'size': 20},
       'audio': {'modality': 'audio'}}
BUSY = _config(streams=ALL, dropout={'rgb': 0.3, 'audio': 0.3},
               augment={'crop': 'random', 'color': 0.3, 'flip': 0.5, 'flip_pairs': (('left', 'right'),)})


def _pipeline(store: Store, config: dict[str, Any], *, split: str = 'train', batch: int = 16, train: bool = True,
              seed: int = 0) -> Pipeline:
    return Pipeline(store, config, split=split, batch_size=batch, train=train, seed=seed)


def test_batches_are_as_the_spec_says(store: Store) -> None:
    pipeline = _pipeline(store, BUSY)
    batch, = take(pipeline, 1)
    assert {key: (value.shape, value.dtype) for key, value in batch.items()} == pipeline.spec
    assert pipeline.spec['rgb'] == ((16, 4, 16, 16, 3), np.uint8)
    assert pipeline.spec['flow'] == ((16, 4, 16, 16, 2), np.uint8)
    assert pipeline.spec['audio'] == ((16, 100, 16), np.float32)
    assert pipeline.spec['target/label'] == ((16,), np.int32)
    assert set(pipeline.spec) == {
        *ALL, *(f'valid/{name}' for name in ALL), *(f'present/{name}' for name in ALL), 'target/label', 'mask', 'id',
        'row'}
    assert pipeline.steps == 4
    assert _pipeline(store, BUSY, batch=100).steps == 1
    assert _pipeline(store, BUSY, train=False).steps == 5


@pytest.mark.parametrize('processes', [1, 2, 4])
def test_batches_do_not_depend_on_the_number_of_processes(store: Store, processes: int) -> None:
    whole = take(_pipeline(store, BUSY), 3)
    size = 16 // processes
    parts = [take(_pipeline(store, BUSY), 3, rows=slice(i * size, (i + 1) * size)) for i in range(processes)]
    for step, batch in enumerate(whole):
        assert_equal({key: np.concatenate([part[step][key] for part in parts]) for key in batch}, batch)


def test_a_run_goes_on_at_any_step(store: Store) -> None:
    whole = take(_pipeline(store, BUSY), 12)
    for step in (1, 5, 11):
        assert_equal(take(_pipeline(store, BUSY), 1, start_step=step)[0], whole[step])
    evaluation = list(_pipeline(store, BUSY, train=False).batches())
    assert len(evaluation) == 5
    assert_equal(next(_pipeline(store, BUSY, train=False).batches(start_step=3)), evaluation[3])


def test_a_clip_does_not_depend_on_the_batch_size(store: Store) -> None:
    small = take(_pipeline(store, BUSY, batch=4), 12)
    large = take(_pipeline(store, BUSY, batch=16), 3)
    for step, batch in enumerate(large):
        parts = small[4 * step:4 * step + 4]
        together = {key: np.concatenate([part[key] for part in parts]) for key in batch}
        np.testing.assert_array_equal(together['row'], np.tile(np.arange(4), 4))
        assert_equal(together | {'row': batch['row']}, batch)


@pytest.mark.parametrize(('split', 'first', 'count'), [('train', 0, 70), ('test', 79, 5)])
def test_every_row_once_an_epoch(store: Store, split: str, first: int, count: int) -> None:
    ids = np.concatenate([batch['id'] for batch in take(_pipeline(store, _config(), split=split, batch=7), 30)])
    epochs = ids[:count * (len(ids) // count)].reshape(-1, count)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(first, first + count), (len(epochs), 1)))
    assert len(np.unique(epochs, axis=0)) > 0.7 * len(epochs)


@pytest.mark.parametrize('train', [True, False])
def test_row_is_the_place_in_the_global_batch(store: Store, train: bool) -> None:
    for rows in (None, slice(3, 7), slice(15, 16)):
        for batch in take(_pipeline(store, _config(), train=train), 5, rows=rows):  # In evaluation the last is padded.
            assert batch['row'].dtype == np.int32
            np.testing.assert_array_equal(batch['row'], np.arange(16)[rows or slice(None)])


def test_seeds_give_other_orders(store: Store) -> None:
    one, other = (take(_pipeline(store, _config(), seed=seed), 1)[0] for seed in (0, 1))
    assert (one['id'] != other['id']).any()


def test_evaluation_is_in_order_and_padded(store: Store) -> None:
    batches = list(_pipeline(store, BUSY, split='validation', batch=4, train=False).batches())
    assert len(batches) == 3
    ids = np.concatenate([batch['id'] for batch in batches])
    np.testing.assert_array_equal(ids, [*range(70, 79), -1, -1, -1])
    np.testing.assert_array_equal(np.concatenate([batch['mask'] for batch in batches]), [1] * 9 + [0] * 3)
    last = {key: value[1:] for key, value in batches[-1].items()}
    np.testing.assert_array_equal(last['target/label'], -1)
    for name in ALL:
        assert not last[name].any()
        assert not last[f'valid/{name}'].any()
        assert not last[f'present/{name}'].any()


def test_targets(store: Store) -> None:
    pipeline = _pipeline(store, _config(), batch=70, train=False)
    batch, = pipeline.batches()
    codes = {name: code for code, name in enumerate(pipeline.classes)} | {'': -1}
    np.testing.assert_array_equal(batch['target/label'], [codes[value] for value in store.values('label')[:70]])
    assert (batch['target/label'] == -1).sum() == 1


def test_frames_are_those_of_the_window_and_masked_past_the_end(store: Store) -> None:
    config = _config(window={'seconds': 2.0, 'start': (0.3, 0.3)})
    batch, = _pipeline(store, config, batch=70, train=False).batches()
    lengths = store.columns['ramp'].lengths
    numbers = [int(name[1:]) for name in store.values('name')]
    for row in range(70):
        for place, frame in enumerate(range(3, 23)):
            inside = frame < lengths[row]
            assert batch['valid/ramp'][row, place] == inside
            np.testing.assert_array_equal(batch['ramp'][row, place], (numbers[row], frame) if inside else (0, 0))
    np.testing.assert_array_equal(batch['present/ramp'], lengths[:70] > 3)


def test_sampled_windows_in_training(store: Store) -> None:
    config = _config(window={'seconds': 0.8, 'start': None}, streams={
        'ramp': {'modality': 'ramp', 'frames': 4, 'sampling': 'segments'},
        'order': {'modality': 'ramp', 'frames': 4, 'sampling': 'shuffled'}})
    lengths = store.columns['ramp'].lengths
    starts = set()
    for batch in take(_pipeline(store, config), 20):
        assert batch['valid/ramp'].all()  # Windows lie inside; no clip is shorter.
        frames = batch['ramp'][..., 1]
        assert (frames < lengths[batch['id'], None]).all()
        assert (np.diff(frames, axis=1) >= 0).all()
        assert (np.diff(frames, axis=1) <= 4).all()
        shuffled = batch['order'][..., 1]
        np.testing.assert_allclose(np.diff(np.sort(shuffled, axis=1), axis=1), 2)
        starts |= set(frames[:, 0].tolist())
    assert len(starts) > 12


def test_what_is_absent_is_zero_and_said_so(store: Store) -> None:
    batch, = _pipeline(store, _config(streams=ALL), batch=70, train=False).batches()
    silent = store.columns['audio'].lengths[:70] == 0
    assert silent.any()
    np.testing.assert_array_equal(batch['present/audio'], ~silent)
    assert not batch['valid/audio'][silent].any()
    assert not batch['audio'][silent].any()
    assert batch['present/rgb'].all()
    rows = slice(int(np.flatnonzero(silent)[0]), int(np.flatnonzero(silent)[0]) + 1)
    alone, = _pipeline(store, _config(streams=ALL), batch=70, train=False).batches(rows=rows)  # Nothing to parse.
    assert_equal(alone, {key: value[rows] for key, value in batch.items()})


def test_pictures_are_the_stored_ones(store: Store) -> None:
    streams = {'gradient': {'modality': 'gradient', 'frames': 4, 'size': 10, 'region': (0.5, 0.25, 1.0, 1.0)}}
    config = _config(window={'seconds': 0.4, 'start': (0.2, 0.2)}, streams=streams)
    batch = next(iter(_pipeline(store, config, batch=4, split='test', train=False).batches()))
    # The region is rows 20 to 40 and columns 12 to 48; the centre crop begins at 25 and 25.
    expected = np.zeros((4, 10, 10, 3))
    expected[..., 0] = 5 * (25 + np.arange(10))
    expected[..., 1] = 5 * (25 + np.arange(10))[:, None]
    expected[..., 2] = 5 * np.arange(2, 6)[:, None, None]
    np.testing.assert_allclose(batch['gradient'], np.tile(expected, (4, 1, 1, 1, 1)), atol=4)


def test_crops_are_shared_by_the_streams_of_a_clip_and_lie_in_their_region(store: Store) -> None:
    region = (0.5, 0.0, 1.0, 0.5)
    streams = {'gradient': {'modality': 'gradient', 'frames': 1, 'size': 12, 'region': region},
               'drift': {'modality': 'drift', 'frames': 1, 'size': 12, 'region': region}}
    corners = []
    for batch in take(_pipeline(store, _config(streams=streams)), 8):
        corner = np.round(batch['gradient'][:, 0, 0, 0, 1::-1] / 5.0)
        codes = batch['drift'][:, 0, 0, 0, ::-1] / 3
        np.testing.assert_allclose(corner, codes, atol=1)
        corners.append(codes)
    rows, columns = np.concatenate(corners).T
    assert set(rows) == set(range(20, 29))
    assert set(columns) == set(range(13))


def test_a_flip_mirrors_turns_motion_round_and_swaps_labels(store: Store) -> None:
    streams = {'gradient': {'modality': 'gradient', 'frames': 2, 'size': 16},
               'drift': {'modality': 'drift', 'frames': 2, 'size': 16}}
    plain = _config(streams=streams)
    flipping = copy.deepcopy(plain)
    flipping['augment'] |= {'flip': 0.5, 'flip_pairs': (('left', 'right'),)}
    flips = 0
    for before, after in zip(take(_pipeline(store, plain), 6), take(_pipeline(store, flipping), 6), strict=True):
        np.testing.assert_array_equal(before['id'], after['id'])
        for i in range(16):
            label, new = before['target/label'][i], after['target/label'][i]
            if np.array_equal(before['gradient'][i], after['gradient'][i]):
                np.testing.assert_array_equal(before['drift'][i], after['drift'][i])
                assert new == label
                continue
            flips += 1
            np.testing.assert_array_equal(before['gradient'][i][:, :, ::-1], after['gradient'][i])
            np.testing.assert_array_equal(255 - before['drift'][i][:, :, ::-1, 0], after['drift'][i][..., 0])
            np.testing.assert_array_equal(before['drift'][i][:, :, ::-1, 1], after['drift'][i][..., 1])
            assert new == {0: 1, 1: 0, 2: 2, -1: -1}[label]
    assert 30 < flips < 66


def test_frames_that_are_not_there_stay_zero_when_colours_change(store: Store) -> None:
    config = copy.deepcopy(BUSY)
    config['window'] = {'seconds': 3.0, 'start': (0.0, 0.5)}
    for batch in take(_pipeline(store, config), 4):
        for name in ('rgb', 'flow'):
            assert not batch[f'valid/{name}'].all()
            assert not batch[name][~batch[f'valid/{name}']].any()
            assert batch[name][batch[f'valid/{name}']].any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(('size', 'region', 'share'), [
    (8, (0.0, 0.0, 1.0, 1.0), '8 %'), (16, (0.0, 0.0, 1.0, 1.0), ''), (8, (0.5, 0.5, 1.0, 1.0), '')])
def test_a_crop_that_sees_little_of_the_pictures_is_told_of(store: Store, caplog: pytest.LogCaptureFixture, size: int,
                                                            region: tuple[float, ...], share: str) -> None:
    stream = {'modality': 'rgb', 'frames': 4, 'size': size, 'region': region}
    pipeline = _pipeline(store, _config(streams={'rgb': stream, 'ramp': {'modality': 'ramp'}}))
    _pipeline(store, _config(streams={'rgb': stream}), train=False)  # Once a run.
    assert len(caplog.records) == bool(share)
    assert f"'rgb' crops 8 x 8 pixels, {share} of its region" in caplog.text or not share
    assert f'% of it -> (4, {size}, {size}, 3)' in pipeline.summary()


def test_dropout_is_of_training_only_and_leaves_one_stream(store: Store) -> None:
    config = _config(streams={name: ALL[name] for name in ('rgb', 'audio')}, dropout={'rgb': 0.6, 'audio': 0.6})
    present = np.concatenate([np.stack([batch['present/rgb'], batch['present/audio']], 1)
                              for batch in take(_pipeline(store, config), 20)])
    assert present.any(axis=1).all()
    assert 0.3 < present[:, 0].mean() < 0.8
    batch, = _pipeline(store, config, batch=70, train=False).batches()
    assert batch['present/rgb'].all()


def _changed(part: str, **options: Any) -> dict[str, Any]:
    config = copy.deepcopy(BUSY)
    config[part] |= options
    return config


@pytest.mark.parametrize(('config', 'said'), [
    (_config(target='lable'), "did you mean 'label'"),
    (_config(streams={'depth': {'modality': 'depth'}}), '--columns=depth'),
    (_config(streams={'rgb': {'modality': 'rgb', 'frames': 4}}), 'needs a size'),
    (_config(streams={'rgb': {'modality': 'rgb', 'frames': 4, 'size': 25}}), r'\(24 x 32\) leaves 24'),
    (_config(streams={'rgb': {'modality': 'rgb', 'frames': 4, 'size': 16, 'region': (0.5, 0, 1, 1)}}), 'leaves 12'),
    (_config(streams={'rgb': {'modality': 'rgb', 'frame': 4, 'size': 16}}), "did you mean 'frames'"),
    (_config(streams={'rgb': {'frames': 4}}), 'has no modality'),
    (_config(streams={'ramp': {'modality': 'ramp', 'frames': 4, 'sampling': 'dens'}}), "did you mean 'dense'"),
    (_config(streams={}), 'no streams'),
    (_config(streams={'row': {'modality': 'ramp'}}), "a stream 'row', which is another key"),
    (_changed('augment', colour=0.1), "did you mean 'color'"),
    (_changed('augment', flip_pairs=(('left', 'rigth'),)), "did you mean 'right'"),
    (_changed('augment', crop='multiscale'), "did you mean 'multi_scale'"),
    (_changed('augment', erase=2.0), 'probability'),
    (_changed('window', seconds=0), 'set data.streams.audio.frames'),
    (_config(window={'seconds': 0, 'start': (0.0, 1.0)}), 'leave data.window.start out'),
    (_config(streams={'ramp': {'modality': 'ramp', 'frames': 4, 'rate': 5}}), 'set one of them'),
    (_config(streams={'ramp': {'modality': 'ramp', 'rate': 50}}), 'at most the 10 frames'),
    (_config(streams={'ramp': {'modality': 'ramp', 'noise': 'white'}}), 'has shape'),
    (_config(streams={'ramp': {'modality': 'ramp', 'noise': 'babbel'}}), "did you mean 'babble'"),
    (_changed('dropout', adio=0.1), "did you mean 'audio'"),
])
def test_misnamed_configs(store: Store, config: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        _pipeline(store, config)


def test_a_split_that_is_not_there(store: Store) -> None:
    with pytest.raises(UserError, match="did you mean 'train'"):
        _pipeline(store, _config(), split='trian')


@pytest.mark.parametrize('threads', [1, 2, 7])
def test_batches_do_not_depend_on_threads(store: Store, threads: int) -> None:
    few = Pipeline(store, BUSY, split='train', batch_size=16, train=True, seed=0, threads=threads)
    for one, other in zip(take(few, 4), take(_pipeline(store, BUSY), 4), strict=True):
        assert_equal(one, other)


@pytest.mark.slow
def test_a_program_that_still_holds_batches_ends(store_path: Path) -> None:
    program = '\n'.join([
        'from vmmjax.pipeline.pipeline import Pipeline', 'from vmmjax.store.store import Store',
        f'store = Store({str(store_path)!r})',
        f'pipeline = Pipeline(store, {_config()!r}, split="train", batch_size=4, train=True, seed=0)',
        'batches = pipeline.batches()', 'print(next(batches)["id"].shape)'])
    found = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=100, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout == '(4,)\n'


def test_windows_of_whole_clips(store: Store) -> None:
    config = _config(window={'seconds': 0, 'start': None}, views={'clips': 2, 'crops': 1}, streams={
        'ramp': {'modality': 'ramp', 'frames': 4, 'sampling': 'segments'}})
    batch, = _pipeline(store, config, batch=140, train=False).batches()
    lengths = store.columns['ramp'].lengths[:70]
    np.testing.assert_array_equal(batch['id'], np.repeat(np.arange(70), 2))
    np.testing.assert_array_equal(batch['view'], np.tile([0, 1], 70))
    np.testing.assert_array_equal(batch['ramp'][::2, :, 1], np.floor((np.arange(4) + 0.5) / 4 * lengths[:, None]))
    np.testing.assert_array_equal(batch['ramp'][1::2, :, 1], np.floor(np.arange(4) / 4 * lengths[:, None]))
    assert batch['valid/ramp'].all()


def test_a_stream_has_the_rate_it_asks_for(store: Store) -> None:
    config = _config(window={'seconds': 0.8, 'start': (0.0, 0.0)}, streams={'ramp': {'modality': 'ramp', 'rate': 5}})
    batch, = _pipeline(store, config, batch=70, train=False).batches()
    np.testing.assert_array_equal(batch['ramp'][..., 1], np.tile([1, 3, 5, 7], (70, 1)))


def test_stacked_motion_is_that_of_the_frames_that_follow(store: Store) -> None:
    window = {'seconds': 0.6, 'start': (0.1, 0.1)}
    stacked = _config(window=window, streams={
        'flow': {'modality': 'flow', 'frames': 2, 'stack': 3, 'size': 16, 'sampling': 'strided'}})
    single = _config(window=window, streams={'flow': {'modality': 'flow', 'frames': 6, 'size': 16}})
    for one, other in zip(_pipeline(store, stacked, train=False).batches(),
                          _pipeline(store, single, train=False).batches(), strict=True):
        # Stacks begin at places 0 and 2 of the window's 6: the last of them ends with the window.
        expected = np.stack([other['flow'][:, i:i + 3] for i in (0, 2)], axis=1)
        np.testing.assert_array_equal(one['flow'], np.moveaxis(expected, 2, 4).reshape(one['flow'].shape))
        np.testing.assert_array_equal(one['valid/flow'], other['valid/flow'][:, [2, 4]])


def test_a_batch_of_views_is_that_of_each_window_and_crop(store: Store) -> None:
    streams = {'gradient': {'modality': 'gradient', 'frames': 2, 'size': 20}}
    config = _config(window={'seconds': 0.4, 'start': None}, streams=streams, views={'clips': 3, 'crops': 3})
    pipeline = _pipeline(store, config, split='test', batch=7, train=False)
    assert pipeline.steps == 7
    batches = list(pipeline.batches())
    found = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    np.testing.assert_array_equal(found['id'], [*np.repeat(np.arange(79, 84), 9), *[-1] * 4])
    np.testing.assert_array_equal(found['view'][:45], np.tile(np.arange(9), 5))
    corners = np.round(found['gradient'][:45, 0, 0, 0] / 5.0).reshape(5, 3, 3, 3)
    # 40 x 48 pixels, to what JPEG keeps: all three are in the middle of the short side.
    assert (abs(corners[..., 1] - 10) <= 1).all()
    np.testing.assert_allclose(corners[..., 0], np.tile([0, 28, 14], (5, 3, 1)), atol=1)
    for clip, row in enumerate(range(79, 84)):
        first = np.array([0, (store.durations[row] - 0.4) / 2, store.durations[row] - 0.4]) + 0.1
        np.testing.assert_allclose(corners[clip, :, 0, 2], np.floor(first * 10 + 1e-6), atol=1)


def test_crops_that_are_resized_are_the_same_for_pictures_and_motion(store: Store) -> None:
    streams = {'gradient': {'modality': 'gradient', 'frames': 1, 'size': 20},
               'drift': {'modality': 'drift', 'frames': 1, 'size': 20}}
    config = _config(streams=streams)
    for crop in ('multi_scale', 'resized'):
        config['augment'] = {'crop': crop}
        scales = []
        for batch in take(_pipeline(store, config), 4):
            # The gradient's slope is the side of the box over that of the crop; motion of code 3 * column, scaled.
            place = batch['gradient'][:, 0].astype(float)
            slope = (place[:, 0, 19, 0] - place[:, 0, 0, 0]) / 5 / 19
            column = place[:, 10, 10, 0] / 5
            expected = (3 * column - 127.5) / slope + 127.5
            np.testing.assert_allclose(batch['drift'][:, 0, 10, 10, 0], np.clip(expected, 0, 255), atol=9)
            scales += slope.round(1).tolist()
        assert len(set(scales)) > 3


def test_noise_is_a_clips_own_in_evaluation_and_fresh_in_training(sounds: Store) -> None:
    def config(**noise: Any) -> dict[str, Any]:
        return _config(window={'seconds': 1.0, 'start': (0.0, 0.0)}, streams={
            'waveform': {'modality': 'waveform', 'snr': (3.0, 3.0), **noise}})

    for kind in ('white', 'babble'):
        clean, = _pipeline(sounds, config(), batch=70, train=False).batches()
        noisy, = _pipeline(sounds, config(noise=kind), batch=70, train=False).batches()
        again = np.concatenate([batch['waveform'] for batch in
                                _pipeline(sounds, config(noise=kind), batch=14, train=False).batches()])
        np.testing.assert_array_equal(noisy['waveform'], again)
        valid = clean['valid/waveform']
        audible = np.where(valid, clean['waveform'], 0).any(axis=1)
        assert audible.sum() > 50
        power = [np.square(x, dtype=np.float64).sum(axis=1)[audible] for x in (
            clean['waveform'], noisy['waveform'] - clean['waveform'])]
        np.testing.assert_allclose(10 * np.log10(power[0] / power[1]), 3, atol=0.01)
        assert not noisy['waveform'][~valid].any()
        epochs = take(_pipeline(sounds, config(noise=kind), batch=70), 2)
        first, second = (batch['waveform'][np.argsort(batch['id'])] for batch in epochs)
        assert (abs(first - second).max(axis=1) > 0)[audible].all()


def test_texts_are_streams_of_the_catalog(store: Store) -> None:
    streams = {'audio': {'modality': 'audio'}, 'words': {'modality': 'text:label', 'length': 4}}
    config = _config(streams=streams)
    pipeline = _pipeline(store, config, batch=70, train=False)
    batch, = pipeline.batches()
    assert {key: (value.shape, value.dtype) for key, value in batch.items()} == pipeline.spec
    vocabulary = pipeline.texts['words'].vocabulary
    for word, mask, label in zip(batch['words'], batch['words_mask'], store.values('label')[:70], strict=True):
        assert [vocabulary[i] for i in word[mask]] == ([label] if label else [])
    np.testing.assert_array_equal(batch['present/words'], store.values('label')[:70] != '')
    dropped = take(_pipeline(store, config | {'dropout': {'words': 0.5}}), 6)
    gone = np.concatenate([~batch['present/words'] & (batch['target/label'] >= 0) for batch in dropped])
    assert 0.3 < gone.mean() < 0.6
    for batch in dropped:
        assert not batch['words'][~batch['present/words']].any()
        assert not batch['words_mask'][~batch['present/words']].any()


def test_everything_at_once_does_not_depend_on_the_batch(sounds: Store) -> None:
    config = copy.deepcopy(BUSY)
    config['streams'] |= {'waveform': {'modality': 'waveform', 'noise': 'babble', 'snr': (0.0, 10.0)}}
    config['augment'] = {'crop': 'resized', 'color': 0.2, 'flip': 0.5, 'rand_augment': (2, 5.0), 'erase': 0.5,
                         'mixup': 0.3, 'cutmix': 1.0, 'time_shift': 0.1, 'spec_augment': (1, 10, 1, 4)}
    whole = take(_pipeline(sounds, config), 4)
    for name in ALL:
        assert not any(batch[name][~batch[f'valid/{name}']].any() for batch in whole)
    for step, batch in enumerate(whole):
        assert_equal(take(_pipeline(sounds, config), 1, start_step=step)[0], batch)
    parts = [take(_pipeline(sounds, config), 4, rows=slice(i * 4, i * 4 + 4)) for i in range(4)]
    small = take(_pipeline(sounds, config, batch=4), 16)
    for step, batch in enumerate(whole):
        assert_equal({key: np.concatenate([part[step][key] for part in parts]) for key in batch}, batch)
        together = {key: np.concatenate([part[key] for part in small[4 * step:4 * step + 4]]) for key in batch}
        assert_equal(together | {'row': batch['row']}, batch)


def test_summary_names_the_stages(store: Store) -> None:
    lines = _pipeline(store, BUSY).summary().splitlines()
    assert [line.split()[0] for line in lines] == [
        'rows', 'window', *['stream'] * 4, 'augment', 'dropout', 'target', 'damage']


def test_views_are_checked(store: Store) -> None:
    for views, said in (({'clips': 0}, 'at least 1'), ({'crops': 4}, 'choose one of 1, 3, 5, 10'),
                        ({'crop': 3}, "did you mean 'crops'"), ({'crops': 10}, 'flip_pairs'),
                        ({'average': 'logit'}, "did you mean 'logits'")):
        with pytest.raises(UserError, match=said):
            _pipeline(store, BUSY | {'views': views}, train=False)


def test_pixels_are_those_of_opencv(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = take(_pipeline(store, BUSY), 1)[0]
    monkeypatch.setattr(frames, 'decode_jpeg', lambda encoded, *_, **__: cv2.imdecode(
        np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB))
    assert_equal(take(_pipeline(store, BUSY), 1)[0], fast)
