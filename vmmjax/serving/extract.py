"""Features: any endpoint of a network for every window of videos or of a store's clips."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax import config as configs
from vmmjax.errors import UserError, did_you_mean
from vmmjax.models import MultimodalModel
from vmmjax.pipeline.folds import folded
from vmmjax.pipeline.text_streams import PREFIX, WORDPIECE
from vmmjax.prepare.audio_columns import Audio, Waveform
from vmmjax.prepare.columns import COLUMNS, Rgb
from vmmjax.serving.predict import published_view
from vmmjax.serving.readers import Pictures, Reader, Sounds
from vmmjax.store.store import Store

_SOUND_WINDOW = 10.0  # Seconds: the clips of AudioSet, on which the published networks of sound were trained.
_WHOLE = (0.0, 0.0, 1.0, 1.0)
Batch = Mapping[str, np.ndarray]


class Extractor:
    """A network's endpoints for batches of windows.

    The endpoints are `features` (the clip's embedding before the head), `logits` (of several targets
    `logits/<target>`), those of a stream's own head as `<stream>/logits`, and `<stream>/<endpoint>` for every named
    intermediate of every encoder.
    """

    def __init__(self, model: MultimodalModel, variables: Any, endpoints: Sequence[str]):
        """Takes the network and what is wanted of it.

        Args:
          model: any.
          variables: its variables.
          endpoints: names; they are checked against the first batch.
        """
        self._model, self._wanted = model, tuple(endpoints)
        self._variables = jax.device_put(variables)
        self._chosen = jax.jit(lambda variables, batch: {
            name: value.astype(jnp.float32) for name, value in self._all(variables, batch).items()
            if name in self._wanted})

    def shapes(self, batch: Batch) -> dict[str, tuple[int, ...]]:
        """Every endpoint's shape for one window; nothing is computed."""
        rows = len(batch['mask'])
        found = jax.eval_shape(self._all, self._variables, _inputs(batch))
        return {name: value.shape[1:] for name, value in found.items() if value.shape[:1] == (rows,)}

    def __call__(self, batches: Iterable[Batch]) -> Iterator[dict[str, np.ndarray]]:
        """Yields the endpoints, float32 (n, ...), of the n rows of each batch that are no padding.

        The device computes while the next batch is read.

        Raises:
          UserError: for an endpoint that there is not.
        """
        running: tuple[dict[str, jax.Array], np.ndarray] | None = None
        for batch in batches:
            if running is None:
                self._check(self.shapes(batch))
            following = self._chosen(self._variables, _inputs(batch)), np.asarray(batch['mask']) > 0
            if running is not None:
                yield self._fetched(*running)
            running = following
        if running is not None:
            yield self._fetched(*running)

    def _fetched(self, found: dict[str, jax.Array], real: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.asarray(found[name])[real] for name in self._wanted}

    def _check(self, known: Mapping[str, Any]) -> None:
        for name in self._wanted:
            if name not in known:
                raise UserError(f'The network has no endpoint {name!r}: {did_you_mean(name, known)}; see '
                                f'--list_endpoints.')

    def _all(self, variables: Any, batch: Any) -> dict[str, jax.Array]:
        outputs: Any = self._model.apply(variables, self._model.preprocess(batch), train=False)
        found = {'features': outputs.features, **_logits('logits', outputs.logits), **outputs.endpoints}
        for stream, logits in outputs.stream_logits.items():
            found |= _logits(f'{stream}/logits', logits)
        return found


def _logits(name: str, logits: Any) -> dict[str, jax.Array]:
    """Logits under their name; of several targets one entry each."""
    if isinstance(logits, Mapping):
        return {f'{name}/{target}': value for target, value in logits.items()}
    return {} if logits is None else {name: logits}


