import cv2
import numpy as np
from tensorboardX.proto.event_pb2 import Event

from tests.reports.test_run_page import result_of
from vmmjax.evaluation.result import Result
from vmmjax.reports import tensorboard


def events(folder):
    """What stands in the one file of the folder, by tag."""
    (file,) = folder.iterdir()
    content, found, start = file.read_bytes(), {}, 0
    while start < len(content):
        length = int.from_bytes(content[start:start + 8], 'little')
        event = Event.FromString(content[start + 12:start + 12 + length])
        found |= {value.tag: (event.step, value) for value in event.summary.value}
        start += length + 16
    return found


def test_figures_and_pictures_stand_at_the_step_that_was_measured(tmp_path):
    result = result_of()
    tensorboard.write(tmp_path, result)
    found = events(tensorboard.write(tmp_path, result))  # The second takes the place of the first.
    assert {tag.removeprefix('test/') for tag in found} == {*result.metrics, 'confusion', 'reliability'}
    assert {step for step, _ in found.values()} == {200}
    assert found['test/accuracy'][1].simple_value == np.float32(result.metrics['accuracy'])
    for name in ('confusion', 'reliability'):
        image = found[f'test/{name}'][1].image
        picture = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture.shape == (image.height, image.width, 4)
        assert picture[..., :3].std() > 10


def test_many_classes_give_no_picture_and_other_tasks_figures_alone(tmp_path):
    many = result_of([f'class {i}' for i in range(60)], parts={}, clips=80)
    assert 'test/confusion' not in events(tensorboard.write(tmp_path, many))
    other = Result('test', 3, 7, {'mAP': 0.5}, {}, {}, [], task='multi_label')
    found = events(tensorboard.write(tmp_path, other))
    assert list(found) == ['test/mAP']
