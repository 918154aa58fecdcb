"""How a network reads clips, of files and of a store: as it was published, or as it was trained."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.media import probe
from vmmjax.models import MultimodalModel
from vmmjax.pipeline import inputs
from vmmjax.pipeline.folds import folded
from vmmjax.pipeline.text_streams import PREFIX
from vmmjax.pipeline.windows import WindowSpec
from vmmjax.prepare.audio_columns import Audio, Waveform
from vmmjax.prepare.sources.clip import of_file
from vmmjax.serving import readers
from vmmjax.serving.predict import published_view
from vmmjax.serving.readers import Pictures, Reader, Sounds
from vmmjax.store.store import Store

if TYPE_CHECKING:
    from vmmjax.experiment import Experiment

_SOUND_WINDOW = 10.0  # Seconds: the clips of AudioSet, on which the published networks of sound were trained.
Batch = Mapping[str, np.ndarray]


class FileWindows(NamedTuple):
    """The windows of a file.

    Attributes:
      starts: float64 (W,), seconds from the beginning of the file.
      ends: float64 (W,).
      batches: clip batches of them in order, the last one padded.
    """

    starts: np.ndarray
    ends: np.ndarray
    batches: Iterator[Batch]


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a network reads clips.

    Attributes:
      data: `config.data` for a store.
      window: seconds; 0 for the whole clip.
    """

    data: dict[str, Any]
    window: float

    def of_file(self, path: Path, cut: WindowSpec, batch_size: int) -> FileWindows:
        """Reads a file, windows by `cut`.

        Raises:
          UserError: where a stream cannot be read from a file.
          MediaError: where the file cannot be read, or holds nothing that the network reads.
        """
        raise NotImplementedError

    def of_store(self, store: Store) -> Store:
        """A store as the network reads it."""
        raise NotImplementedError

    def columns(self, store: Store) -> dict[str, Any]:
        """Options and version of each column of a store that is read."""
        names = {stream['modality'] for stream in self.data['streams'].values()} & store.columns.keys()
        return {name: {'options': dict(store.columns[name].options or {}), 'version': store.columns[name].version}
                for name in sorted(names)}

    def rates(self, store: Store | None) -> dict[str, float | None]:
        """Frames a second that the network is given of each stream; None where they depend on the clip's length."""
        found: dict[str, float | None] = {}
        for name, stream in self.data['streams'].items():
            if stream.get('frames'):
                found[name] = stream['frames'] / self.window if self.window else None
            elif stream['modality'].startswith(PREFIX):
                found[name] = None
            elif store is not None:
                found[name] = stream.get('rate') or store.column(stream['modality']).rate
            else:
                found[name] = stream.get('rate') or self.rate_of_files(name)
        return found

    def rate_of_files(self, stream: str) -> float | None:
        """Frames a second of a stream that takes every frame, as files are read."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Published(Reading):
    """As a network was published.

    Attributes:
      readers: of each stream in a media file; a text says why there is none.
    """

    readers: Mapping[str, Reader | str]

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

    def of_file(self, path: Path, cut: WindowSpec, batch_size: int) -> FileWindows:
        """See `Reading`."""
        given, found = self.of_files, probe.probe(path)
        starts = cut.starts(found.duration)
        return FileWindows(starts, cut.ends(starts, found.duration),
                           readers.batches(path, given, found, starts, cut, batch_size))

    def of_store(self, store: Store) -> Store:
        """Any."""
        return store

    def rate_of_files(self, stream: str) -> float | None:
        """See `Reading`."""
        reader = self.readers[stream]
        return reader.column.rate if isinstance(reader, Sounds) else None


@dataclasses.dataclass(frozen=True)
class OfRun(Reading):
    """As a run read the clips of its evaluation.

    Attributes:
      inputs: what it has recorded, see `pipeline.inputs`.
      fingerprint: of the store that it was trained on.
      step: of its checkpoint.
    """

    inputs: Mapping[str, Any]
    fingerprint: str
    step: int

    def of_file(self, path: Path, cut: WindowSpec, batch_size: int) -> FileWindows:
        """See `Reading`."""
        from vmmjax.pipeline.windows import SlidingWindows  # Brings TensorFlow along.
        from vmmjax.prepare.file_store import FileStore

        store = FileStore(self.inputs, [of_file(path)])
        for error in store.errors.values():
            raise error
        windows = SlidingWindows(store, self.data, np.arange(1), cut=cut, batch_size=batch_size)
        return FileWindows(windows.starts, windows.ends, windows.batches())

    def of_store(self, store: Store) -> Store:
        """The store with the run's vocabularies, and its splits where it is the one that the run was trained on."""
        if store.fingerprint == self.fingerprint:
            store = folded(store, self.data['fold'], self.data['fold_validates'])
        store.vocabularies = {name: text['vocabulary'] for name, text in self.inputs['texts'].items()}
        return store

    def rate_of_files(self, stream: str) -> float | None:
        """See `Reading`."""
        return float(self.inputs['columns'][self.data['streams'][stream]['modality']]['rate'])


def published(model: MultimodalModel, window: float | None, front_end: str | None) -> Published:
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
        return Published(data, seconds, {name: reader})
    if name not in ('audio', 'waveform'):
        raise UserError(f'How a {type(encoder).__name__} reads clips is not known; use model.apply on batches of your '
                        f'own.')
    data['streams'] = {name: dict(modality=name)}
    column = Waveform() if name == 'waveform' else Audio(front_end=front_end) if front_end else None
    return Published(data, _SOUND_WINDOW if window is None else window, {
        name: Sounds(column) if column else 'it is not known which log-mels it was trained on; name them, such as '
        '--front_end=panns_32k'})


def of_run(folder: Path) -> tuple[OfRun, 'Experiment']:
    """How the network of a run reads clips, as in its evaluation, and the run itself.

    Raises:
      UserError: where no checkpoint is whole, and for a run that did not write down how its streams are read where its
        store is not there.
    """
    # Brings orbax along, which takes longer to import than all the rest.
    from vmmjax.convert.saved_run import SavedRun
    from vmmjax.experiment import Experiment

    saved = SavedRun.open(folder)
    if saved.is_converted:
        raise UserError(f'{folder} was never trained here, so how its network reads clips is not known; name the file '
                        f'that it was converted from as --weights.')
    run = Experiment.of(saved)
    return OfRun(run.config.data.to_dict(), float(run.config.data.window.seconds),
                 inputs.checked(run.run_inputs['data'], str(folder)), saved.meta['fingerprint'],
                 saved.step), run
