"""The Fréchet video distance (Unterthiner et al. 2018), by the protocols that it was published with."""

import dataclasses
import hashlib
import itertools
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from tqdm import tqdm

from vmmjax import atomic, convert
from vmmjax.errors import UserError
from vmmjax.evaluation.fvd.clips import Array, Choice, Clips, Folder
from vmmjax.evaluation.fvd.frechet import Moments
from vmmjax.evaluation.fvd.protocols import DEFAULT_WEIGHTS
from vmmjax.store import feature_files as extracted
from vmmjax.training.sharding import batch_sharding, make_mesh, replicated

_ROWS = 4096  # Of features that are looked at together.
_MADE = ('protocol', 'frames', 'every', 'start', 'seed', 'resize', 'dropped', 'weights')
# Seconds before a progress bar appears.
_PATIENCE = 2.0


class Network:
    """What turns clips into features, on all devices: the logits of I3D.

    Attributes:
      weights: fingerprint of its variables.
    """

    def __init__(self, source: str | Path = DEFAULT_WEIGHTS, batch_size: int = 16) -> None:
        """Loads it.

        Args:
          source: what `load_pretrained` takes.
          batch_size: clips that are computed together; rounded up to what splits over the devices.

        Raises:
          UserError: for a network that does not classify pictures.
        """
        model, variables = convert.load_pretrained(source)
        if set(model.encoders) != {'rgb'} or model.head is None:
            raise UserError(f'{source} is no network that classifies videos by their pictures (rgb).')
        mesh = make_mesh({'data': -1})
        self.weights = fingerprint(variables)
        self._devices, self._sharding = mesh.size, batch_sharding(mesh)
        self._batch_size = batch_size + -batch_size % mesh.size
        self._variables = jax.device_put(variables, replicated(mesh))

        def logits(variables: Any, clips: jax.Array) -> jax.Array:
            # On other devices than the CPU float32 would otherwise be multiplied with fewer digits.
            with jax.default_matmul_precision('highest'):
                outputs: Any = model.apply(variables, {'rgb': clips}, train=False)
            return outputs.logits.astype(jnp.float32)

        self._logits = jax.jit(logits)

    def __call__(self, clips: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields float32 (n, D), a row a clip, while the next clips are read; a clip is as `Clips` gives them."""
        source, running = iter(clips), None
        while rows := list(itertools.islice(source, self._batch_size)):
            # Where there is but one batch it has no padding that is not needed; no other size is compiled.
            size = self._batch_size if running else len(rows) + -len(rows) % self._devices
            batch = np.zeros((size, *rows[0].shape), np.float32)
            batch[:len(rows)] = rows
            following = self._logits(self._variables, jax.device_put(batch, self._sharding)), len(rows)
            if running:
                yield np.asarray(running[0])[:running[1]]
            running = following
        if running:
            yield np.asarray(running[0])[:running[1]]


def fingerprint(variables: Any) -> str:
    """SHA-256 of a network's variables by path, as float32: the same for the same numbers, whatever file held them."""
    digest = hashlib.sha256()
    for path, value in sorted(flatten_dict(variables, sep='/').items()):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(value, np.float32).tobytes())
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What is known of one set of videos.

    Attributes:
      moments: of the features.
      made: how the features were made, plain JSON values: `protocol`, `frames`, `every`, `start`, `seed` and `resize`
        of the clips, `dropped`, how many videos were too short, and `weights`, a fingerprint. Empty for features from
        elsewhere.
      features: float32 (N, D) themselves, where they were kept.
    """

    moments: Moments
    made: dict[str, Any]
    features: np.ndarray | None = None

    def write(self, path: Path) -> None:
        """Writes a `.npz` file, whole or not at all."""
        check_ending(path)
        kept = {} if self.features is None else {'features': self.features}
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(path) as partial, partial.open('wb') as file:
            np.savez(file, allow_pickle=False, made=json.dumps(self.made), **dataclasses.asdict(self.moments), **kept)


def check_ending(path: Path) -> None:
    """Refuses a file that statistics could not be read from again."""
    if path.suffix != '.npz':
        raise UserError(f'Statistics are kept in a .npz file, not in {path}.')


def find(source: str | Path | np.ndarray, choice: Choice, *, keep: bool) -> Clips | Statistics:
    """What a source holds: clips to be looked at, or statistics, those of features included.

    Args:
      source: a folder of videos, a `.npy` file or an array of videos or features, statistics that were written, or
        what `vmmjax extract` wrote.
      choice: which clips are taken.
      keep: whether features stay, too, for an interval.

    Raises:
      UserError: for none of these.
    """
    name = f'The {choice.role} array'
    if isinstance(source, str | Path):
        path, name = Path(source), str(source)
        if path.is_dir() and not (path / extracted.SETTINGS).exists():
            return Folder(path, choice)
        if path.suffix == '.npz' or path.is_dir():
            return _statistics(path) or _of_features(_extracted(path), keep)
        try:
            source = np.load(path, mmap_mode='r', allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f'{path} is no folder of videos, and no array or statistics that can be read ({error}).'
                            ) from error
    source = np.asarray(source) if not isinstance(source, np.ndarray) else source
    return _of_features(source, keep) if source.ndim == 2 else Array(source, choice, name)


def measure(clips: Clips, network: Network, *, keep: bool, progress: bool = False) -> Statistics:
    """The statistics of a set of videos; features pass by, and only their running sums stay.

    Args:
      clips: by `find`.
      network: that they are shown to.
      keep: whether features stay, too, for an interval.
      progress: whether a bar shows the way, on a terminal and where it takes longer than 2 s.

    Raises:
      UserError: where there are no videos, or one cannot be taken.
    """
    choice = clips.choice
    shown = tqdm(clips, total=clips.total, desc=choice.role, unit='video', delay=_PATIENCE, leave=False,
                 disable=None if progress else True)
    found = _gathered(network(shown), keep)
    if found is None:
        raise UserError(f'Each of the {clips.dropped} {choice.role} videos has fewer than '
                        f'{choice.frames * choice.every} pictures, which is a clip of the protocol '
                        f'{choice.protocol.name}.')
    made = dict(zip(_MADE, (choice.protocol.name, clips.frames, choice.every, choice.start, choice.seed, clips.resize,
                            clips.dropped, network.weights), strict=True))
    return dataclasses.replace(found, made=made)


def _gathered(parts: Iterable[np.ndarray], keep: bool) -> Statistics | None:
    """The statistics of features that come in parts; None where none come."""
    moments: Moments | None = None
    kept = []
    for part in parts:
        moments = Moments.of(part) if moments is None else moments + Moments.of(part)
        if keep:
            kept.append(np.asarray(part, np.float32))
    return None if moments is None else Statistics(moments, {}, np.concatenate(kept) if keep else None)


def _of_features(features: np.ndarray, keep: bool) -> Statistics:
    found = _gathered((features[first:first + _ROWS] for first in range(0, len(features), _ROWS)), keep)
    if found is None:
        raise UserError(f'There are no features in an array of shape {features.shape}.')
    return found


def _statistics(path: Path) -> Statistics | None:
    """Those that a file holds; None where it is another file or a folder."""
    if path.is_dir():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            if 'made' not in file.files:
                return None
            moments = Moments(int(file['count']), file['mean'], file['scatter'])
            made = json.loads(str(file['made']))
            return Statistics(moments, {key: made[key] for key in _MADE} if made else {},
                              file['features'] if 'features' in file.files else None)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f'The statistics {path} cannot be read ({error}); make them again with `vmmjax fvd`.'
                        ) from error


def _extracted(path: Path) -> np.ndarray:
    """Logits that `vmmjax extract` wrote, or what it wrote alone."""
    found = extracted.read(path)
    names = extracted.endpoints(found)
    name = 'logits' if 'logits' in names else ''.join(names[:1])
    if (name != 'logits' and len(names) != 1) or found[name].ndim != 2:
        raise UserError(f'{path} holds {", ".join(names) or "no features"}; give features (N, D), by `vmmjax extract '
                        f'--endpoints=logits`.')
    return found[name]
