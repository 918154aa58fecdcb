import os

import pytest

from vmmjax import xla_flags

OWN = '--xla_backend_extra_options=xla_cpu_none'


@pytest.mark.parametrize(('given', 'after'), [
    ('', xla_flags.COMPILE_FASTER), ('--xla_a=1', f'--xla_a=1 {xla_flags.COMPILE_FASTER}'), (OWN, OWN),
    (xla_flags.COMPILE_FASTER, xla_flags.COMPILE_FASTER)])
def test_a_flag_is_added_unless_the_user_has_set_it(monkeypatch, given, after):
    monkeypatch.setenv('XLA_FLAGS', given)
    xla_flags.add(xla_flags.COMPILE_FASTER)
    assert os.environ['XLA_FLAGS'] == after
