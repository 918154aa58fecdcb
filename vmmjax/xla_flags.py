"""Flags of XLA that hold for a whole process: they are in the environment before JAX computes, or have no effect."""

import os

COMPILE_FASTER = '--xla_backend_extra_options=xla_cpu_disable_loop_unrolling,xla_cpu_disable_slp_vectorizer'
"""For CPUs: LLVM leaves out two passes that take a quarter of the time of compiling a training step and make none of
its steps faster (`experiments/results/benchmark_compile.md`); elsewhere it changes nothing. The last bits of what is
computed differ from those without it."""


def add(flag: str) -> None:
    """Has XLA take a flag, but where the user has given the same flag another value."""
    given = os.environ.get('XLA_FLAGS', '')
    if flag.partition('=')[0] not in given:
        os.environ['XLA_FLAGS'] = f'{given} {flag}'.strip()