def _inputs(batch: Batch) -> dict[str, np.ndarray]:
    """What a model reads of a batch."""
    unread = ('id', 'row', 'view')
    return {key: value for key, value in batch.items() if not key.startswith('target/') and key not in unread}


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a network reads clips.

    Attributes:
      data: `config.data` for a store.
      window: seconds; 0 for the whole clip.
      readers: of each stream in a media file; a text says why there is none.
      fingerprint: of the store that a run was trained on; empty for a published network.
    """

    data: dict[str, Any]
    window: float
    readers: Mapping[str, Reader | str]
    fingerprint: str = ''

    @property
    def of_files(self) -> dict[str, Reader]:
        """The readers.

        Raises:
          UserError: where a stream cannot be read from a file.
        """
        found: dict[str, Reader] = {}
        for name, reader in self.readers.items():
            if isinstance(reader, str):
                raise UserError(f'The stream {name!r} of the network cannot be read from a file: {reader}.')
            found[name] = reader
        return found

    def of_store(self, store: Store) -> Store:
        """A store with the splits that the network was trained with, where it is the same.

        Raises:
          UserError: for another store and a network that reads texts, whose vocabulary is that of the first.
        """
        if store.fingerprint == self.fingerprint:
            return folded(store, self.data['fold'], self.data['fold_validates'])
        for name, stream in self.data['streams'].items():
            if stream['modality'].startswith(PREFIX) and stream.get('tokenizer') != WORDPIECE:
                raise UserError(f'The stream {name!r} of the network has the vocabulary of the store it was trained '
                                f'on, which {store.name} is not; extract from that one.')
        return store

    def rates(self, store: Store | None) -> dict[str, float | None]:
        """Frames a second that the network is given of each stream; None where they depend on the clip's length."""
        found: dict[str, float | None] = {}
        for name, stream in self.data['streams'].items():
            reader = self.readers[name]
            if stream.get('frames'):
                found[name] = stream['frames'] / self.window if self.window else None
            elif stream['modality'].startswith(PREFIX):
                found[name] = None
            elif store is not None:
                found[name] = stream.get('rate') or store.column(stream['modality']).rate
            elif isinstance(reader, Pictures):
                found[name] = reader.frames / self.window if self.window else None
            else:
                found[name] = reader.column.rate if isinstance(reader, Sounds) else None
        return found


def published(model: MultimodalModel, window: float | None, front_end: str | None) -> Reading:
    """How a published network of one stream reads clips: as it was published, but for the window.

    Args:
      model: as `vmmjax.load_pretrained` gives it.
      window: seconds; None is the published one, 10 s of sound.
      front_end: of the log-mels of a network of sound, a name of `vmmjax.front_ends`; a store has its own.

    Raises:
      UserError: for a network that is not known to read clips.
    """
    (name, encoder), = model.encoders.items()
    data = configs.defaults().data.to_dict()
    view = published_view(encoder)
    if view is not None:
        seconds = (view.frames / view.fps if view.fps else 0.0) if window is None else window
        frames = max(1, round(seconds * view.fps)) if view.fps else view.frames
        data['streams'] = {name: dict(modality=name, frames=frames, size=view.size)}
        reader: Reader | str = Pictures(frames, view.short_side, view.size) if name == 'rgb' else (
            f'{name} is made by `vmmjax prepare`; prepare a store and extract from it')
        return Reading(data, seconds, {name: reader})
    if name not in ('audio', 'waveform'):
        raise UserError(f'How a {type(encoder).__name__} reads clips is not known; use model.apply on batches of your '
                        f'own.')
    data['streams'] = {name: dict(modality=name)}
    column = Waveform() if name == 'waveform' else Audio(front_end=front_end) if front_end else None
    return Reading(data, _SOUND_WINDOW if window is None else window, {
        name: Sounds(column) if column else 'it is not known which log-mels it was trained on; name them, such as '
        '--front_end=panns_32k'})


def of_run(folder: Path) -> Reading:
    """How the network of a run reads clips: as in its evaluation.

    Raises:
      UserError: where no checkpoint is whole.
    """
    # Brings orbax along, which takes longer to import than all the rest.
    from vmmjax.training.checkpoint import Checkpoints

    _, meta = Checkpoints(folder).newest_meta()
    data = configs.from_json(meta['config']).data.to_dict()
    if not data['streams']:
        raise UserError(f'{folder} was never trained here, so how its network reads clips is not known; name the file '
                        f'that it was converted from as --weights.')
    window = float(data['window']['seconds'])
    readers = {name: _of_stream(data, stream, window) for name, stream in data['streams'].items()}
    return Reading(data, window, readers, meta['fingerprint'])


def _of_stream(data: Mapping[str, Any], stream: Mapping[str, Any], window: float) -> Reader | str:
    """A run's stream in media files, made as the store's column was."""
    modality, frames = stream['modality'], stream.get('frames')
    kind = COLUMNS.get(modality)
    if kind is not Rgb and kind not in (Audio, Waveform, COLUMNS['mfcc']):
        return f'{modality} is made by `vmmjax prepare`; prepare a store and extract from it'
    changed = [key for key in ('stack', 'sampling') if stream.get(key) not in (None, 1, 'dense', 'segments')]
    if tuple(stream.get('region') or _WHOLE) != _WHOLE or changed or (kind is not Rgb and frames):
        return 'its region, stack, sampling or frames are those of a store; prepare one and extract from it'
    try:
        path = Store(data['store']).path / modality / 'column.json'
        options = json.loads(path.read_text())['options']
    except (UserError, OSError) as error:
        return f'how its column was made is told by the store {data["store"]}, which cannot be read ({error})'
    column: Any = kind(**options)
    if kind is not Rgb:
        return Sounds(column)
    rate = stream.get('rate') or column.rate
    return Pictures(frames or max(1, round(window * rate)), column.short_side, stream['size'])
