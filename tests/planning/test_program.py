import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vmmjax.planning import collectives, operations, traffic
from vmmjax.planning.program import arrays
from vmmjax.training.sharding import make_mesh

# As the compiler for TPUs writes it: S(1) is memory on the chip, T(8,128) what a tile holds.
PROGRAM = """HloModule jit_step, is_scheduled=true

%fused (param_0: bf16[64,256]) -> bf16[64,256] {
  %param_0 = bf16[64,256]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %exponential.1 = bf16[64,256]{1,0:T(8,128)(2,1)} exponential(%param_0)
}

%body (state: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %state = (s32[], f32[8,128]{1,0:T(8,128)}) parameter(0)
  %x = f32[8,128]{1,0:T(8,128)} get-tuple-element(%state), index=1
  %negate.1 = f32[8,128]{1,0:T(8,128)} negate(%x)
  ROOT %next = (s32[], f32[8,128]{1,0:T(8,128)}) tuple(%state, %negate.1)
}

%slicing (param_0: bf16[64,256], param_1: bf16[64,256]) -> bf16[16,256] {
  %param_1.1 = bf16[64,256]{1,0:T(8,128)(2,1)} parameter(1)
  %param_0.1 = bf16[64,256]{1,0:T(8,128)(2,1)} parameter(0)
  %bitcast.1 = bf16[64,256]{1,0:T(8,128)(2,1)} bitcast(%param_0.1)
  %slice.1 = bf16[16,256]{1,0:T(8,128)(2,1)} slice(%bitcast.1), slice={[0:16], [0:256]}
  %slice.2 = bf16[16,256]{1,0:T(8,128)(2,1)} slice(%param_1.1), slice={[0:16], [0:256]}
  %tanh.1 = bf16[64,256]{1,0:T(8,128)(2,1)} tanh(%param_1.1)
  %slice.3 = bf16[16,256]{1,0:T(8,128)(2,1)} slice(%tanh.1), slice={[0:16], [0:256]}
  %add.1 = bf16[16,256]{1,0:T(8,128)(2,1)} add(%slice.1, %slice.2)
  ROOT %add.2 = bf16[16,256]{1,0:T(8,128)(2,1)} add(%add.1, %slice.3)
}

%updating (param_0: bf16[64,256], param_1: bf16[16,256]) -> (bf16[64,256], bf16[64,256]) {
  %param_0.2 = bf16[64,256]{1,0:T(8,128)(2,1)} parameter(0)
  %param_1.2 = bf16[16,256]{1,0:T(8,128)(2,1)} parameter(1)
  %zero = u32[] constant(0)
  %dynamic-update-slice.1 = bf16[64,256]{1,0:T(8,128)(2,1)} dynamic-update-slice(%param_0.2, %param_1.2, %zero, %zero)
  %bitcast.2 = bf16[64,256]{1,0:T(8,128)(2,1)} bitcast(%dynamic-update-slice.1)
  %broadcast.1 = bf16[64,256]{1,0:T(8,128)(2,1)} broadcast(%zero), dimensions={}
  ROOT %tuple.1 = (bf16[64,256], bf16[64,256]) tuple(%bitcast.2, %broadcast.1)
}

ENTRY %main (a: bf16[64,256], b: (s32[], f32[8,128]), c: bf16[16,256]) -> bf16[64,256] {
  %a = bf16[64,256]{1,0:T(8,128)(2,1)} parameter(0)
  %b = (s32[], f32[8,128]{1,0:T(8,128)}) parameter(1)
  %c = bf16[16,256]{1,0:T(8,128)(2,1)} parameter(2)
"""
LINES = {
    '  %f = bf16[64,256]{1,0:T(8,128)(2,1)} fusion(%a), kind=kLoop, calls=%fused': 2 * 32768,
    '  %f = bf16[64,256]{1,0:T(8,128)(2,1)S(1)} fusion(%a), kind=kLoop, calls=%fused': 32768,
    '  %c = (bf16[64,256]{1,0:T(8,128)(2,1)S(1)}, bf16[64,256]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) copy-start(%a)': 32768,
    '  %s = ((bf16[64,256]{1,0:T(8,128)(2,1)}), bf16[16,256]{1,0:T(8,128)(2,1)S(1)}, s32[]{:S(2)}) slice-start(%a)':
        8192,
    '  %s = bf16[16,256]{1,0:T(8,128)(2,1)} slice(%a), slice={[0:16], [0:256]}': 2 * 8192,
    '  %u = bf16[64,256]{1,0:T(8,128)(2,1)} dynamic-update-slice(%a, %c, %i, %i)': 2 * 8192,
    # Of one operand a slice is read, of the other all.
    '  %f = bf16[16,256]{1,0:T(8,128)(2,1)} fusion(%a, %a), kind=kLoop, calls=%slicing': 8192 + 32768 + 8192,
    # One result is updated where it lies, the other is new.
    '  %f = (bf16[64,256]{1,0:T(8,128)(2,1)}, bf16[64,256]{1,0:T(8,128)(2,1)}) fusion(%a, %c), calls=%updating':
        2 * 8192 + 32768,
    '  %p = bf16[64,300]{1,0:T(8,128)(2,1)} pad(%a), padding=0_0x0_44': 32768 + 64 * 384 * 2,
    '  %e = bf16[64,256]{1,0:T(8,128)(2,1)} custom-call(), custom_call_target="AllocateBuffer"': 0,
    '  %g = f32[8,128]{1,0:T(8,128)} get-tuple-element(%b), index=1': 0,
    '  %w = (s32[], f32[8,128]) while(%b), body=%body, backend_config={"known_trip_count":{"n":"5"}}': 5 * 2 * 4096,
    '  %w = (s32[], f32[8,128]) while(%b), body=%body': 2 * 4096,
}


