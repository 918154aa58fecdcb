import jax
import jax.numpy as jnp

from vmmjax.training import make_mesh, state_shardings
from vmmjax.training.sharding_table import table

STATE = {'params': {'head': {'kernel': jax.ShapeDtypeStruct((1000, 1000), jnp.float32),
                             'bias': jax.ShapeDtypeStruct((3,), jnp.float32)},
                    'odd': {'kernel': jax.ShapeDtypeStruct((333, 333), jnp.bfloat16)}},
         'step': jax.ShapeDtypeStruct((), jnp.int32)}


def lines(rules=(), **mesh):
    mesh = make_mesh(mesh)
    return table(STATE, state_shardings(STATE, mesh, rules)).splitlines()


def test_it_says_what_every_device_holds():
    head, params, split, step, everything, *warnings = lines(data=2, fsdp=4, model=1)
    assert head.split('  ')[-1].strip() == 'the largest'
    assert params.split() == ['params', '-', '2', '0.2', '0.2', 'odd/kernel', '(333,', '333)']
    assert split.split() == ['params', 'fsdp', '1', '4.0', '1.0', 'head/kernel', '(1000,', '1000)']
    assert step.split()[:3] == ['step', '-', '1']
    assert everything.split() == ['all', 'data', '2,', 'fsdp', '4,', 'model', '1', '4', '4.2', '1.2']
    warning, = warnings
    assert warning.startswith('Warning: 5% of the bytes are whole on every device')
    assert 'params/odd/kernel (333, 333)' in warning


def test_an_axis_that_nothing_uses_is_a_warning():
    found = lines(data=2, fsdp=2, model=2)
    assert any('the axis model splits nothing' in line and "('tensor_parallel',)" in line for line in found)
    assert not any('the axis' in line for line in lines((('head/kernel', ('fsdp', 'model')),), data=2, fsdp=2, model=2))


def test_what_cannot_be_split_is_no_warning():
    assert not any('Warning' in line for line in lines(data=8, fsdp=1, model=1))
