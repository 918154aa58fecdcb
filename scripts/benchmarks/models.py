r"""Time of our networks against PyTorch's, in one process, on one machine.

  scripts/bench models
  scripts/bench models --only=i3d --repeats=15 --write

Each row is a network of the same layers on all sides, in float32, with as many threads: ours, PyTorch's in its default
layout (channels first) and in channels last. Runs alternate, so that whatever else the machine does hits all; the ratio
is that of our median to the median of PyTorch's faster layout, and its range that of the quartiles. Compiling is timed
apart. --write puts the table into experiments/results/benchmark_models.md.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch_networks as peers
from tqdm import tqdm

from vmmjax import create_model, xla_flags
from vmmjax.reports import results_page
from vmmjax.text_table import markdown

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'experiments' / 'results' / 'benchmark_models.md'
CLASSES = 400

# Name -> our model, stream, input shape, the peer, and how it wants the input.
NETWORKS: dict[str, tuple[str, str, tuple[int, ...], Callable[[], torch.nn.Module], Callable[[Any], Any]]] = {
    'i3d': ('i3d', 'rgb', (1, 16, 224, 224, 3), lambda: peers.I3D(CLASSES), lambda x: x.transpose(0, 4, 1, 2, 3)),
    'tsm': ('tsm_resnet50', 'rgb', (1, 8, 224, 224, 3), lambda: peers.TSM(CLASSES, 8),
            lambda x: x.reshape(-1, *x.shape[2:]).transpose(0, 3, 1, 2)),
    'cnn14': ('panns_cnn14', 'audio', (1, 1001, 64), lambda: peers.Cnn14(CLASSES), lambda x: x),
}
# What is to be reached, as a ratio to PyTorch's time.
ROWS = {('i3d', 'forward'): 0.70, ('i3d', 'step'): 0.90, ('tsm', 'forward'): 0.9, ('tsm', 'step'): 1.0,
        ('cnn14', 'forward'): 1.0}


def ours(network: str, work: str) -> tuple[Callable[[], Any], float]:
    """A call that does the work once, and the seconds that compiling it took."""
    name, stream, shape, *_ = NETWORKS[network]
    model = create_model(name, num_classes=CLASSES)
    batch = {stream: jnp.asarray(np.random.default_rng(0).uniform(-1, 1, shape), jnp.float32)}
    variables = jax.jit(lambda key, batch: model.init(key, batch, train=False))(jax.random.key(0), batch)
    state, params = flax.core.pop(variables, 'params')
    # What a function closes over is a constant to XLA, which computes on it while it compiles: clips are handed over.
    if work == 'forward':
        def forward(params: Any, state: Any, batch: Any) -> Any:
            return model.apply({'params': params, **state}, batch, train=False).logits

        function: Any = jax.jit(forward)
    else:
        def step(params: Any, state: Any, batch: Any) -> Any:
            def loss(params: Any) -> Any:
                outputs, new = model.apply({'params': params, **state}, batch, train=True, mutable=list(state),
                                           rngs={'dropout': jax.random.key(1)})
                return optax.softmax_cross_entropy_with_integer_labels(outputs.logits, jnp.zeros(1, int)).mean(), new
            gradients, new = jax.grad(loss, has_aux=True)(params)
            return jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradients), new

        function = jax.jit(step, donate_argnums=(0, 1))
    begin = time.perf_counter()
    compiled = function.lower(params, state, batch).compile()
    seconds = time.perf_counter() - begin
    held = [params, state]

    def once() -> None:
        result = jax.block_until_ready(compiled(*held, batch))
        if work == 'step':
            held[:] = result
    return once, seconds


def theirs(network: str, work: str, channels_last: bool) -> Callable[[], Any]:
    """PyTorch's, in one of its layouts."""
    _, _, shape, build, axes = NETWORKS[network]
    model = build()
    x = torch.from_numpy(np.ascontiguousarray(axes(
        np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32))))
    if channels_last:
        layout = torch.channels_last_3d if any(p.dim() == 5 for p in model.parameters()) else torch.channels_last
        model = model.to(memory_format=layout)
        x = x.contiguous(memory_format=layout) if x.dim() > 3 else x  # Log-mels have one channel.
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model.train(work == 'step')

    def once() -> None:
        if work == 'forward':
            with torch.inference_mode():
                model(x)
            return
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), torch.zeros(1, dtype=torch.long)).backward()
        optimizer.step()
    return once


def measure(network: str, work: str, repeats: int, bar: Any) -> dict[str, Any]:
    """The sides' times of one row, in seconds: ours, PyTorch's channels first, PyTorch's channels last."""
    mine, compile_seconds = ours(network, work)
    sides = (mine, theirs(network, work, False), theirs(network, work, True))
    times: tuple[list[float], ...] = ([], [], [])
    for repeat in range(-2, repeats):  # Two to warm up.
        for call, kept in zip(sides, times, strict=True):
            begin = time.perf_counter()
            call()
            if repeat >= 0:
                kept.append(time.perf_counter() - begin)
        bar.update()
    left, *peers = times
    right = min(peers, key=statistics.median)
    return dict(network=network, work=work, compile=compile_seconds, ours=statistics.median(left),
                theirs=[statistics.median(peer) for peer in peers], best=min(left) / min(right),
                ratio=statistics.median(left) / statistics.median(right),
                spread=[np.quantile(left, low) / np.quantile(right, 1 - low) for low in (0.25, 0.75)])


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    head = ('network', 'work', 'ours, ms', 'PyTorch, ms', 'channels last, ms', 'ratio to the faster (quartiles)',
            'of the best', 'to reach', 'compile, s')
    lines = []
    for row in rows:
        shape = ' x '.join(map(str, NETWORKS[row['network']][2]))
        times = [row['ours'], *row['theirs']]
        cells = (f"{NETWORKS[row['network']][0]}, {shape}", row['work'], *(f'{1e3 * seconds:.0f}' for seconds in times),
                 '{:.2f} ({:.2f} to {:.2f})'.format(row['ratio'], *row['spread']),
                 f"{row['best']:.2f}", f"{ROWS[row['network'], row['work']]:.2f}", f"{row['compile']:.0f}")
        lines.append(cells)
    return markdown(head, lines)


def machine() -> str:
    """Where and with what this ran."""
    return f'{results_page.machine(("jax", "torch"))}, {torch.get_num_threads()} threads.'


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench models', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default=','.join(NETWORKS), help='networks, such as i3d,tsm (default: all)')
    parser.add_argument('--repeats', type=int, default=9, help='runs of each side a row (default: 9)')
    parser.add_argument('--write', action='store_true', help=f'put the table into {PAGE.relative_to(ROOT)}')
    flags = parser.parse_args()
    xla_flags.add(xla_flags.COMPILE_FASTER)  # As every command does.
    torch.set_num_threads(os.cpu_count() or 1)
    chosen = flags.only.split(',')
    if unknown := [name for name in chosen if name not in NETWORKS]:
        parser.error(f'there is no network {unknown[0]}; there are {", ".join(NETWORKS)}')
    work = [row for row in ROWS if row[0] in chosen]
    rows = []
    with tqdm(total=len(work) * (flags.repeats + 2), unit='run') as bar:
        for network, kind in work:
            bar.set_description(f'{network} {kind}')
            rows.append(measure(network, kind, flags.repeats, bar))
    print(machine(), table(rows), sep='\n\n')
    if flags.write:
        results_page.insert(PAGE, machine(), table(rows))


if __name__ == '__main__':
    main()