@pytest.mark.parametrize('line', LINES)
def test_what_lies_in_memory_is_moved_and_what_is_on_the_chip_is_not(line: str) -> None:
    assert traffic(operations(f'{PROGRAM}{line}\n}}\n')) == LINES[line]


def test_arrays_take_up_whole_tiles_of_their_minor_axes() -> None:
    (found,) = arrays('bf16[64,56,56,64]{3,0,2,1:T(8,128)(2,1)}')
    assert (found.bytes, found.room, found.in_memory) == (2 * 64 * 56 * 56 * 64, 2 * 64 * 56 * 56 * 128, True)
    first, second, flag = arrays('(f32[7]{0:T(128)S(1)}, pred[3,5]{1,0}, u32[]{:S(2)})')
    assert (first.bytes, first.room, first.in_memory) == (28, 512, False)
    assert (second.bytes, second.room, second.in_memory) == (15, 15, True)
    assert (flag.bytes, flag.in_memory) == (4, False)


def test_of_a_real_program_operands_and_results_are_counted() -> None:
    a, b = jnp.zeros((64, 32)), jnp.zeros((32, 16))
    program = operations(jax.jit(jnp.dot).lower(a, b).compile().as_text())
    assert traffic(program) == 4 * (64 * 32 + 32 * 16 + 64 * 16)


def test_loops_run_as_often_as_they_do() -> None:
    mesh = make_mesh({'data': 4}, jax.devices()[:4])

    def summed(x: jax.Array, turns: int) -> jax.Array:
        return jax.lax.fori_loop(0, turns, lambda _, total: jnp.tanh(total + x.sum(0) @ total), jnp.ones((8, 8)))

    x, whole, rows = jnp.ones((4, 8, 8)), NamedSharding(mesh, P()), NamedSharding(mesh, P('data'))
    sent, moved = {}, {}
    for turns in (2, 50):
        compiled = jax.jit(lambda x, turns=turns: summed(x, turns), in_shardings=rows, out_shardings=whole).lower(
            x).compile()
        program = operations(compiled.as_text())
        sent[turns], moved[turns] = sum(each.number for each in collectives(program, 4)), traffic(program)
    assert moved[50] > 5 * moved[2]
    assert sent[50] >= sent[2] >= 1
