"""The fusions' formulas in plain NumPy, for one clip: `formula(params, clip) -> features, or (features, logits)`.

A clip is the valid tokens of the streams that are present and nothing else, so that no formula knows of masks.
"""

import math
from typing import Any, NamedTuple

import numpy as np

EPS = 1e-6


class Seen(NamedTuple):
    """Valid tokens (N, D), and when in the clip each is, in hundredths."""

    x: np.ndarray
    time: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.x.mean(0)


Clip = dict[str, Seen]


def linear(p: Any, x: np.ndarray) -> np.ndarray:
    return x @ p['kernel'] + p.get('bias', 0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def vectors(p: Any, clip: Clip, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    return {m: clip[m].mean if m in clip else p.get(f'absent_{m}', np.zeros(size)) for m, size in sizes.items()}


def concat(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    return np.concatenate(list(vectors(p, clip, sizes).values()))


def tanh_concat(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    h = vectors(p, clip, sizes)
    return p['join']['kernel'].T @ np.concatenate([np.tanh(p[f'project_{m}']['kernel'].T @ h[m]) for m in sizes])


def add(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    return sum(linear(p[f'project_{m}'], clip[m].mean) for m in clip)


def weighted_average(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    w = dict(zip(sizes, np.exp(p['scores']), strict=True)) if 'scores' in p else dict(a=1, b=2, c=5)
    return sum(w[m] * linear(p[f'project_{m}'], clip[m].mean) for m in clip) / sum(w[m] for m in clip)


def gated(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    every = concat(p, clip, sizes)
    if len(sizes) == 2:
        z = sigmoid(linear(p['gate'], every))
        gates = dict(zip(sizes, (z, 1 - z), strict=True))
    else:
        gates = {m: sigmoid(linear(p[f'gate_{m}'], every)) for m in sizes}
    return sum(gates[m] * np.tanh(linear(p[f'project_{m}'], clip[m].mean)) for m in clip)


def film(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    total = 0
    for m in clip:
        x = linear(p[f'project_{m}'], clip[m].mean)
        scale, shift = np.ones_like(x), np.zeros_like(x)
        for k in clip.keys() - {m}:
            condition = linear(p[f'{m}_given_{k}'], clip[k].mean)
            scale, shift = scale + condition[:len(x)], shift + condition[len(x):]
        total += scale * x + shift
    return total / len(clip)


def tensor(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    size = p['project_a']['bias'].size
    parts = [[1, *(linear(p[f'project_{m}'], clip[m].mean) if m in clip else np.zeros(size))] for m in sizes]
    return np.einsum('i,j,k->ijk', *parts).ravel()


def low_rank_tensor(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    """By the full tensor, which the low-rank form never makes."""
    h = [[1, *(clip[m].mean if m in clip else np.zeros(size))] for m, size in sizes.items()]
    factors = [p[f'factor_{m}'] for m in sizes]
    layer = np.einsum('r,rif,rjf,rkf->ijkf', p['weights'], *factors)
    return np.einsum('i,j,k,ijkf->f', *h, layer) + p['bias']


def multiplicative(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    h = vectors(p, clip, sizes)
    y = p['bias'] + linear(p['project_a'], h['a']) + linear(p['project_b'], h['b'])
    for i in range(sizes['a']):
        for j in range(sizes['b']):
            y = y + h['a'][i] * h['b'][j] * p['kernel'][i, j]
    return y


def non_local(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    q = linear(p['query'], clip['b'].x if 'b' in clip else p['absent_b'][None])
    if 'a' in clip:
        k, v = linear(p['key'], clip['a'].x), linear(p['value'], clip['a'].x)
        q = q + softmax(q @ k.T) @ v
    return q.mean(0)


def scores(p: Any, clip: Clip, sizes: dict[str, int], combine: str) -> tuple[np.ndarray, np.ndarray]:
    logits = {m: linear(p[f'head_{m}']['logits'], clip[m].x).mean(0) for m in clip}
    if combine == 'sum':
        joined = sum(logits.values())
    elif combine == 'probability':
        joined = np.log(sum(softmax(one) for one in logits.values()) / len(logits))
    else:
        w = dict(zip(sizes, np.exp(p['scores']), strict=True))
        joined = sum(w[m] * logits[m] for m in clip) / sum(w[m] for m in clip)
    return concat({}, clip, sizes), joined


# Fusions of tokens.


def norm(p: Any, x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPS) * p['scale'] + p['bias']


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int) -> np.ndarray:
    parts = [np.split(some, heads, -1) for some in (q, k, v)]
    return np.concatenate([softmax(a @ b.T / math.sqrt(b.shape[-1])) @ c for a, b, c in zip(*parts, strict=True)], -1)


def embed(p: Any, clip: Clip) -> dict[str, np.ndarray]:
    embedded = {}
    for m, seen in clip.items():
        x = linear(p[f'project_{m}'], seen.x)
        for i in range(x.shape[-1]):
            angle = seen.time / 10000 ** (i // 2 * 2 / x.shape[-1])
            x[:, i] += np.cos(angle) if i % 2 else np.sin(angle)
        embedded[m] = x
    return embedded


def block(p: Any, x: np.ndarray, heads: int) -> np.ndarray:
    y = norm(p['attention_norm'], x)
    q, k, v = (linear(p['attention'][name], y) for name in ('query', 'key', 'value'))
    x = x + linear(p['attention']['output'], attention(q, k, v, heads))
    return x + linear(p['output'], gelu(linear(p['intermediate'], norm(p['output_norm'], x))))


def transformer(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    x = np.concatenate([p['cls'], *embed(p, clip).values()])
    for i in range(len(p['encoder'])):
        x = block(p['encoder'][f'layer_{i}'], x, 2)
    return norm(p['norm'], x[0])


def bottleneck(p: Any, clip: Clip, sizes: dict[str, int], layers: int, fusion_layer: int) -> np.ndarray:
    x = {m: np.concatenate([p[f'cls_{m}'], some]) for m, some in embed(p, clip).items()}
    z = p.get('bottleneck')
    for i in range(layers):
        copies = []
        for m in clip:
            if i < fusion_layer:
                x[m] = block(p[f'layer_{i}_{m}'], x[m], 2)
            else:
                y = block(p[f'layer_{i}_{m}'], np.concatenate([x[m], z]), 2)
                x[m] = y[:len(x[m])]
                copies.append(y[len(x[m]):])
        if copies:
            z = np.mean(copies, 0)
    return np.mean([norm(p['norm'], x[m][0]) for m in clip], 0)


def cross_attention(p: Any, clip: Clip, sizes: dict[str, int]) -> np.ndarray:
    x = embed(p, clip)
    for i in range(2):
        normed = {m: norm(p[f'layer_{i}_{m}_attention_norm'], x[m]) for m in clip}
        for m in clip:
            layer = p[f'layer_{i}_{m}']
            if len(clip) > 1:
                others = np.concatenate([normed[k] for k in clip if k != m])
                q, k, v = (linear(layer[name], y)
                           for name, y in (('query', normed[m]), ('key', others), ('value', others)))
                x[m] = x[m] + linear(layer['output'], attention(q, k, v, 2))
            y = gelu(linear(layer['intermediate'], norm(layer['norm'], x[m])))
            x[m] = x[m] + linear(layer['perceptron'], y)
    return np.mean([norm(p[f'norm_{m}'], x[m].mean(0)) for m in clip], 0)
