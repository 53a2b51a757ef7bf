"""Closed forms by other roads than ours: CCA as a generalised eigenproblem, by scipy. Nothing of ours."""

import numpy as np
from scipy.linalg import eigh


def covariances(x, y, shrinkage):
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    cx, cy = x.T @ x / len(x), y.T @ y / len(y)
    cx += shrinkage * np.trace(cx) / len(cx) * np.eye(len(cx))
    cy += shrinkage * np.trace(cy) / len(cy) * np.eye(len(cy))
    return cx, cy, x.T @ y / len(x)


def stacked(cx, cy, cxy):
    """All eigenvalues, descending, of C v = lambda D v, and the eigenvectors."""
    c = np.block([[cx, cxy], [cxy.T, cy]])
    d = np.block([[cx, np.zeros_like(cxy)], [np.zeros_like(cxy.T), cy]])
    values, vectors = eigh(c, d)
    return values[::-1], vectors[:, ::-1]


def recall_at_1(a, b):
    """Mean of both directions, in per cent, unit rows; ties broken against us."""
    hits = 0
    for s in (a @ b.T, b @ a.T):
        for i in range(len(s)):
            hits += all(s[i, i] > s[i, j] for j in range(len(s)) if j != i)
    return 100 * hits / (2 * len(a))


def smooth_world(rows, seed, *, maps=0, shared=48, private=32, dims=(128, 96)):
    """Section 11.9: x = tanh(2.5 z A1) A2 + u P + 0.3 eps, y likewise."""
    fixed, draw = np.random.default_rng(maps), np.random.default_rng((seed, 1))
    z = draw.normal(size=(rows, shared))
    views = []
    for d in dims:
        a1 = fixed.normal(size=(shared, 256)) / np.sqrt(shared)
        a2 = fixed.normal(size=(256, d)) / np.sqrt(256)
        p = fixed.normal(size=(private, d)) / np.sqrt(private)
        u = draw.normal(size=(rows, private))
        views.append(np.tanh(2.5 * z @ a1) @ a2 + u @ p + 0.3 * draw.normal(size=(rows, d)))
    return views


def private_world(rows, seed, *, shared=16, private=12, dims=(64, 48)):
    """Section 12.1: shared factors, private ones at 1.5 times their size, noise 0.5."""
    fixed, draw = np.random.default_rng(0), np.random.default_rng((seed, 2))
    z = draw.normal(size=(rows, shared))
    views = []
    for d in dims:
        a, p = fixed.normal(size=(shared, d)), fixed.normal(size=(private, d))
        views.append(z @ a + 1.5 * draw.normal(size=(rows, private)) @ p + 0.5 * draw.normal(size=(rows, d)))
    return views
