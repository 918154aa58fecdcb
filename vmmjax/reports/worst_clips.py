"""The clips with the greatest losses, to be looked at: what was said of them, and they themselves, playing."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vmmjax.evaluation.predictions import Predictions
from vmmjax.media import flow
from vmmjax.pipeline import options, sampling, stored_frames
from vmmjax.pipeline.text_streams import PREFIX
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.reports import overlays, players, sentences, store_page, timeline
from vmmjax.serving.explanation import Explanation
from vmmjax.store.column import Column
from vmmjax.store.store import Store, columns_at_hand

_CLIPS = 6


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


def shown(found: Sequence[Mapping[str, Any]], store: Store, data: Mapping[str, Any],
          explain: Callable[[Store, int], Explanation] | None = None) -> list[dict[str, Any]]:
    """What a page shows of them, see `worst_clips.html`; bounded in bytes, whatever the clips are.

    Args:
      found: as `listed` gives them.
      store: the clips'; of those that it does not have there is only what was said.
      data: `config.data` of the run; what its streams read is shown.
      explain: of a row of the store, maps that are drawn beside the clip, such as `Explainer.of_row`; None for none.

    Raises:
      UserError: where a record is damaged.
    """
    places = {clip: row for row, clip in enumerate(store.values('id').tolist())}
    streams = data['streams']
    modalities = list(dict.fromkeys(stream['modality'] for stream in streams.values()))
    columns = [store.columns[name] for name in modalities if name in store.columns]
    texts = [name.removeprefix(PREFIX) for name in modalities if name.startswith(PREFIX)]
    made = []
    for each in found:
        row = places.get(each['clip'])
        seen = {} if row is None else _seen(each, store, row, columns, texts, data)
        maps = {} if row is None or explain is None else {'maps': _maps(explain(store, row))}
        made.append({**each, **seen, **maps})
    return made


def _seen(each: Mapping[str, Any], store: Store, row: int, columns: Sequence[Column], texts: Sequence[str],
          data: Mapping[str, Any]) -> dict[str, Any]:
    clip = store_page.clip(store, row, columns)
    # A word whose times are known is no input.
    clip['lanes'] = [lane for lane in clip['lanes'] if lane['kind'] != 'words']
    spans = _windows(store, row, data, clip['seconds'])
    whole = {'left': 0.0, 'width': 100 * clip['duration'] / clip['seconds']}
    clip['lanes'] += sentences.lanes(each, spans[0] if spans else whole)
    if columns and spans:
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
    sounds = [column for column in columns_at_hand(store, names).values()
              if column.kind == 'array' and not column.shape]
    sound = next((column for column in sounds if column.lengths[row]), None)
    samples = None
    if sound is not None:
        with stored_frames.damage(store, sound, row):
            samples = stored_frames.array(sound, row, round(seconds * sound.rate))
    # One of each kind, that of the first stream.
    kinds = {column.kind: column for column in reversed(columns) if column.kind != 'array' and column.lengths[row]}
    beside = [kinds[kind] for kind in ('picture', 'flow') if kind in kinds]
    rate = 16000 if sound is None else round(sound.rate)
    if beside:
        tiles = []
        for column in beside:
            with stored_frames.damage(store, column, row):
                tiles.append(_tile(column, row, seconds, beside[0].rate))
        frames = np.concatenate(tiles, axis=2)
        return {'video': players.video(frames, beside[0].rate, samples, rate),
                'holds': [column.name for column in beside]}
    source = '' if samples is None else players.audio(samples, rate)
    return {'audio': source} if source else {}


def _maps(found: Explanation) -> list[dict[str, Any]]:
    """Of each map that has places, or a spectrum below it: what it is, and the source of its <video> or <img>."""
    made = []
    for each in found.maps:
        seen = found.seen[each.stream]
        told = {'stream': each.stream, 'method': each.method, 'at': each.at, 'named': found.named,
                'standing': each.standing, 'full': overlays.scale(each.values), 'video': '', 'image': ''}
        if isinstance(seen, np.ndarray) and seen.ndim == 5 and each.values.ndim == 4:
            frames = np.concatenate([overlays.film(window, {each.method: values})
                                     for window, values in zip(seen, each.values, strict=True)])
            made.append({**told, 'video': players.video(frames, max(1.0, seen.shape[1] / found.length), None, 0)})
        elif isinstance(seen, np.ndarray) and seen.ndim == 3:
            values = each.values.reshape(-1, *each.values.shape[2:])
            picture = overlays.spectrum(seen.reshape(-1, seen.shape[-1]), values)
            made.append({**told, 'image': f'data:image/png;base64,{base64.b64encode(picture).decode()}'})
    return made


def _tile(column: Column, row: int, seconds: float, rate: float) -> np.ndarray:
    """Pictures of a column at a rate, uint8 (T, players.HEIGHT, W, 3), black past its end."""
    count = max(1, math.ceil(seconds * rate - 1e-6))
    wanted = np.floor(np.arange(count) / rate * column.rate + 1e-6).astype(int).tolist()
    frames = stored_frames.pictures(column, row, wanted)
    height, width = column.sizes[row].tolist()
    if column.kind == 'flow':
        moved = [None if frame is None else flow.decode(frame) for frame in frames]
        full = timeline.full_colour(moved)
        frames = [None if motion is None else timeline.colours(motion, full) for motion in moved]
    black = np.zeros((height, width, 3), np.uint8)
    return np.stack([players.resized(black if frame is None else frame) for frame in frames])
