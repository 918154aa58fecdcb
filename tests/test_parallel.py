import os
import signal

import pytest

from vmmjax.errors import UserError
from vmmjax.media.limits import isolated
from vmmjax.parallel import ordered_map


def square(number):
    if number == 13:
        raise UserError('Thirteen is unlucky: take another.')
    return number ** 2


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def death(path):
    os.kill(os.getpid(), signal.SIGKILL)
    yield path


def read_and_die(path):
    return list(isolated(path, death, path))


@pytest.mark.parametrize('workers', [1, 2])
def test_results_are_in_order(workers):
    results = ordered_map(square, range(10), workers=workers, label='squaring', progress=False)
    assert list(results) == [number ** 2 for number in range(10)]


@pytest.mark.parametrize('workers', [1, 2])
def test_what_the_function_raises_comes_through(workers):
    with pytest.raises(UserError, match='unlucky'):
        list(ordered_map(square, [1, 13, 2], workers=workers, label='squaring', progress=False))


def test_a_killed_worker_is_one_sentence():
    with pytest.raises(UserError, match='killed while squaring'):
        list(ordered_map(die, [1, 2, 3], workers=2, label='squaring', progress=False))


def test_a_reader_killed_under_a_single_process_is_the_same_sentence(tmp_path):
    with pytest.raises(UserError, match='killed while reading'):
        list(ordered_map(read_and_die, [tmp_path], workers=1, label='reading', progress=False))
