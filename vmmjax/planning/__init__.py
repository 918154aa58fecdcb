"""What a training step needs on devices that are not here."""

from vmmjax.planning.chips import CHIPS, Chip, Topology, simulate
from vmmjax.planning.collectives import Collective, collectives
from vmmjax.planning.compiling import Compiled, compile_step, largest_batch
from vmmjax.planning.counting import macs
from vmmjax.planning.program import operations, traffic
from vmmjax.planning.tables import table

__all__ = ['CHIPS', 'Chip', 'Collective', 'Compiled', 'Topology', 'collectives', 'compile_step', 'largest_batch',
           'macs', 'operations', 'simulate', 'table', 'traffic']
