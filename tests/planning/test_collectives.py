import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vmmjax.planning import Collective, collectives, operations
from vmmjax.training.sharding import make_mesh

# Lines as the compilers write them: of the CPU, and of the TPU, whose groups are axes of a mesh, or
# parts of axes.
LINES = {
    '  %a = f32[16,8]{1,0} all-reduce(%x), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%add':
        ('all-reduce', 4, 512, 768),
    '  %b = (f32[8]{0}, s32[]) all-reduce(%x, %y), replica_groups=[4,2]<=[8], to_apply=%add':
        ('all-reduce', 2, 36, 36),
    "  %c = bf16[512,4]{1,0:T(8,128)(2,1)S(1)} all-gather(%x), replica_groups=mesh['i'=2,'j'=4] {'j'}, dimensions={0}":
        ('all-gather', 4, 4096, 3072),
    "  %d = (bf16[2,4]{1,0}, bf16[8,4]{1,0}) all-gather-start(%x), replica_groups=mesh['i'=2,'j'=4] {'j'}":
        ('all-gather', 4, 64, 48),
    "  %g = f32[8]{0} all-reduce(%x), replica_groups=mesh['data'=8,'tensor'=2] {'data':(2)4}, to_apply=%add":
        ('all-reduce', 4, 32, 48),
    "  %h = f32[8]{0} all-reduce(%x), replica_groups=mesh['data'=8,'tensor'=2] {'data':(1)2,'data':(4)2,'tensor'}":
        ('all-reduce', 8, 32, 56),
    "  %i = f32[4,6]{1,0} all-gather(%x), replica_groups=mesh['a'=2,'b'=1,'c'=4], device_ids=([2,2,2]T(1,0,2)) {'a'}":
        ('all-gather', 2, 96, 48),
    '  %e = f32[4,8]{1,0} reduce-scatter(%x), replica_groups={{0,1},{2,3}}, to_apply=%add':
        ('reduce-scatter', 2, 128, 128),
    '  %f = (u8[64]{0}, u8[64]{0}, u32[], u32[]) collective-permute-start(%x), source_target_pairs={{0,1},{1,0}}':
        ('collective-permute', 8, 64, 64),
}


def read(text: str, devices: int) -> list[Collective]:
    return collectives(operations(text), devices)


@pytest.mark.parametrize('line', LINES)
def test_an_exchange_is_read_from_its_line(line: str) -> None:
    kind, group, result, sent = LINES[line]
    assert read(f'ENTRY %main (x: f32[8]) -> f32[8] {{\n{line}\n}}\n', 8) == [(kind, group, 1, result, sent)]


def test_a_sum_of_which_a_part_is_kept_is_a_scattered_one() -> None:
    text = ('%all-reduce-scatter (input: f32[512,4]) -> f32[256,4] {\n'
            '  %s = f32[512,4]{1,0} all-reduce(%input), replica_groups={{0,1},{2,3}}, to_apply=%add\n}\n\n'
            'ENTRY %main (x: f32[8]) -> f32[8] {\n'
            '  %r = f32[256,4]{1,0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter\n'
            '  %t = f32[8]{0} all-reduce(%x), replica_groups={{0,1,2,3}}, to_apply=%add\n}\n')
    assert read(text, 4) == [('all-reduce', 4, 1, 32, 48), ('reduce-scatter', 2, 1, 4096, 4096)]


def test_a_real_program_sums_its_gradient_once() -> None:
    mesh = make_mesh({'data': 4}, jax.devices()[:4])
    w, x = np.ones((6, 5), np.float32), np.ones((8, 6), np.float32)
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P('data'))
    program = jax.jit(jax.grad(lambda w, x: jnp.sum(jnp.tanh(x @ w))), in_shardings=(whole, rows), out_shardings=whole)
    found = read(program.lower(w, x).compile().as_text(), 4)
    assert found == [('all-reduce', 4, 1, 120, 180)]
    alone = jax.jit(jax.grad(lambda w, x: jnp.sum(jnp.tanh(x @ w)))).lower(w, x).compile()
    assert not read(alone.as_text(), 1)


def test_a_real_program_sums_over_a_part_of_an_axis() -> None:
    """A sum over one of the two factors of an axis: jax 0.11 names a part of it, 0.10 a mesh with more axes."""
    mesh = make_mesh({'data': 4, 'tensor': 2}, jax.devices()[:8])
    rows, whole = NamedSharding(mesh, P('data')), NamedSharding(mesh, P())
    for axis, sums, gathers in ((1, 1, 2), (0, 2, 4)):
        program = jax.jit(lambda x, axis=axis: x.reshape(2, 4, 6).sum(axis), in_shardings=rows, out_shardings=whole)
        found = read(program.lower(np.ones((8, 6), np.float32)).compile().as_text(), 8)
        assert found == [('all-gather', 2, 1, 24 * gathers, 12 * gathers), ('all-reduce', 2, 1, 24 * sums, 24 * sums)]
