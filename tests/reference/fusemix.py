"""FuseMix's mixing and its adapter, transcribed with loops from the sheet (sections 3.1, 4.2, 4.3). Nothing of ours."""

import math


def mix(rows, first, second, lam):
    return [
        [lam * a + (1 - lam) * b for a, b in zip(rows[i], rows[j], strict=True)]
        for i, j in zip(first, second, strict=True)
    ]


def layer_norm(x, eps=1e-5):
    mean = sum(x) / len(x)
    variance = sum((v - mean) ** 2 for v in x) / len(x)
    return [(v - mean) / math.sqrt(variance + eps) for v in x]


def linear(x, weight, bias):
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def gelu(v):
    return v * 0.5 * (1 + math.erf(v / math.sqrt(2)))


def block(x, w1, b1, w2, b2):
    """Dropout off, LayerNorm at its start."""
    h = [gelu(v) for v in linear(layer_norm(x), w1, b1)]
    return [a + b for a, b in zip(x, linear(h, w2, b2), strict=True)]


def parameters(d, p, blocks, e):
    """Section 3.2."""
    return blocks * (2 * e * d * d + (e + 1) * d + 2 * d) + 2 * d + d * p + p
