"""Views in training: a stream is drawn several times per clip, for tasks that compare the draws.

View 0 is the stream as it is without views, bit for bit. View k from 1 on draws under `name@k`, but for what it shares
with view 0. So streams with the same number of frames and the same options see the same instants in view k, as they do
in view 0, and picture streams the same place.
"""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.pipeline.batch_builder import Clips
from vmmjax.pipeline.streams import Draw, Stream, StreamConfig
from vmmjax.pipeline.targets import Targets
from vmmjax.pipeline.text_streams import TextConfig, TextStream
from vmmjax.pipeline.transforms.config import STRONG, AugmentConfig

SHARES = ('window', 'frames', 'crop', 'flip', 'colour', 'erase', 'rand_augment', 'noise', 'time_shift', 'spec_augment')
"""What views can have in common: the window's start, the sampling in it, and each augmentation."""

_NOISE = ('white', 'voices', 'voices at', 'snr')  # The draws of noise, see `transforms.audio.with_noise`.


def view_key(view: int, name: str) -> str:
    """The batch key `name` of a view; `training.views.view` takes the prefix away again."""
    return f'view{view}/{name}' if view else name


def draws(draw: Draw, view: int, share: Sequence[str] = ()) -> Draw:
    """The random numbers of a view: those of view 0 for what it shares, others for the rest."""
    def of_view(name: str, numbers: int) -> np.ndarray:
        shared = ('noise' if name in _NOISE else name) in share
        return draw(name if shared else f'{name}@{view}', numbers)

    return of_view if view else draw


def of_view(clips: Clips, view: int, config: StreamConfig) -> Clips:
    """The clips of a batch as a view of a stream draws them: with a window and random numbers of its own.

    Args:
      clips: of view 0.
      view: 0 gives them back.
      config: of the stream.
    """
    if not view:
        return clips
    draw = draws(clips.draw, view, config.share)
    starts = clips.starts if 'window' in config.share else clips.window(clips.rows, draw('window', 1)[:, 0])
    low, high = config.offset
    return dataclasses.replace(clips, starts=starts + low + (high - low) * draw('offset', 1)[:, 0], draw=draw,
                               draw_noise=draws(clips.draw_noise, view, config.share))


def check(where: str, config: StreamConfig | TextConfig) -> None:
    """Checks the options of a stream that concern views.

    Args:
      where: the stream's name in the config.
      config: its options.

    Raises:
      UserError: names the option that does not fit.
    """
    if not isinstance(config.views, int) or config.views < 1:
        raise UserError(f'{where}.views is {config.views}; a whole number of at least 1 is meant.')
    if isinstance(config, TextConfig):
        if config.views > 1 and not config.mask_rate:
            raise UserError(f'{where}.views is {config.views}, but without masked words all views of a text are the '
                            f'same; set {where}.mask_rate, or leave its views out: each view then has the text.')
        return
    for name in config.share:
        if name not in SHARES:
            raise UserError(f'{where}.share has {name!r}, which views do not draw: {did_you_mean(str(name), SHARES)}.')
    offset = np.ravel(config.offset)
    if len(offset) != 2 or not np.isfinite(offset).all() or offset[0] > offset[1]:
        raise UserError(f'{where}.offset is {config.offset}; a least and a greatest shift in seconds are meant.')
    if offset.any() and (config.views == 1 or 'window' not in config.share):
        raise UserError(f"{where}.offset shifts further views from the window of view 0; set {where}.views to at least "
                        f"2 and keep 'window' in {where}.share.")


def check_training(streams: Collection[Stream | TextStream], augment: AugmentConfig, labels: Targets) -> None:
    """Checks that the views of streams fit augmentation and targets, which are those of view 0.

    Args:
      streams: all of the batch.
      augment: `data.augment`.
      labels: what the targets are.

    Raises:
      UserError: names the option that does not fit.
    """
    several = [stream for stream in streams if stream.config.views > 1]
    if augment.mixes and several:
        raise UserError('data.augment.mixup and cutmix mix clips, so that views would no longer be of one clip; leave '
                        'either mixing or the views of data.streams out.')
    for name in augment.strong:
        concerned = [stream for stream in streams if isinstance(stream, Stream) and stream.is_pictures == STRONG[name]]
        if concerned and not any(stream.config.views > 1 for stream in concerned):
            raise UserError(f'data.augment.strong has {name!r}, which only further views have, and there are none of '
                            f'{" and ".join(stream.name for stream in concerned)}, so that it would be off; set '
                            f'data.streams.{concerned[0].name}.views = 2, or leave it out of data.augment.strong.')
    for stream in several:
        if isinstance(stream, TextStream):
            continue
        config, where = stream.config, f'data.streams.{stream.name}'
        if augment.flip and augment.flip_pairs and stream.is_pictures and 'flip' not in config.share:
            raise UserError(f"{where}.views are mirrored independently of each other, but data.augment.flip_pairs says "
                            f"that a mirror image has another label; add 'flip' to {where}.share.")
        if 'target/window' in labels.specs and ('window' not in config.share or any(config.offset)):
            raise UserError(f"{where}.views have windows of their own, but the targets are times in the window of view "
                            f"0; keep 'window' in {where}.share, and leave {where}.offset out.")


def summary(config: StreamConfig | TextConfig) -> str:
    """A few words for a summary."""
    if isinstance(config, TextConfig):
        return f'{config.views}, masked independently'
    low, high = config.offset
    shift = f', {low:g} to {high:g} s later' if low or high else ''
    return f'{config.views} with the same {", ".join(config.share) or "clip"}{shift}'
