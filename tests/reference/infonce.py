"""InfoNCE and its relatives written out with loops over pairs, from the formulas. Slow, float64, nothing of ours."""

import math

import numpy as np


def rows_and_columns(s, tau, excluded=()):
    """The cross-entropies of rows and of columns of s / tau; excluded (i, j) are in no sum (FuseMix section 4.1)."""
    b = len(s)
    rows, columns = [], []
    for i in range(b):
        others = [j for j in range(b) if (i, j) not in excluded]
        rows.append(math.log(sum(math.exp(s[i][j] / tau) for j in others)) - s[i][i] / tau)
        others = [j for j in range(b) if (j, i) not in excluded]
        columns.append(math.log(sum(math.exp(s[j][i] / tau) for j in others)) - s[i][i] / tau)
    return rows, columns


def info_nce(s, tau, excluded=()):
    rows, columns = rows_and_columns(s, tau, excluded)
    return (sum(rows) / len(rows) + sum(columns) / len(columns)) / 2


def gradients(s, tau):
    """dL/dS = (P + Q - 2I) / (2 B tau) and dL/dtau = -(1/tau) sum_ij S_ij dL/dS_ij."""
    b = len(s)
    p, q, ds = np.zeros((b, b)), np.zeros((b, b)), np.zeros((b, b))
    for i in range(b):
        for j in range(b):
            p[i, j] = math.exp(s[i][j] / tau) / sum(math.exp(s[i][k] / tau) for k in range(b))
            q[i, j] = math.exp(s[i][j] / tau) / sum(math.exp(s[k][j] / tau) for k in range(b))
    for i in range(b):
        for j in range(b):
            ds[i, j] = (p[i, j] + q[i, j] - 2 * (i == j)) / (2 * b * tau)
    dtau = -sum(s[i][j] * ds[i, j] for i in range(b) for j in range(b)) / tau
    return ds, dtau


def overlap(row, column):
    """Weight two blends share. A blend is (first, second, weight of first)."""
    (a, b, w), (c, d, v) = row, column
    parts = [(a, w), (b, 1 - w)]
    others = [(c, v), (d, 1 - v)]
    return sum(min(x, y) for s, x in parts for t, y in others if s == t)


def excluded_pairs(ways, threshold=0.5):
    """`ways`: lists of blends, one list a way of being the same. Pairs that overlap enough in any of them."""
    found = set()
    for blends in ways:
        for i, row in enumerate(blends):
            for j, column in enumerate(blends):
                if i != j and overlap(row, column) >= threshold:
                    found.add((i, j))
    return found


def pairwise(vectors, tau):
    """12.9 (a): `vectors` {modality: list of vector or None}; InfoNCE of each pair over the rows that have both."""
    names = list(vectors)
    total, terms = 0.0, 0
    for k, p in enumerate(names):
        for q in names[k + 1 :]:
            rows = [n for n in range(len(vectors[p])) if vectors[p][n] is not None and vectors[q][n] is not None]
            if len(rows) < 2:
                continue
            x = [np.array(vectors[p][n]) / np.linalg.norm(vectors[p][n]) for n in rows]
            y = [np.array(vectors[q][n]) / np.linalg.norm(vectors[q][n]) for n in rows]
            s = [[float(a @ b) for b in y] for a in x]
            total, terms = total + info_nce(s, tau), terms + 1
    return total / terms
