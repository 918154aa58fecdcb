import threading
from pathlib import Path

import pytest

from vmmjax.errors import UserError
from vmmjax.media.container import MediaError
from vmmjax.serving.web import jobs as web_jobs
from vmmjax.serving.web.jobs import Found, Jobs


class Work:
    """Notes what it is given; waits until it may go on."""

    def __init__(self):
        self.may, self.seen, self.at_once = threading.Event(), [], 0

    def __call__(self, path, name, folder):
        self.at_once += 1
        assert self.at_once == 1
        self.may.wait(60)
        self.seen.append(name)
        self.at_once -= 1
        if 'bad' in name:
            raise MediaError(path, 'it is damaged')
        if 'odd' in name:
            raise UserError(f'{path} is odd; take another.')
        if 'bug' in name:
            raise ValueError('secret')
        if 'unwritten' in name:
            raise UserError(f'{folder / "rgb.mp4"} cannot be written; is {folder.parent} full?')
        (folder / 'x.png').write_bytes(b'x')
        return Found({'name': name}, {'clip': name}, {'x.png': folder / 'x.png'})


@pytest.fixture
def queue(tmp_path):
    work, said = Work(), []
    jobs = Jobs(tmp_path, work, said.append)
    yield jobs, work, said
    work.may.set()
    jobs.close()


def put(jobs, name):
    job = jobs.begin(name)
    job.upload.write_bytes(name.encode())
    jobs.submit(job)
    return job


def wait_for(jobs, count):
    with jobs._changed:
        pass
    for _ in range(600):
        if sum(each['state'] in ('done', 'failed') for each in jobs.listed()) >= count:
            return
        threading.Event().wait(.02)
    raise AssertionError(jobs.listed())


def test_files_are_judged_one_after_another_and_the_queue_is_seen(queue, tmp_path):
    jobs, work, _ = queue
    first = put(jobs, 'a')
    while first.state != 'running':
        threading.Event().wait(.01)
    late = jobs.begin('late')
    put(jobs, 'b'), put(jobs, 'c')
    jobs.submit(late)
    assert [(each['name'], each['state'], each['place']) for each in jobs.listed()] == [
        ('late', 'waiting', 3), ('c', 'waiting', 2), ('b', 'waiting', 1), ('a', 'running', 0)]
    work.may.set()
    wait_for(jobs, 4)
    assert work.seen == ['a', 'b', 'c', 'late']
    assert jobs.get(first.id).found.view == {'name': 'a'}
    assert first.file('x.png') == tmp_path / first.id / 'x.png'
    assert first.file('clip') == first.upload
    assert first.file('../x.png') is None


def test_a_file_that_fails_costs_only_itself_and_says_its_own_name(queue, tmp_path):
    jobs, work, said = queue
    work.may.set()
    bad, odd, bug, good = (put(jobs, name) for name in ('bad.mp4', 'odd.mp4', 'bug.mp4', 'good.mp4'))
    wait_for(jobs, 4)
    assert bad.error == 'bad.mp4: it is damaged.'
    assert odd.error == 'odd.mp4 is odd; take another.'
    assert bug.error == 'bug.mp4: it could not be judged (ValueError); the server has logged why.'
    assert good.state == 'done'
    assert not bad.upload.exists()
    assert len(said) == 1
    assert 'ValueError: secret' in said[0]


def test_a_log_that_is_closed_and_a_file_that_stays_do_not_end_the_work(tmp_path, monkeypatch):
    def closed(_):
        raise OSError('Broken pipe')

    def stays(*_, **__):
        raise PermissionError('stays')

    work = Work()
    work.may.set()
    monkeypatch.setattr(Path, 'unlink', stays)
    jobs = Jobs(tmp_path, work, closed)
    for name in ('bug', 'bad', 'good'):
        put(jobs, name)
    wait_for(jobs, 3)
    assert [each['state'] for each in jobs.listed()] == ['done', 'failed', 'failed']
    jobs.close()


def test_one_that_takes_too_long_does_not_hold_up_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(web_jobs, '_LONGEST', .2)
    hung, seen = threading.Event(), []

    def work(path, name, folder):
        if name == 'hangs':
            hung.wait(60)
        seen.append(name)
        return Found({}, {}, {})

    jobs = Jobs(tmp_path, work, print)
    first, second = put(jobs, 'hangs'), put(jobs, 'good')
    wait_for(jobs, 2)
    assert (first.state, second.state) == ('failed', 'done')
    assert first.error.startswith('hangs: it takes longer than 0.00333333 minutes, and others wait; cut it')
    hung.set()
    while first.upload.exists():
        threading.Event().wait(.01)
    assert (seen, first.state, first.found) == (['good', 'hangs'], 'failed', None), 'what comes too late is left'
    jobs.close()


def test_no_path_of_the_server_is_told(queue, tmp_path):
    jobs, work, _ = queue
    work.may.set()
    job = put(jobs, 'unwritten')
    wait_for(jobs, 1)
    assert job.error == 'rgb.mp4 cannot be written; is the temporary folder full?'


def test_the_end_waits_for_what_runs_and_takes_no_more(tmp_path):
    jobs = Jobs(tmp_path, work := Work(), print)
    job = put(jobs, 'a')
    while job.state != 'running':
        threading.Event().wait(.01)
    threading.Timer(.2, work.may.set).start()
    jobs.close()
    assert job.state == 'done', 'what it writes is removed with the folder'
    with pytest.raises(UserError, match='The server ends'):
        jobs.begin('b')


def test_no_more_may_wait_than_can_be_kept(queue, tmp_path):
    jobs, work, _ = queue
    for number in range(8):
        put(jobs, str(number))
    with pytest.raises(UserError, match='8 files wait already'):
        jobs.begin('9')
    work.may.set()
    wait_for(jobs, 8)
    jobs.discard(jobs.begin('9'))
    assert len(list(tmp_path.iterdir())) == 8


def test_old_ones_are_forgotten_with_their_files(queue, tmp_path, monkeypatch):
    monkeypatch.setattr(web_jobs, '_KEPT', 2)
    jobs, work, _ = queue
    work.may.set()
    made = []
    for name in 'abcd':
        made.append(put(jobs, name))
        wait_for(jobs, min(len(made), 2))
        while made[-1].state != 'done':
            threading.Event().wait(.01)
    while len(list(tmp_path.iterdir())) > 2:
        threading.Event().wait(.01)
    assert {path.name for path in tmp_path.iterdir()} == {made[2].id, made[3].id}
    assert jobs.get(made[0].id) is None
    assert isinstance(made[3].file('x.png'), Path)
