import pytest

from tests.serving.live import lights


@pytest.fixture(scope='session')
def films(tmp_path_factory):
    """The folder of the films and the store of them."""
    folder = tmp_path_factory.mktemp('lights')
    lights.make_store(folder)
    return folder


@pytest.fixture(scope='session')
def lights_run(films):
    """A run that finds events in the films."""
    return lights.save_run(films / 'run', films / 'store')
