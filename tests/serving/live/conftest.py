import pytest

from vmmjax.experiment import Experiment
from vmmjax.serving.live.judge import Judge


@pytest.fixture(scope='package')
def run(lights_run):
    return Experiment.load(lights_run)


@pytest.fixture(scope='package')
def judge(run):
    return Judge(run, 2)
