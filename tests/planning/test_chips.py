import pytest

from vmmjax.errors import UserError
from vmmjax.planning import CHIPS, Topology


@pytest.mark.parametrize(('name', 'chips', 'hosts'), [
    ('v5e:16x16', 256, 64), ('v5p:4x4x4', 64, 16), ('v6e:1x1', 1, 1), ('cpu:8', 8, 1)])
def test_a_topology_is_chips_and_hosts(name: str, chips: int, hosts: int) -> None:
    topology = Topology.parse(name)
    assert (topology.name, topology.chips, topology.hosts) == (name, chips, hosts)
    assert topology.chip == CHIPS.get(name[:3])


@pytest.mark.parametrize(('name', 'message'), [
    ('v5e', 'is no topology'), ('v5e:4x', 'is no topology'), ('v5e:0x4', 'is no topology'),
    ('v5f:4x4', "chip 'v5f': did you mean 'v5"), ('cpu:1000', 'JAX has begun with')])
def test_what_is_none_is_named(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Topology.parse(name).devices()
