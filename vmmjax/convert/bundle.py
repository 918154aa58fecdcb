"""A trained run as one file, a bundle: written whole, and read with every member checked.

A bundle is an uncompressed zip. Its members:

    vmmjax.json              what a run keeps (config, classes, inputs, step), the task's options, thresholds among
                             them, versions, and what the programs take and give
    README.md                what this is, and how a program is run by JAX alone
    weights.safetensors      the variables by path, moving averages in place of parameters where there are any
    golden.safetensors       inputs of five clips as `input/<key>`, and what the model gives as `output/<key>`
    programs/<platform>.jax_export   the model as `jax.export` serialises it: (weights, inputs) -> outputs
    SHA256SUMS               of all other members, as `sha256sum --check` reads it

Nothing is unpacked to the disk and nothing in it is unpickled.
"""

import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vmmjax import atomic
from vmmjax.convert import safetensors
from vmmjax.errors import UserError

FORMAT = 1
SUFFIX = '.vmm'
CONTENTS, README, WEIGHTS, GOLDEN, SUMS = (
    'vmmjax.json', 'README.md', 'weights.safetensors', 'golden.safetensors', 'SHA256SUMS')
_MEMBERS = re.compile('|'.join([*map(re.escape, (CONTENTS, README, WEIGHTS, GOLDEN, SUMS)),
                                r'programs/(cpu|cuda|rocm|tpu)\.jax_export']))
# What a checkpoint keeps beside its arrays; `config` is a JSON object here and text there.
_KEPT = ('format', 'config', 'fingerprint', 'classes', 'inputs')
# What zipfile raises for a damaged file, besides its own error.
_DAMAGE = (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError, OverflowError)


def program(platform: str) -> str:
    """The member that holds the program for a platform of `jax.export`: cpu, cuda, rocm or tpu."""
    return f'programs/{platform}.jax_export'


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle's, by its ending or by how the file begins."""
    if path.suffix == SUFFIX and not os.path.isdir(path):
        return True
    if not os.path.isfile(path):
        return False
    with path.open('rb') as file:
        head = file.read(64)
    return head[:4] == b'PK\x03\x04' and head[30:].startswith(CONTENTS.encode())


def is_run(path: Path) -> bool:
    """Whether a path is a folder that `vmmjax train` or `vmmjax convert` wrote, or a bundle."""
    return os.path.isdir(path / 'checkpoints') or is_bundle(path)


def write(path: Path, members: Mapping[str, bytes]) -> None:
    """Writes a bundle; equal members give equal bytes.

    Args:
      path: of the file, which is whole or not there.
      members: all but the checksums.
    """
    sums = ''.join(f'{hashlib.sha256(data).hexdigest()}  {name}\n' for name, data in members.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path) as partial, zipfile.ZipFile(partial, 'w') as file:
        for name, data in {CONTENTS: members[CONTENTS], **members, SUMS: sums.encode()}.items():
            file.writestr(zipfile.ZipInfo(name), data)  # Of a fixed date.


