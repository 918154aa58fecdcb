"""`data.augment`: what is drawn for each clip of a batch."""

import dataclasses
from typing import Any

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.pipeline.streams import Draw, Stream
from vmmjax.pipeline.transforms import crops, frames, rand_augment
from vmmjax.pipeline.transforms.frames import Change
from vmmjax.pipeline.views import ViewsConfig

STRONG = {'color': True, 'rand_augment': True, 'erase': True, 'time_shift': False, 'spec_augment': False}
"""What can be left out of view 0, and whether it is of pictures; the rest is of other arrays."""


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """`data.augment`; in training only. What is drawn is the same for all picture streams of a clip.

    Attributes:
      crop: `random` place, `centre`, or a part that is resized: `multi_scale` (TSN's and TSM's) or `resized` (8 to
        100 % of the area), see `crops`.
      color: strength of the change of brightness, contrast and saturation.
      flip: probability of mirroring left and right; 0 unless the labels allow it.
      flip_pairs: pairs of target values that a flip swaps.
      rand_augment: number and magnitude (0 to 10) of RandAugment's changes.
      erase: probability of random erasing.
      mixup: alpha of mixup (Zhang et al. 2018), 0 for none; pairs of neighbours in the batch are mixed.
      cutmix: alpha of CutMix (Yun et al. 2019), 0 for none; with both, either for each pair.
      time_shift: seconds that arrays are moved by at most, either way.
      spec_augment: SpecAugment of arrays of bands: time masks, their width in frames, band masks, their width.
      strong: which of `STRONG` only further views of a stream have (`data.streams.<name>.views`), so that view 0 is
        augmented weakly.
    """

    crop: str = 'random'
    color: float = 0.0
    flip: float = 0.0
    flip_pairs: tuple[tuple[str, str], ...] = ()
    rand_augment: tuple[int, float] = (0, 0.0)
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    time_shift: float = 0.0
    spec_augment: tuple[int, int, int, int] = (0, 0, 0, 0)
    strong: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.strong:
            if name not in STRONG:
                raise UserError(f'data.augment.strong names {name!r}: {did_you_mean(str(name), STRONG)}.')
        if self.crop != 'centre' and self.crop not in crops.CROPS:
            raise UserError(f'data.augment.crop is {self.crop!r}, which is no crop: '
                            f'{did_you_mean(str(self.crop), ["centre", *crops.CROPS])}.')
        for name in ('color', 'mixup', 'cutmix', 'time_shift'):
            if getattr(self, name) < 0:
                raise UserError(f'data.augment.{name} is {getattr(self, name)}; it must be at least 0.')
        for name in ('flip', 'erase'):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f'data.augment.{name} is {getattr(self, name)}; a probability from 0 to 1 is meant.')
        if len(self.rand_augment) != 2 or not 0 <= self.rand_augment[1] <= 10:
            raise UserError(f'data.augment.rand_augment is {tuple(self.rand_augment)}; a number of changes and a '
                            f'magnitude from 0 to 10 are meant.')
        if len(self.spec_augment) != 4 or min(self.spec_augment) < 0:
            raise UserError(f'data.augment.spec_augment is {tuple(self.spec_augment)}; time masks, their width, band '
                            f'masks and their width are meant.')

    def __str__(self) -> str:
        """One line for a summary: the crop, and what is not off."""
        used = [f'{name} {value}' for name, value in dataclasses.asdict(self).items()
                if name not in ('crop', 'flip_pairs') and np.any(value)]
        return ', '.join([f'crop {self.crop}', *used])

    def of_view(self, view: int) -> 'AugmentConfig':
        """What a view of a clip has of it: view 0 without what is `strong`."""
        if view or not self.strong:
            return self
        off: dict[str, Any] = {name: getattr(AugmentConfig, name) for name in self.strong}
        return dataclasses.replace(self, **off)

    @property
    def mixes(self) -> bool:
        """Whether clips are mixed, by mixup or CutMix."""
        return self.mixup > 0 or self.cutmix > 0

    def mirrors(self, draw: Draw) -> np.ndarray:
        """Which clips are mirrored in training, bool (B,)."""
        return draw('flip', 1)[:, 0] < self.flip

    def of_training(self, stream: Stream, rows: np.ndarray, draw: Draw) -> list[Change]:
        """What is done to the pictures of each clip in training.

        Args:
          stream: of pictures or motion.
          rows: int64 (B,), catalog rows.
          draw: random numbers.
        """
        sizes, size = stream.column.sizes[rows].astype(np.int64), stream.shape[1]
        if self.crop == 'centre':
            boxes = crops.at(np.full((len(rows), 2), 0.5), sizes, size, stream.config.region)
        else:
            count, boxes_of = crops.CROPS[self.crop]
            boxes = boxes_of(draw('crop', count), sizes, size, stream.config.region)
        ops: list[tuple[rand_augment.Op, ...]] = [()] * len(rows)
        if self.rand_augment[0]:
            ops = rand_augment.draw_ops(draw('rand_augment', 2 * self.rand_augment[0]), *self.rand_augment)
        colours = frames.colour_matrices(draw('colour', 3), self.color) if self.color else [None] * len(rows)
        erased = frames.erased(draw('erase', 5), self.erase, size) if self.erase else [None] * len(rows)
        mirrors = self.mirrors(draw).tolist()
        return [Change(*each) for each in zip(boxes, mirrors, ops, colours, erased, strict=True)]


def of_evaluation(stream: Stream, rows: np.ndarray, views: np.ndarray, config: ViewsConfig) -> list[Change]:
    """What is done to the pictures of each clip in evaluation.

    Args:
      stream: of pictures or motion.
      rows: int64 (B,), catalog rows.
      views: int64 (B,), which view of its clip each is.
      config: how many there are.
    """
    sizes = stream.column.sizes[rows].astype(np.int64)
    places, mirrors = crops.view_places(views % config.crops, config.crops, sizes)
    boxes = crops.at(places, sizes, stream.shape[1], stream.config.region)
    return [Change(box, mirror) for box, mirror in zip(boxes, mirrors.tolist(), strict=True)]
