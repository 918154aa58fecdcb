"""A result for TensorBoard, beside the training: its figures, its confusion matrix, its calibration."""

import time
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from vmmjax.errors import UserError
from vmmjax.evaluation.result import Result
from vmmjax.reports import plots

_MOST_CLASSES = 40  # Of a confusion matrix that can be read.
_WIDTH, _HEIGHT = slice(16, 20), slice(20, 24)  # Bytes of a PNG file.


def write(workdir: Path, result: Result) -> Path:
    """Writes `<workdir>/tensorboard/<split>`, which TensorBoard shows as a run of its own, in place of an older one.

    Args:
      workdir: the run's folder.
      result: as `Task.result` gives it; its figures are scalars named `<split>/<metric>`, as training names those of
        validation, at the step that was measured.

    Returns:
      The folder.

    Raises:
      UserError: where it cannot be written.
    """
    split, folder = result.split, workdir / 'tensorboard' / result.split
    values = [Summary.Value(tag=f'{split}/{name}', simple_value=value) for name, value in result.metrics.items()]
    if result.confusion and len(result.confusion) <= _MOST_CLASSES:
        side = 2.5 + 0.35 * len(result.classes)
        values.append(_image(f'{split}/confusion', plots.png(
            plots.confusion(result.classes, result.confusion), (side, side))))
    if result.calibration:
        values.append(_image(f'{split}/reliability', plots.png(
            plots.reliability(result.calibration), (3.8, 3.3))))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob('events.out.tfevents.*'):
            old.unlink()
        events = EventsWriter(str(folder / 'events'))
        events.write_event(Event(step=result.step, wall_time=time.time(), summary=Summary(value=values)))
        events.close()
    except OSError as error:
        raise UserError(f'{folder} cannot be written: {error.strerror}.') from error
    return folder


def _image(tag: str, png: bytes) -> Any:
    width, height = (int.from_bytes(png[place]) for place in (_WIDTH, _HEIGHT))
    return Summary.Value(tag=tag, image=Summary.Image(height=height, width=width, colorspace=4,
                                                      encoded_image_string=png))
