"""The page of a search: the clips that were found, each with its times, playing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.media import audio, probe, video
from vmmjax.pipeline import stored_frames
from vmmjax.prepare.sources.clip import printable
from vmmjax.reports import players
from vmmjax.reports.templates import templates
from vmmjax.serving.index import Hit
from vmmjax.store.store import Store

_FPS, _RATE = 12.5, 16000  # Of what plays.
_SECONDS = 10.0  # Of a window that play at most.


def write(path: Path, question: str, hits: Sequence[Hit], settings: Mapping[str, Any]) -> None:
    """Writes the page: one file, which needs no network and runs no script.

    A clip whose file or store is no longer there, or damaged, is listed without a player, and the page says why.

    Args:
      path: of the page.
      question: that was asked.
      hits: what was found, the best first.
      settings: of the index.

    Raises:
      UserError: where the page cannot be written.
    """
    environment = templates()
    store, absent = _store(settings['store'])
    shown = []
    for hit in hits:
        try:
            seen = (_of_file(hit) if not settings['store'] else {'why': absent} if store is None else
                    _of_store(hit, store))
        except UserError as error:
            seen = {'why': printable(str(error))}
        shown.append({'hit': hit, **seen})
    page = environment.get_template('search_page.html').render(
        title=printable(question), shown=shown,
        settings={**settings, 'weights': printable(settings['weights'])}, most=_SECONDS)
    try:
        atomic.write(path, page)
    except OSError as error:
        raise UserError(f'{path} cannot be written ({error.strerror}); name another --page.') from error


def _store(name: str) -> tuple[Store | None, str]:
    """The store, or why there is none."""
    try:
        return (Store(name) if name else None), ''
    except UserError as error:
        return None, str(error)


def _of_file(hit: Hit) -> dict[str, str]:
    path, end = Path(hit.path), min(hit.end, hit.start + _SECONDS)
    found = probe.probe(path)
    samples = audio.read_waveform(path, start=hit.start, end=end, rate=_RATE)
    if found.picture_end is None or hit.start >= found.picture_end:
        return {'audio': '' if samples is None else players.audio(samples, _RATE)}
    frames = video.read_frames(path, start=hit.start, end=min(end, found.picture_end), fps=_FPS,
                               short_side=players.HEIGHT)
    return {'video': players.video(np.stack([players.resized(frame) for frame in frames]), _FPS, samples, _RATE)}


def _of_store(hit: Hit, store: Store) -> dict[str, str]:
    rows = np.flatnonzero(store.values('id') == hit.clip)
    if len(rows) != 1:
        return {'why': f'The store {store.name} has no clip {hit.clip!r} any more.'}
    row = int(rows[0])
    start = hit.start - float(store.values('start')[row])
    end = min(hit.end - hit.start, _SECONDS) + start
    there = [column for column in store.columns.values() if column.lengths[row]]
    sound = next((column for column in there if column.kind == 'array' and not column.shape), None)
    samples, rate = None, _RATE
    if sound is not None:
        rate = round(sound.rate)
        with stored_frames.damage(store, sound, row):
            samples = stored_frames.array(sound, row, round(end * rate))[round(start * rate):]
    pictures = next((column for column in there if column.kind == 'picture'), None)
    if pictures is None:
        return {'audio': players.audio(samples, rate)} if samples is not None else {
            'why': 'The store has neither pictures nor a waveform of this clip.'}
    fps = min(_FPS, pictures.rate)
    times = np.arange(start, end, 1 / fps)
    with stored_frames.damage(store, pictures, row):
        frames = stored_frames.pictures(pictures, row, np.floor(times * pictures.rate + 1e-6).astype(int).tolist())
    shown = [players.resized(frame) for frame in frames if frame is not None]
    return {'video': players.video(np.stack(shown), fps, samples, rate)} if shown else {
        'why': 'The clip has no pictures here.'}
