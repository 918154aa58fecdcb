"""What a page shows of a file that was sent to it: probabilities over time, its sound, and what they rest on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.evaluation import new_clips, prediction_lines
from vmmjax.evaluation.prediction_lines import ClipPrediction
from vmmjax.experiment import Experiment
from vmmjax.media.probe import MediaError
from vmmjax.media.writer import write_clip
from vmmjax.pipeline.windows import WindowSpec
from vmmjax.prepare import catalog_builder, shards
from vmmjax.prepare.audio_columns import Audio, Waveform
from vmmjax.prepare.sources.clip import of_file
from vmmjax.reports import overlays, timeline
from vmmjax.serving.explain import Explainer
from vmmjax.serving.explanation import Explanation, Map
from vmmjax.serving.web.jobs import Found
from vmmjax.store.catalog import ClipInfo
from vmmjax.tasks import alarms

LONGEST = 600.0
"""Seconds of a file at most."""
_MOST_PIXELS = 17e9  # Of all pictures of a file: those of 10 minutes of 1280 x 720 at 30 a second.
_NAMED = 5  # Classes.
_CURVES = 8  # Those with the highest values.
_METHOD = 'hirescam'
_RATE = 16000  # Of the sound that is shown.


class ServedClip:
    """Judges and explains files with a run; what it has compiled serves them all. See `web.jobs.Work`."""

    def __init__(self, run: Experiment, cut: WindowSpec) -> None:
        """Takes a loaded run.

        Args:
          run: with its parameters.
          cut: how files are cut for what is said over time.
        """
        self._run, self._cut = run, cut
        self._explainer: Explainer | None = None
        self._unexplained = ''
        try:
            self._explainer = Explainer(run, methods=('streams', _METHOD))
        except UserError as error:
            self._unexplained = str(error)

    def __call__(self, path: Path, name: str, folder: Path) -> Found:
        """Judges a file.

        Args:
          path: of the file.
          name: that is shown of it.
          folder: for the pictures and videos of the explanation.

        Raises:
          UserError: where it cannot be read, lasts longer than `LONGEST`, has too many pixels, has nothing that the run
            reads, or where the scores are not finite.
        """
        probe = catalog_builder.probed(path)
        if isinstance(probe, str):
            raise MediaError(path, probe)
        if probe.duration > LONGEST:
            raise MediaError(path, f'it lasts {probe.duration:.0f} s, and the page takes {LONGEST:.0f} s at most; cut '
                                   f'it, or let `vmmjax predict --timeline` read all of it')
        pixels = (probe.width or 0) * (probe.height or 0) * (probe.fps or 0.0) * (probe.picture_end or 0.0)
        if pixels > _MOST_PIXELS:
            raise MediaError(path, f'its pictures of {probe.width} x {probe.height} are {pixels / _MOST_PIXELS:.1f} '
                                   f'times as many as one file may keep the page busy with; cut it or make them '
                                   f'smaller, or let `vmmjax predict` read it')
        clip = of_file(path, id=name)
        whole, = self._run.predict([clip], most=_NAMED)
        if whole.error:
            raise UserError(whole.error)
        parts = list(new_clips.windows(self._run, clip, self._cut, most=_NAMED))
        view: dict[str, Any] = {'name': name, 'seconds': probe.duration, 'present': dict(whole.present),
                                'predicted': whole.to_json()['predicted'], 'damage': probe.damage,
                                **self._over_time(whole, parts),
                                'lanes': _sound(path, probe.duration, probe.audio_rate)}
        prediction = {**prediction_lines.as_json(whole, 'video'),
                      'windows': [prediction_lines.as_json(part, 'video') for part in parts],
                      'over_time': view['curves'], 'explanation': None}
        files: dict[str, Path] = {}
        view['explanation'], view['unexplained'] = None, self._unexplained
        if self._explainer is not None:
            try:
                found = self._explainer(clip)
            except UserError as error:  # What is predicted stands without it.
                view['unexplained'] = str(error)
            else:
                prediction['explanation'] = found.to_json()
                view['explanation'], files = _explained(found, folder)
        return Found(view, prediction, files)

    def _over_time(self, whole: ClipPrediction, parts: Sequence[ClipPrediction]) -> dict[str, Any]:
        """The values of the outputs by moments [start, end, value], those first that are highest at some time."""
        # A task that tells of the whole file what it says over time, such as that of summaries.
        told = [{'class': each['target'], 'moments': [moment for moment in each['scores'] if moment[2] is not None]}
                for each in whole.reading if 'scores' in each]
        if told:
            return {'curves': told, 'curves_note': '', 'is_probability': True}
        seen = [part for part in parts if any(part.present.values())]
        try:
            joined = np.concatenate if self._run.task.each_view else np.stack
            levels = self._run.task.levels(jax.tree.map(lambda *scores: joined(scores), *(
                part.scores for part in seen))) if seen else {}
        except UserError:  # Words, say, are at no moment likelier than at another.
            note = f'The task {self._run.task.name} says nothing of single moments.'
            return {'curves': [], 'curves_note': note, 'is_probability': True}
        length = self._cut.window or max((part.seconds for part in seen), default=0.0)
        windows, end = np.array([[part.start, length] for part in seen]), max(part.end for part in parts)
        curves: list[dict[str, Any]] = [{'class': name, 'moments': [
            [round(moment.start, 3), round(min(moment.end, end), 3), round(moment.value, 6)]
            for moment in alarms.timeline(level.values, level.mask, windows)
            if moment.start < end and np.isfinite(moment.value)]}
            for name, level in levels.items()]
        curves.sort(key=lambda curve: -max((moment[2] for moment in curve['moments']), default=-np.inf))
        return {'curves': curves[:_CURVES], 'curves_note': '', 'is_probability': self._run.task.rules is not None}


def _sound(path: Path, seconds: float, rate: int | None) -> dict[str, Any] | None:
    """The outline of the waveform and a picture of its log-mel, see `timeline`; None of a file without sound."""
    if rate is None:
        return None
    info = ClipInfo(str(path), '', '', 0.0, seconds, seconds, None, None, None, rate)
    samples, _ = shards.read(Waveform(audio_rate=_RATE), path, info)
    frames, _ = shards.read(column := Audio(), path, info)
    if not len(samples) or not len(frames):
        return None
    outline, points, peak = timeline.waveform(np.asarray(samples))
    image, _ = timeline.spectrogram(np.asarray(frames))
    return {'path': outline, 'points': points, 'peak': peak, 'image': image,
            'width': min(1.0, len(frames) / column.rate / seconds)}


def _explained(found: Explanation, folder: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """What is shown of an explanation, and its files: a film of each stream of pictures, a picture of each spectrum."""
    files: dict[str, Path] = {}
    shown = []
    for each in found.maps:
        seen, at = found.seen[each.stream], {'stream': each.stream, 'standing': each.standing, 'layer': each.at}
        if isinstance(seen, list):
            weights = each.values[0, :len(seen)]
            shown.append({**at, 'kind': 'words', 'full': float(np.abs(weights).max(initial=1e-12)), 'words': [
                [word, float(weight)] for word, weight in zip(seen, weights, strict=True)]})
        elif seen.ndim == 5 and each.values.ndim == 4:
            name = f'{each.stream}.mp4'
            fps = max(1.0, seen.shape[1] / found.length)
            films = [overlays.film(frames, {each.method: values})
                     for frames, values in zip(seen, each.values, strict=True)]
            frames = np.concatenate(films)
            write_clip(folder / name, frames, fps=fps, group=len(frames))
            shown.append({**at, 'kind': 'film', 'file': name, 'seconds': seen.shape[1] / fps})
        elif seen.ndim == 3:
            name = f'{each.stream}.png'
            atomic.write(folder / name, overlays.spectrum(*_on_axis(found, each)))
            shown.append({**at, 'kind': 'spectrum', 'file': name})
        else:
            shown.append({**at, 'kind': 'curve', 'moments': _moments(found, each)})
        if 'file' in shown[-1]:
            files[name] = folder / name
    values = {stream: float(of_windows.mean()) for stream, of_windows in found.values.items()}
    total = sum(map(abs, values.values()))
    return {'class': found.named, 'target': found.target, 'logit': float(found.scores.mean()),
            'heuristic': not found.trained_with_absence, 'starts': found.starts.tolist(), 'length': found.length,
            'streams': [{'name': stream, 'value': value, 'share': abs(value) / total if total else 0.0,
                         'present': found.present[stream]} for stream, value in values.items()],
            'maps': shown}, files


def _moments(found: Explanation, each: Map) -> list[list[float]]:
    """A map's sums over places as [start, end, value], as shares of the greatest size."""
    sums = each.values.reshape(*each.values.shape[:2], -1).sum(2, dtype=np.float64)
    sums = sums / max(float(np.abs(sums).max(initial=0)), 1e-12)
    half = found.length / sums.shape[1] / 2
    return [[round(at - half, 3), round(min(at + half, found.seconds), 3), round(value, 4)]
            for times, values in zip(found.times(sums.shape[1]), sums, strict=True)
            for at, value in zip(times.tolist(), values.tolist(), strict=True) if at - half < found.seconds]


def _on_axis(found: Explanation, each: Map) -> tuple[np.ndarray, np.ndarray]:
    """A spectrum (F, M) and its map (F, *places) from the clip's beginning to its end; windows lie where they begin."""
    seen = found.seen[each.stream]
    count = seen.shape[1]
    rate = count / found.length
    total = max(1, round(found.seconds * rate))
    frames = np.full((total, seen.shape[2]), seen.min(), np.float32)
    heat = np.zeros((total, *each.values.shape[2:]), np.float32)
    places = np.minimum((np.arange(count) + 0.5) / count * each.values.shape[1], each.values.shape[1] - 1).astype(int)
    for start, window, values in zip(found.starts.tolist(), seen, each.values, strict=True):
        first = round(start * rate)
        fits = max(0, min(count, total - first))
        frames[first:first + fits], heat[first:first + fits] = window[:fits], values[places[:fits]]
    return frames, heat
