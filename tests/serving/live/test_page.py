import json
import re
import urllib.error
import urllib.request

import pytest

from tests.serving.live.test_log import alarm
from vmmjax.errors import UserError
from vmmjax.serving.live.page import Page

STATUS = {'sources': [{'name': 'do"or<b>', 'state': 'running', 'stalled': ['audio'], 'delay': 0.25, 'faults': 2,
                       'alarms': 1, 'frames': 9, 'used': 6, 'dropped': 3, 'windows': 2, 'windows_dropped': 1,
                       'damaged': 0}],
          'alarms': [alarm('a', 'start').to_json() | {'class': '<script>'}], 'waiting': 4}


@pytest.fixture(scope='module')
def page():
    page = Page('127.0.0.1:0', lambda: STATUS)
    yield page
    page.close()


def test_the_page_tells_of_sources_and_alarms(page):
    with urllib.request.urlopen(page.address) as answer:
        text, policy = answer.read().decode(), answer.headers['Content-Security-Policy']
    assert "default-src 'none'" in policy
    assert '<script' not in text
    assert '&lt;script&gt;' in text
    assert 'do&quot;or&lt;b&gt;' in text
    assert '<span class="running">running</span>' in text
    assert '4 messages wait' in text


def test_prometheus_reads_the_numbers(page):
    with urllib.request.urlopen(f'{page.address}metrics') as answer:
        lines = answer.read().decode().splitlines()
    numbers = dict(line.rsplit(' ', 1) for line in lines if not line.startswith('#'))
    assert all(re.fullmatch(r'\w+(\{source="([^"\\]|\\.)*"\})?', name) for name in numbers)
    name = '{source="do\\"or<b>"}'
    assert numbers[f'vmmjax_frames_total{name}'] == '9'
    assert numbers[f'vmmjax_delay_seconds{name}'] == '0.250'
    assert numbers[f'vmmjax_up{name}'] == '1'
    assert numbers['vmmjax_messages_waiting'] == '4'
    assert json.load(urllib.request.urlopen(f'{page.address}status.json')) == STATUS


def test_nothing_else_is_served(page):
    with pytest.raises(urllib.error.HTTPError, match='404'):
        urllib.request.urlopen(f'{page.address}../etc/passwd')


@pytest.mark.parametrize('host', ['evil.example', '[::', ''])
def test_another_name_is_not_answered(page, host):
    for path in ('', 'metrics', 'status.json'):
        with pytest.raises(urllib.error.HTTPError, match='403'):
            urllib.request.urlopen(urllib.request.Request(page.address + path, headers={'Host': host}))


@pytest.mark.parametrize('where', ['nowhere', '127.0.0.1:99999', '127.0.0.1'])
def test_an_address_that_is_none_is_refused(where):
    with pytest.raises(UserError, match='--page=HOST:PORT'):
        Page(where, dict)
