import pytest

from vmmjax.evaluation import cost

COST = {'parameters': 24_300_000, 'macs': 3.3e10, 'views': 30, 'batch_size': 16, 'machine': 'a chip, /opt/driver'}
SERIES = {'clips_per_second': {10: 4.0, 20: 8.0}, 'goodput': {10: 0.5, 20: 0.75}, 'elapsed': {10: 80.0, 20: 4000.0}}


def test_the_time_of_training_is_that_of_its_steps():
    assert cost.training_seconds(SERIES, 16) == pytest.approx(10 * 16 / 4 + 10 * 16 / 8)
    assert cost.training_seconds({}, 16) == 0


def test_what_is_known_is_told():
    found = {name: (value, note) for name, value, note in cost.facts(COST, SERIES)}
    assert found['parameters'][0] == '24.3 M'
    assert found['forward pass'][0] == '33 GMACs'
    assert 'a clip has 30' in found['forward pass'][1]
    assert found['training'][0] == '1 min 00 s'
    assert found['in all'][0] == '1 h 06 min'
    assert found['goodput'][0] == '75.0 %'
    assert found['speed'][0] == '6 clips a second'
    assert found['measured on'][0] == 'a chip, …/driver'
    assert not cost.facts({}, {})
    assert [name for name, *_ in cost.facts({}, SERIES)] == ['in all', 'goodput', 'speed']


@pytest.mark.parametrize(('seconds', 'text'), [(3.14159, '3.14 s'), (59.4, '59.4 s'), (200, '3 min 20 s'),
                                               (3900, '1 h 05 min')])
def test_durations(seconds, text):
    assert cost.duration(seconds) == text
