"""What a run of ours tells about its network, beside the weights: its classes, and how it looks at a video."""

from pathlib import Path
from typing import Any, NamedTuple

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.serving.predict import View
from vmmjax.training.checkpoint import Checkpoints

# Their outputs are no classes of which a video has one.
_OTHER_TASKS = ('events', 'multi_label', 'regression', 'retrieval')
_WHOLE = (0.0, 0.0, 1.0, 1.0)


class Run(NamedTuple):
    """What `read` finds.

    Attributes:
      classes: their names.
      view: that of the stream `rgb` in training, its windows one after another; None of a published network that
        `vmmjax convert` wrote, which was never trained here.
    """

    classes: list[str]
    view: View | None


def read(folder: Path) -> Run:
    """Reads the newest whole checkpoint's config.

    Args:
      folder: that `vmmjax train` or `vmmjax convert` wrote.

    Raises:
      UserError: where no checkpoint is whole, or its way to look at a video cannot be repeated on a file.
    """
    _, meta = Checkpoints(folder).newest_meta()
    config = configs.from_json(meta['config'])
    if config.task.name in _OTHER_TASKS or not isinstance(meta['classes'], list):
        raise UserError(f'The run in {folder} has the task {config.task.name} of {config.data.target}, and `vmmjax '
                        f'predict` names the one class of a video; measure it with `vmmjax evaluate`.')
    streams = config.data.streams
    return Run(meta['classes'], _view(folder, config, streams['rgb']) if 'rgb' in streams else None)


def _view(folder: Path, config: Any, stream: Any) -> View:
    if tuple(stream.get('region') or _WHOLE) != _WHOLE:
        raise UserError(f'The network in {folder} sees a region {tuple(stream.region)} of each picture, and prediction '
                        f'on files shows it the middle; measure it with `vmmjax evaluate`.')
    try:
        from vmmjax.store.store import Store
    except ImportError as error:
        raise UserError(f'The store of {folder} cannot be read ({error}); pip install "vmmjax[data]".') from error
    try:
        column = Store(config.data.store).column(stream.modality)
    except UserError as error:
        raise UserError(f'How large the pictures of {folder} were is told by its store, which cannot be '
                        f'read: {error}') from error
    seconds = config.data.window.seconds
    frames = stream.get('frames') or max(1, round(seconds * column.rate))
    return View(frames, frames / seconds, int(column.sizes[column.lengths > 0].min()), stream.size)
