"""Reads the parts of `config.data`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.pipeline import training_views
from vmmjax.pipeline.streams import Stream, StreamConfig
from vmmjax.pipeline.targets import Classes, Names, Targets
from vmmjax.pipeline.text_streams import PREFIX, TextConfig, TextStream
from vmmjax.pipeline.transforms.audio import check
from vmmjax.pipeline.transforms.config import AugmentConfig
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.store.store import Store

_Options = TypeVar('_Options')
_TAKEN = ('id', 'mask', 'row', 'view')  # Keys that every batch may have.


def read(kind: type[_Options], given: Mapping[str, Any], where: str) -> _Options:
    """An options dataclass from a part of the config.

    Args:
      kind: the dataclass.
      given: the part.
      where: its name, for the message.

    Raises:
      UserError: names a misspelt key and the nearest right one.
    """
    fields: Any = kind
    known = [field.name for field in dataclasses.fields(fields)]
    for key in given:
        if key not in known:
            raise UserError(f'The config has a key {where}.{key} that nothing reads: {did_you_mean(key, known)}.')
    return kind(**given)


def streams(given: Mapping[str, Mapping[str, Any]], store: Store, rows: np.ndarray,
            seconds: float) -> tuple[list[Stream], dict[str, TextStream]]:
    """The streams that read columns of the store, and those that read texts of its catalog, by name.

    Args:
      given: `config.data.streams`.
      store: the store.
      rows: int64 (N,), the split's.
      seconds: length of the window, 0 for the whole clip.

    Raises:
      UserError: names what is missing, misspelt or does not fit.
    """
    if not given:
        raise UserError('The config has no streams; add one, such as data.streams.audio = '
                        f'dict(modality={next(iter(store.columns), "audio")!r}).')
    columns, texts = [], {}
    for name, options in given.items():
        where = f'data.streams.{name}'
        if name in _TAKEN:
            raise UserError(f'data.streams has a stream {name!r}, which is another key of a batch; rename it.')
        if 'modality' not in options:
            raise UserError(f'{where} has no modality; set {where}.modality to a column of the store.')
        if options['modality'].startswith(PREFIX):
            texts[name] = TextStream(name, read(TextConfig, options, where), store)
            training_views.check(where, texts[name].config)
        else:
            columns.append(Stream(name, read(StreamConfig, options, where), store, rows, seconds))
            check(columns[-1], rows)
            training_views.check(where, columns[-1].config)
    return columns, texts


def check_augment(augment: AugmentConfig, views: ViewsConfig, labels: Targets, *, texts: bool, batch_size: int,
                  train: bool) -> None:
    """Checks that augmentation fits the test views, the targets and the batch.

    Args:
      augment: `data.augment`.
      views: `data.views`.
      labels: what the targets are.
      texts: whether a stream reads texts.
      batch_size: clips per batch over all processes.
      train: whether clips are augmented.

    Raises:
      UserError: names the options that exclude each other.
    """
    if augment.flip_pairs and views.crops == 10:
        raise UserError('data.views.crops is 10, which mirrors, but data.augment.flip_pairs says that a mirror image '
                        'has another label; choose 5.')
    if train and augment.mixes and (texts or batch_size % 2):
        raise UserError('data.augment.mixup and cutmix mix pairs of clips: '
                        + ('texts cannot be mixed.' if texts else f'the batch size {batch_size} is odd.'))
    if not isinstance(labels, Classes) and augment.flip_pairs:
        raise UserError('data.augment.flip_pairs swaps classes, and the targets are none; leave it out.')
    if train and augment.mixes and (not isinstance(labels, (Classes, Names)) or len(labels.specs) > 1):
        raise UserError('data.augment.mixup and cutmix mix the classes or names of one target; leave them out.')
