import json

import pytest

from vmmjax.errors import UserError
from vmmjax.serving.live.alarm import Alarm
from vmmjax.serving.live.log import Log


def alarm(name, state, number=0):
    return Alarm(name, number, state, 'door', 'fight', 1.0, 2.5, '2026-01-01T00:00:00.000+00:00', 0.75, ('rgb',),
                 'a.mp4')


def test_a_message_survives_the_log(tmp_path):
    log = Log(tmp_path / 'alarms.jsonl')
    log.write(alarm('a', 'start'))
    log.close()
    line = json.loads((tmp_path / 'alarms.jsonl').read_text())
    assert line == {'id': 'a', 'number': 0, 'state': 'start', 'source': 'door', 'class': 'fight', 'start': 1.0,
                    'end': 2.5, 'time': '2026-01-01T00:00:00.000+00:00', 'peak': 0.75, 'present': ['rgb'],
                    'evidence': 'a.mp4'}
    assert Alarm.from_json(line).to_json() == line


def test_a_restart_ends_what_a_killed_process_left_open_and_goes_on(tmp_path):
    path = tmp_path / 'alarms.jsonl'
    log = Log(path)
    for message in (alarm('a', 'start'), alarm('b', 'start'), alarm('a', 'end', 1), alarm('b', 'update', 1)):
        log.write(message)
    log.close()
    with path.open('a') as file:
        file.write('{"id": "c", "num')  # It was killed while it wrote.
    again = Log(path)
    (left,) = again.left_open()
    assert (left.id, left.number, left.state) == ('b', 2, 'end')
    again.write(left)
    again.close()
    third = Log(path)
    assert third.left_open() == []
    third.close()
    assert json.loads(path.read_text().splitlines()[-1])['id'] == 'b'


@pytest.mark.parametrize('line', ['dear diary', '["a", 1]', 'null', '12'])
def test_another_file_is_not_added_to(tmp_path, line):
    (tmp_path / 'alarms.jsonl').write_text(f'{line}\n')
    with pytest.raises(UserError, match='Line 1 of'):
        Log(tmp_path / 'alarms.jsonl')
