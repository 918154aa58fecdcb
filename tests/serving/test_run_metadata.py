import pytest

from tests import fakes
from tests.serving import tiny
from vmmjax.errors import UserError
from vmmjax.prepare import sources
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Rgb
from vmmjax.serving import run_metadata
from vmmjax.serving.predict import View


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    clips = sources.read(str(fakes.write_source(folder / 'source', {'train': 2})))
    prepare(clips, folder / 'store', [Rgb(fps=10, short_side=28)], origin='tiny', processes=1, progress=False)
    return folder / 'store'


def test_a_run_tells_its_classes_and_its_view(store, tmp_path):
    sampled = tiny.save_run(tmp_path / 'sampled', store, frames=4, size=24)
    assert run_metadata.read(sampled) == (tiny.CLASSES, View(4, 5.0, 28, 24))
    every = tiny.save_run(tmp_path / 'every', store, size=24)
    assert run_metadata.read(every).view == View(8, 10.0, 28, 24)


def test_a_converted_network_keeps_its_published_view(tmp_path):
    assert run_metadata.read(tiny.save_run(tmp_path / 'run')) == (tiny.CLASSES, None)


def test_what_names_no_class_is_refused(tmp_path):
    with pytest.raises(UserError, match='has the task regression of label'):
        run_metadata.read(tiny.save_run(tmp_path / 'numbers', task='regression'))


def test_what_cannot_be_repeated_on_a_file_is_refused(tmp_path):
    with pytest.raises(UserError, match='sees a region'):
        run_metadata.read(tiny.save_run(tmp_path / 'region', frames=4, size=24, region=(0.0, 0.5, 1.0, 1.0)))
    with pytest.raises(UserError, match='nowhere is not a finished store'):
        run_metadata.read(tiny.save_run(tmp_path / 'moved', 'nowhere', frames=4, size=24))
    with pytest.raises(UserError, match='no finished checkpoint'):
        run_metadata.read(tmp_path)
