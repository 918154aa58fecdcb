"""Compiled programs are kept between runs."""

import os
from pathlib import Path

import jax


def keep_compiled() -> None:
    """Has JAX keep what it compiles in the user's cache folder, so that a second run starts at once."""
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'vmmjax' / 'xla'
    jax.config.update('jax_compilation_cache_dir', str(cache))
