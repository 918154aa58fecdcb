"""The clips with the greatest losses, to be looked at: what was said of them, and they themselves, playing."""

import base64
import io
import math
import tempfile
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vmmjax.evaluation.predictions import Predictions
from vmmjax.media import flow
from vmmjax.media.writer import write_clip
from vmmjax.pipeline import options, sampling, stored_frames
from vmmjax.pipeline.text_streams import PREFIX
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.reports import store_page, timeline
from vmmjax.store.column import Column
from vmmjax.store.store import Store, is_remote

_CLIPS = 6
_HEIGHT = 160  # Pixels of a playing clip; pictures and motion stand beside each other.
_QUANTISERS = (30, 38, 46)  # Of H.264, tried until a clip is small enough.
_MOST_BYTES = 500_000  # Of a clip's pictures, and of its sound; a page holds six.
_LOUD = 32767
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


def listed(task: Any, rows: Predictions, store: Store) -> list[dict[str, Any]]:
    """The clips with the greatest losses, the greatest first.

    Args:
      task: a `tasks.Task`.
      rows: with all streams.
      store: the clips'.

    Returns:
      Plain JSON values, empty for a task whose clips have no loss of their own: `clip` (the id in the catalog), `loss`,
      and `told`, `Task.reading`.
    """
    losses = task.losses(rows)
    if losses is None:
        return []
    ranked = np.argsort(-np.nan_to_num(losses, nan=-math.inf), kind='stable')[:_CLIPS].tolist()
    return [{'clip': store.clip(int(rows.id[place])), 'loss': float(losses[place]), 'told': task.reading(rows, place)}
            for place in ranked if np.isfinite(losses[place])]


def shown(found: Sequence[Mapping[str, Any]], store: Store, data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a page shows of them, see `worst_clips.html`; bounded in bytes, whatever the clips are.

    Args:
      found: as `listed` gives them.
      store: the clips'; of those that it does not have there is only what was said.
      data: `config.data` of the run; what its streams read is shown.

    Raises:
      UserError: where a record is damaged.
    """
    places = {clip: row for row, clip in enumerate(store.values('id').tolist())}
    streams = data['streams']
    modalities = list(dict.fromkeys(stream['modality'] for stream in streams.values()))
    columns = [store.columns[name] for name in modalities if name in store.columns]
    texts = [name.removeprefix(PREFIX) for name in modalities if name.startswith(PREFIX)]
    return [{**each, **(_seen(store, places[each['clip']], columns, texts, data) if each['clip'] in places else {})}
            for each in found]


def _seen(store: Store, row: int, columns: Sequence[Column], texts: Sequence[str], data: Mapping[str, Any]
          ) -> dict[str, Any]:
    clip = store_page.clip(store, row, columns)
    # A word whose times are known is no input.
    clip['lanes'] = [lane for lane in clip['lanes'] if lane['kind'] != 'words']
    if columns and (spans := _windows(store, row, data, clip['seconds'])):
        clip['lanes'].insert(0, {'kind': 'windows', 'name': 'window', 'note': 'that the model saw', 'spans': spans})
    return {'seen': clip, 'texts': {name: str(store.values(name)[row]) for name in texts if store.has_values(name)},
            **_playing(store, row, columns, clip['seconds'])}


def _windows(store: Store, row: int, data: Mapping[str, Any], shown_seconds: float) -> list[dict[str, float]]:
    """Where the windows of the views lie, in percent of what is shown; none where they are the whole clip."""
    seconds = float(data['window']['seconds'])
    if not seconds:
        return []
    views = options.read(ViewsConfig, data['views'], 'data.views')
    places = views.windows(np.arange(len(views)))
    starts = np.unique(sampling.window_starts(places, np.full(len(places), store.durations[row]), seconds,
                                              data['window']['start']))
    return [{'left': 100 * start / shown_seconds,
             'width': 100 * (min(start + seconds, shown_seconds) - start) / shown_seconds}
            for start in starts.tolist() if 0 <= start < shown_seconds]


def _playing(store: Store, row: int, columns: Sequence[Column], seconds: float) -> dict[str, Any]:
    """The source of a <video>, or of an <audio> where there are no pictures, and what is in it.

    The sound is that of the store's waveforms, whether or not the run reads them; but what is far away and not read is
    not fetched.
    """
    names = [column.name for column in columns]
    sounds = [column for column in store.columns.values() if column.kind == 'array' and not column.shape
              and (not is_remote(store.name) or column.name in names)]
    sound = next((column for column in sounds if column.lengths[row]), None)
    samples = None if sound is None else stored_frames.array(sound, row, round(seconds * sound.rate))
    # One of each kind, that of the first stream.
    kinds = {column.kind: column for column in reversed(columns) if column.kind != 'array' and column.lengths[row]}
    beside = [kinds[kind] for kind in ('picture', 'flow') if kind in kinds]
    rate = 16000 if sound is None else round(sound.rate)
    if beside:
        frames = np.concatenate([_tile(column, row, seconds, beside[0].rate) for column in beside], axis=2)
        samples = samples if rate in _AAC_RATES else None
        return {'video': video(frames, beside[0].rate, samples, rate), 'holds': [column.name for column in beside]}
    if samples is None or 2 * len(samples) > _MOST_BYTES:
        return {}
    return {'audio': _audio(samples, rate)}


def _tile(column: Column, row: int, seconds: float, rate: float) -> np.ndarray:
    """Pictures of a column at a rate, uint8 (T, _HEIGHT, W, 3), black past its end."""
    count = max(1, math.ceil(seconds * rate - 1e-6))
    wanted = np.floor(np.arange(count) / rate * column.rate + 1e-6).astype(int).tolist()
    frames = stored_frames.pictures(column, row, wanted)
    height, width = column.sizes[row].tolist()
    across = 2 * max(1, round(width * _HEIGHT / height / 2))  # H.264 has even sizes.
    if column.kind == 'flow':
        moved = [None if frame is None else flow.decode(frame) for frame in frames]
        full = timeline.full_colour(moved)
        frames = [None if motion is None else timeline.colours(motion, full) for motion in moved]
    black = np.zeros((_HEIGHT, across, 3), np.uint8)
    return np.stack([black if frame is None else cv2.resize(frame, (across, _HEIGHT), interpolation=cv2.INTER_AREA)
                     for frame in frames])


def video(frames: np.ndarray, fps: float, samples: np.ndarray | None, rate: int) -> str:
    """The source of a <video>, of H.264; empty where it would be too large."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'clip.mp4'
        for quantiser in _QUANTISERS:
            write_clip(path, frames, fps=fps, waveform=samples, rate=rate, quantiser=quantiser, group=len(frames))
            content = path.read_bytes()
            if len(content) <= _MOST_BYTES:
                return f'data:video/mp4;base64,{base64.b64encode(content).decode()}'
    return ''


def _audio(samples: np.ndarray, rate: int) -> str:
    file = io.BytesIO()
    with wave.open(file, 'wb') as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(np.rint(np.clip(samples, -1, 1) * _LOUD).astype('<i2').tobytes())
    return f'data:audio/wav;base64,{base64.b64encode(file.getvalue()).decode()}'
