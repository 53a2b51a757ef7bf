"""How alike are two representations of the same things, before anything is trained to join them?

    mutual k-NN    share of the k nearest neighbours of a row in x that are also its neighbours in y, mean over rows;
                   chance is k / (rows - 1)                                                          (arXiv 2405.07987)
    CKA            <K, L> / sqrt(<K, K> <L, L>) of the Gram matrices K = XX', L = YY', with the U-centred inner product:
                   0 on average for unrelated representations, 1 for a rotation and a scale          (arXiv 2010.11775)

The plain CKA (Gram matrices centred, diagonal kept) goes to 1 for any data with fewer rows than dimensions, which is
the usual case here; leaving out the diagonal removes that bias.
"""

from __future__ import annotations

import numpy as np

from seehear.nn.unit import unit
from seehear.types import Float


def mutual_knn(
    x_ND: Float[np.ndarray, "n d"], y_NE: Float[np.ndarray, "n e"], *, k: int = 10, groups: np.ndarray | None = None
) -> float:
    """By cosine, the means taken out. With `groups`, rows of one group (a recording) are no neighbours of each other:
    they are alike in every representation."""
    n = len(x_ND)
    if len(y_NE) != n or not 0 < k < n:
        raise ValueError(f"rows must belong together, more than k = {k}; got {n} and {len(y_NE)}")
    group_N = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    own_NN = group_N[:, None] == group_N[None, :]
    near = [_neighbours(np.asarray(z, np.float32), own_NN, k) for z in (x_ND, y_NE)]
    return float((near[0] & near[1]).sum() / (n * k))


def cka(x_ND: Float[np.ndarray, "n d"], y_NE: Float[np.ndarray, "n e"]) -> float:
    """Linear, unbiased. 0 where one of them does not vary."""
    n = len(x_ND)
    if len(y_NE) != n or n < 4:
        raise ValueError(f"rows must belong together, four at least; got {n} and {len(y_NE)}")
    k_NN, l_NN = (_u_centred(np.asarray(z, np.float64)) for z in (x_ND, y_NE))
    scale = np.sqrt((k_NN**2).sum() * (l_NN**2).sum())
    return float((k_NN * l_NN).sum() / scale) if scale > 0 else 0.0


def _neighbours(z_ND: np.ndarray, own_NN: np.ndarray, k: int) -> np.ndarray:
    """(N, N) bool: the k nearest of each row."""
    z_ND = unit(z_ND - z_ND.mean(axis=0))
    similar = z_ND @ z_ND.T
    similar[own_NN] = -np.inf
    near = np.zeros(own_NN.shape, bool)
    np.put_along_axis(near, np.argpartition(-similar, k - 1, axis=1)[:, :k], True, axis=1)
    return near & ~own_NN


def _u_centred(z_ND: np.ndarray) -> np.ndarray:
    """The Gram matrix with zero diagonal, and rows and columns that sum to zero."""
    z_ND = z_ND - z_ND.mean(axis=0)
    gram, n = z_ND @ z_ND.T, len(z_ND)
    np.fill_diagonal(gram, 0.0)
    rows = gram.sum(axis=0)
    gram += rows.sum() / ((n - 1) * (n - 2)) - (rows[:, None] + rows[None, :]) / (n - 2)
    np.fill_diagonal(gram, 0.0)
    return gram