def packed(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as a member of the safetensors format, sorted by name."""
    file = io.BytesIO()
    safetensors.write(file, dict(sorted(tensors.items())))
    return file.getvalue()


class Bundle:
    """A bundle that is read; where a run is read, it stands in for `training.Checkpoints`.

    Attributes:
      path: of the file.
      contents: of `vmmjax.json`.
      averaged: its parameters are moving averages where the run kept some.
    """

    averaged = True

    def __init__(self, path: Path):
        """Opens it and checks what it consists of; a member is checked when it is read.

        Raises:
          UserError: for a file that is missing, truncated, of a newer version, or holds what no bundle does.
        """
        self.path = path
        if not path.is_file():
            raise UserError(f'There is no file {path}.')
        with self._reading('is truncated or no bundle; take it from where it was made again'):
            self._zip = zipfile.ZipFile(path)
        names = self._zip.namelist()
        for info in self._zip.infolist():
            self._check(info)
        for name in (SUMS, CONTENTS, WEIGHTS, GOLDEN):
            if names.count(name) != 1:
                raise UserError(f'{path} has {"several members" if name in names else "no member"} {name}, so it is no '
                                f'whole bundle; take it from where it was made again.')
        lines = [line.partition('  ') for line in self._raw(SUMS).decode('utf-8', 'replace').splitlines()]
        self._sums = {name: digest for digest, _, name in lines}
        for name in {*names} ^ {*self._sums, SUMS}:
            raise UserError(f'The member {name} of {path} is in its list of checksums or in the file, but not in both; '
                            f'take the bundle from where it was made again.')
        try:
            self.contents: dict[str, Any] = json.loads(self.member(CONTENTS))
            if (version := int(self.contents['format'])) > FORMAT:
                raise UserError(f'{path} is a bundle of version {version}, and this vmmjax reads up to {FORMAT}; '
                                f'install a newer vmmjax.')
            self._check_known(names)
            self._step = int(self.contents['step'])
            self._run = {key: self.contents['run'][key] for key in _KEPT}
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise UserError(f'The member {CONTENTS} of {path} is not what a bundle has ({type(error).__name__}: '
                            f'{str(error)[:100]}); take the bundle from where it was made again.') from error

    def _check_known(self, names: list[str]) -> None:
        for name in names:
            if not _MEMBERS.fullmatch(name):
                what = 'a pickle' if re.search(r'\.(pkl|pickle|pt|pth|bin)$', name) else 'a member'
                raise UserError(f'{self.path} holds {what}, {name!r}, which no bundle does; it was not read.')

    def _check(self, info: zipfile.ZipInfo) -> None:
        name = info.filename
        if '..' in re.split(r'[/\\]', name) or re.match(r'[/\\]|\w:', name):
            raise UserError(f'{self.path} holds a path that leads out of it, {name!r}, which no bundle does; nothing '
                            f'of it was read.')
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise UserError(f'The member {name} of {self.path} is compressed or damaged; take the bundle from where it '
                            f'was made again.')

    @contextmanager
    def _reading(self, fault: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise UserError(f'{self.path} {fault} ({str(error)[:100].rstrip(".")}).') from error

    def _raw(self, name: str) -> bytes:
        with self._reading(f'was altered after it was made: its member {name} is damaged'):
            return self._zip.read(name)

    def member(self, name: str) -> bytes:
        """A member's bytes.

        Raises:
          UserError: where it is not there, or not as it was written.
        """
        if name not in self._sums:
            raise UserError(f'{self.path} has no member {name}; it has {", ".join(self._sums)}.')
        data = self._raw(name)
        if hashlib.sha256(data).hexdigest() != self._sums[name]:
            raise UserError(f'{self.path} was altered after it was made: its member {name} is damaged (another '
                            f'SHA-256).')
        return data

    def check(self) -> list[str]:
        """Reads every member.

        Returns:
          Their names.

        Raises:
          UserError: names the first that is not as it was written.
        """
        for name in self._sums:
            self.member(name)
        return [*self._sums]

    def tensors(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of a member of the safetensors format.

        Raises:
          UserError: besides what `member` raises, where it is of another format.
        """
        data = self.member(name)
        if not safetensors.is_one(data):
            raise UserError(f'The member {name} of {self.path} is not of the safetensors format, so nothing of it was '
                            f'read.')
        try:
            return safetensors.read(data)
        except UserError as error:
            raise UserError(f'The member {name} of {self.path} {error}.') from error

    @cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """The variables by path, such as `params/head/logits/kernel`; none of what only training needs."""
        return self.tensors(WEIGHTS)

    # What `Checkpoints` has.

    def newest(self) -> int:
        """The training step that was exported."""
        return self._step

    def best(self) -> int:
        """Refused.

        Raises:
          UserError: always.
        """
        raise UserError(f'{self.path} holds one checkpoint, whichever was exported; leave out --best.')

    def meta(self, step: int) -> dict[str, Any]:
        """What a checkpoint keeps beside its arrays, see `Experiment.identity`."""
        return {**self._run, 'config': json.dumps(self._run['config'])}

    def newest_meta(self) -> tuple[int, dict[str, Any]]:
        """The step and its JSON."""
        return self.newest(), self.meta(self.newest())

    def restore(self, step: int, like: Any) -> Any:
        """The arrays of a tree `{'params': ..., 'model_state': ...}` of shapes with shardings.

        Raises:
          UserError: names the first array that is not there or whose shape differs.
        """
        def one(path: Any, leaf: Any) -> jax.Array:
            name = jax.tree_util.keystr(path, simple=True, separator='/').removeprefix('model_state/')
            found = self.weights.get(name)
            if found is None or found.shape != leaf.shape:
                place = 'no place' if found is None else found.shape
                raise UserError(f'{name} has shape {leaf.shape} in the model and {place} in {self.path}; it is of '
                                f'another config.')
            return jax.device_put(found.astype(leaf.dtype), leaf.sharding)

        return jax.tree_util.tree_map_with_path(one, like)
