import time

from tests.serving.live.servers import Receiver
from tests.serving.live.test_log import alarm
from vmmjax.serving.live.webhook import Webhook


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(.02)


def test_what_a_receiver_misses_waits_on_the_disk_and_comes_in_order(tmp_path):
    receiver, said = Receiver(), []
    hook = Webhook(receiver.address, tmp_path / 'spool', said.append)
    for name in 'abc':
        hook.post(alarm(name, 'start'))
    until(lambda: said)
    assert hook.waiting == 3
    hook.close(0)
    receiver.up()
    again = Webhook(receiver.address, tmp_path / 'spool', said.append)
    again.post(alarm('a', 'end', 1))
    until(lambda: not again.waiting)
    again.close(1)
    receiver.close()
    assert [(found['id'], found['number']) for found in receiver.found] == [('a', 0), ('b', 0), ('c', 0), ('a', 1)]
    assert receiver.keys == ['a-0', 'b-0', 'c-0', 'a-1']
    assert said == ['connection refused; alarms wait until it takes them']


def test_a_receipt_that_is_lost_is_asked_for_again(tmp_path):
    receiver, said = Receiver(forgets=True), []
    receiver.up()
    hook = Webhook(receiver.address, tmp_path / 'spool', said.append)
    hook.post(alarm('a', 'start'))
    until(lambda: not hook.waiting)
    until(lambda: len(said) == 2)
    hook.close(1)
    receiver.close()
    assert receiver.keys == ['a-0', 'a-0'], 'whoever has seen a key does nothing the second time'
    assert said == ['it answers 503 Service Unavailable; alarms wait until it takes them', 'it takes alarms again']
