"""What XLA computes with: deterministic operations, the cache of compiled programs, cores of the CPU."""

import os
from pathlib import Path

import jax

from vmmjax import xla_flags
from vmmjax.errors import UserError

FLAG = '--xla_gpu_deterministic_ops=true'
"""XLA's own; elsewhere than on a GPU it changes nothing."""


def compute_deterministically() -> None:
    """Has XLA take no operation whose result depends on who comes first; before JAX is asked for its devices.

    Raises:
      UserError: where it was asked already, and would not notice.
    """
    from jax._src import xla_bridge  # There is no public way to ask.

    if xla_bridge.backends_are_initialized():
        raise UserError(f'JAX computes already, perhaps as the config file asked it to, and takes --deterministic no '
                        f"more; set the variable XLA_FLAGS='{FLAG}' in its place.")
    xla_flags.add(FLAG)


def keep_compiled() -> None:
    """Has JAX keep what it compiles in the user's cache folder, so that a second run starts at once."""
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'vmmjax' / 'xla'
    jax.config.update('jax_compilation_cache_dir', str(cache))


def cores() -> int | None:
    """Among how many CPU cores XLA parts its sums, on which their last bits depend; None on an accelerator."""
    if jax.default_backend() != 'cpu':
        return None
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
