"""MCN written out with loops from the sheet (sections 3, 4 and 11): slow, float64, nothing of ours."""

import math

import numpy as np


def log_softmax_at(logits, k):
    top = max(logits)
    return logits[k] - top - math.log(sum(math.exp(v - top) for v in logits))


def mms_parts(s, margin, excluded=()):
    """4.1: the losses of rows and of columns."""
    rows, columns = [], []
    for i in range(len(s)):
        row = [s[i][j] - margin * (i == j) for j in range(len(s)) if (i, j) not in excluded]
        column = [s[j][i] - margin * (i == j) for j in range(len(s)) if (j, i) not in excluded]
        row_at = [j for j in range(len(s)) if (i, j) not in excluded].index(i)
        column_at = [j for j in range(len(s)) if (j, i) not in excluded].index(i)
        rows.append(-log_softmax_at(row, row_at))
        columns.append(-log_softmax_at(column, column_at))
    return rows, columns


def mms(s, margin=0.001, excluded=()):
    rows, columns = mms_parts(s, margin, excluded)
    return sum(rows) / len(rows) + sum(columns) / len(columns)


def products(x, y, tau=1.0):
    return [[sum(a * b for a, b in zip(p, q, strict=True)) / tau for q in y] for p in x]


def fused(z):
    """4.2: the mean of what a clip has; None where it has nothing. `z`: {modality: list of vector or None}."""
    found = []
    for parts in zip(*z.values(), strict=True):
        there = [p for p in parts if p is not None]
        found.append([sum(v) / len(there) for v in zip(*there, strict=True)] if there else None)
    return found


def norm(x):
    return math.sqrt(sum(v * v for v in x))


def cosine(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True)) / (norm(x) * norm(y))


def label(x, centroids):
    similar = [cosine(x, c) for c in centroids]
    return similar.index(max(similar))


def kmeans_step(rows, centroids):
    """(labels, centroids afterwards)"""
    labels = [label(x, centroids) for x in rows]
    moved = []
    for k, c in enumerate(centroids):
        own = [x for x, own_label in zip(rows, labels, strict=True) if own_label == k]
        moved.append([sum(v) / len(own) for v in zip(*own, strict=True)] if own else c)
    return labels, moved


def cluster_loss(x, centroids, k, margin=0.001, tau=1.0):
    logits = [v - margin * (i == k) for i, v in enumerate(products([x], centroids, tau)[0])]
    return -log_softmax_at(logits, k)


def clustering(z, centroids, over, margin=0.001, tau=1.0, unit=False):
    """L_clu; labels come from the fused vectors."""
    m = fused(z)
    labels = [None if x is None else label(x, centroids) for x in m]
    targets = [[v / norm(c) for v in c] for c in centroids] if unit else centroids
    parts = {"fused": m} if over == "fused" else z
    means = []
    for vectors in parts.values():
        losses = [
            cluster_loss(x, targets, k, margin, tau) for x, k in zip(vectors, labels, strict=True) if x is not None
        ]
        if losses:
            means.append(sum(losses) / len(losses))
    return sum(means) if over == "sum" else sum(means) / len(means)


def contrast(z, pairs, margin=0.001, tau=1.0):
    """{pair: MMS over the clips that have both}, where there are two at least."""
    found = {}
    for p, q in pairs:
        rows = [i for i in range(len(z[p])) if z[p][i] is not None and z[q][i] is not None]
        if len(rows) > 1:
            found[p, q] = mms(products([z[p][i] for i in rows], [z[q][i] for i in rows], tau), margin)
    return found


def gated_unit(x, w1, b1, w2, b2):
    y = [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(w1, b1, strict=True)]
    gate = [sum(w * v for w, v in zip(row, y, strict=True)) + b for row, b in zip(w2, b2, strict=True)]
    return y, gate, [v / (1 + math.exp(-g)) for v, g in zip(y, gate, strict=True)]


def max_words(words, weight, bias):
    """3: Linear, ReLU, maximum over the words that there are."""
    pooled = [0.0] * len(weight)
    for word in words:
        if any(v != 0 for v in word):
            for e, (row, b) in enumerate(zip(weight, bias, strict=True)):
                pooled[e] = max(pooled[e], sum(w * v for w, v in zip(row, word, strict=True)) + b)
    return pooled


def squared_error(predicted, target):
    return sum((p - t) ** 2 for p, t in zip(predicted, target, strict=True)) / len(target)


def convolve(x, weight, stride):
    """x (C, S), weight (O, C, K): zeros beyond both ends."""
    channels, frames = x.shape
    out, _, size = weight.shape
    padded = np.zeros((channels, frames + 2 * (size // 2)))
    padded[:, size // 2 : size // 2 + frames] = x
    starts = range(0, frames + 2 * (size // 2) - size + 1, stride)
    return np.array([[float((weight[o] * padded[:, s : s + size]).sum()) for s in starts] for o in range(out)])


def group_norm(x, weight, bias, groups):
    y = np.zeros_like(x)
    per = len(x) // groups
    for g in range(groups):
        part = x[g * per : (g + 1) * per]
        y[g * per : (g + 1) * per] = (part - part.mean()) / math.sqrt(part.var() + 1e-5)
    return y * weight[:, None] + bias[:, None]


def log_mel(sound, filters):
    """2.3 for one clip: direct Fourier sums, decibels below the loudest."""
    sound = np.asarray(sound, np.float64)
    sound = sound - sound.mean()
    sound = np.concatenate([sound[:1], sound[1:] - 0.97 * sound[:-1]])
    window = [0.54 - 0.46 * math.cos(2 * math.pi * n / 400) for n in range(400)]
    wave = np.exp(-2j * np.pi * np.arange(201)[:, None] * np.arange(400)[None] / 400)
    frames = []
    for start in range(0, len(sound) - 400 + 1, 160):
        power = np.abs(wave @ (sound[start : start + 400] * window)) ** 2
        frames.append(10 * np.log10(np.maximum(filters @ power, 1e-10)))
    level = np.array(frames).T
    return np.maximum(level - level.max(), -80.0)
