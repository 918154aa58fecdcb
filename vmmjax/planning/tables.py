"""What was compiled, as a table."""

import math
from collections.abc import Sequence

from vmmjax.planning.compiling import Compiled
from vmmjax.text_table import markdown

_HEADER = ('topology', 'chips', 'clips a chip', 'fits', 'state, GB', 'needs, GB', 'of', 'TFLOPs', 'memory, GB',
           'sent, MB', 'compute, ms', 'memory, ms', 'links, ms', 'clips/s', 'clips/s a host', 'cores a host', 'hours',
           'chip-hours', 'compiling, s')


def table(found: Sequence[Compiled], *, steps: int, core_seconds: float) -> str:
    """A Markdown table of steps, a line each; all of a chip, but for the last columns.

    Args:
      found: the steps.
      steps: of the whole training.
      core_seconds: that reading a clip takes.
    """
    rows = []
    for each in found:
        topology, chip, seconds = each.topology, each.topology.chip, each.seconds
        clips = each.batch / seconds if seconds > 0 else math.nan
        bounds = [each.bounds.get(name, math.nan) for name in ('compute', 'memory', 'links')]
        rows.append([
            topology.name, str(topology.chips), f'{each.batch / topology.chips:g}',
            ('yes' if each.fits else 'no') if chip else '–', _figure(sum(each.state.values()) / 1e9),
            _figure(each.needs / 1e9), f'{chip.memory / 1e9:.0f}' if chip else '–', _figure(each.flops / 1e12),
            _figure(each.accessed / 1e9), _figure(each.sent / 1e6 if each.fits else math.nan),
            *(_figure(1000 * bound) for bound in bounds), _figure(clips), _figure(clips / topology.hosts),
            _figure(clips / topology.hosts * core_seconds), _figure(steps * seconds / 3600),
            _figure(steps * seconds / 3600 * topology.chips), f'{each.compiling:.0f}'])
    return markdown(_HEADER, rows, '<>')


def _figure(value: float) -> str:
    """Three digits that count."""
    if math.isnan(value):
        return '–'
    return f'{value:,.0f}' if value >= 100 else f'{value:.3g}'
