"""Tasks in which rows of a batch, or players, meet: small networks of them, trained in float64 by several processes."""

import json
import sys

import jax
import jax.numpy as jnp

from tests.training.exact import Setup, momentum, save
from vmmjax.tasks import Adversarial, Contrastive
from vmmjax.training.distributed import joined

AXES, STEPS = dict(data=2, fsdp=1, model=1), 5
_AVERAGE = dict(name='tests.cli.toy:Average', features=8)


def contrast():
    return Setup(jnp.float64, momentum(), Contrastive(
        target='label', streams=('rgb', 'audio'), dimensions=8, hidden=(8,)), network=dict(
        encoders=dict(rgb=_AVERAGE, audio=_AVERAGE), preprocess=dict(rgb='signed', audio='none'),
        fusion=dict(name='concat'), head={}))


def adversary():
    return Setup(jnp.float64, momentum(), Adversarial(
        target='label', latent=4, penalty=1.0, generator=dict(widths=(4,), hidden=4),
        facts={'classes': [], 'names': ['a', 'b', 'c', 'd', 'e']}), network=dict(
        encoders=dict(rgb=dict(name='strided_video', widths=(4,), strides=((2, 2, 2),))),
        preprocess=dict(rgb='none'), fusion=dict(name='concat'), head={}),
        players=dict(generator=('^task/',), discriminator=('^(?!task/)',)))


SETUPS = {'contrast': contrast, 'adversary': adversary}


def main(options):
    """One process of several: trains each, and writes what came of it."""
    jax.config.update('jax_enable_x64', True)
    with joined(options['coordinator'], options['num_processes'], options['process_id']):
        for name, setup in SETUPS.items():
            save(options['folder'], name, setup().run(AXES, STEPS))


if __name__ == '__main__':
    main(json.loads(sys.argv[1]))
