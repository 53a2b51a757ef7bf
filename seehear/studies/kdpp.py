"""Greedy k-DPP: repeatedly the item that differs most from those chosen.

    L_ij = (1 + cos(z_i, z_j))^2                         rank far above the width of z, unlike the cosine alone
    next j = argmax det L[S + j] / det L[S] = argmax d_j^2
    e_i = (L_ji - <c_j, c_i>) / d_j,   c_i <- (c_i, e_i),   d_i^2 <- d_i^2 - e_i^2     (arXiv 1709.05135)

This is exactly the greedy choice, as FuseMix's authors select pairs; ties go to the first item. Unlike theirs, updates
are lazy: d_i^2 only falls, so an old value is an upper bound. After each choice only a few hundred promising items are
updated; the rest follows for all choices at once, by matrix products, when the best of them falls to the bound of the
rest. No kernel matrix is held: memory is n x (D + k) numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seehear.progress import progress
from seehear.types import Float, Int

_PROMISING = 512  # items that are updated after each choice
_CHUNK = 8192  # rows of a lazy update at a time
_NOTHING = 1e-5  # gain, at most 4, below which only float32 rounding is left


@dataclass(frozen=True)
class Diverse:
    chosen: Int[np.ndarray, " k"]
    """Row numbers in order of choice; fewer than k if all other rows repeat chosen ones."""
    gains: Float[np.ndarray, " k"]
    """d^2 of each at its choice; its logarithm is the growth of the log determinant."""


def greedy_kdpp(latents_ND: Float[np.ndarray, "n d"], k: int) -> Diverse:
    """Greedy maximum of det L[S] over k rows, computed in float64 for float64 latents, else in float32."""
    if not 0 < k <= len(latents_ND):
        raise ValueError(f"k must be in 1..{len(latents_ND)}; got {k}")
    state = _State(latents_ND, k)
    with progress("choosing", k) as p:
        while state.count < k and state.choose():
            p.advance()
    return Diverse(state.chosen[: state.count].copy(), state.gains[: state.count].copy())


class _State:
    """Rows of `c` and `d2` account for the first `synced` choices, those in `near` for all `count` of them."""

    def __init__(self, latents_ND: np.ndarray, k: int):
        dtype: type = np.float64 if latents_ND.dtype == np.float64 else np.float32
        x: np.ndarray = np.array(latents_ND, dtype)
        norm_N1 = np.linalg.norm(x, axis=1, keepdims=True)
        self.x: np.ndarray = x / norm_N1.clip(1e-12)
        self.c: np.ndarray = np.zeros((len(x), k), dtype)
        self.d2: np.ndarray = np.where(norm_N1[:, 0] > 0, 4, 1).astype(dtype)  # L_ii, without its rounding
        self.chosen, self.gains = np.zeros(k, np.int64), np.zeros(k, np.float64)
        self.count = self.synced = 0
        self.near = np.empty(0, np.int64)
        self.bound = np.inf  # largest d2 outside `near`

    def choose(self) -> bool:
        """Chooses one more row; False if none adds anything."""
        best = int(self.near[self.d2[self.near].argmax()]) if len(self.near) else -1
        if best < 0 or self.d2[best] <= self.bound:
            self._sync()
            best = int(self.d2.argmax())
        gain = float(self.d2[best])
        if gain <= _NOTHING:
            return False
        t = self.count
        self.chosen[t], self.gains[t] = best, gain
        if best not in self.near:
            self.near = np.sort(np.append(self.near, best))
        kernel: np.ndarray = (1 + self.x[self.near] @ self.x[best]) ** 2
        e = (kernel - self.c[self.near, :t] @ self.c[best, :t]) / np.sqrt(gain)
        self.c[self.near, t] = e
        self.d2[self.near] -= e**2
        self.d2[best] = -np.inf  # never again
        self.count += 1
        return True

    def _sync(self) -> None:
        """Updates all rows for all choices, and selects the promising ones, sorted so that ties go to the first."""
        s, t = self.synced, self.count
        if t > s:
            block = self.chosen[s:t]
            # The chosen rows of c are triangular: solving with them equals one step after the other.
            inverse = np.linalg.inv(self.c[block, s:t].astype(np.float64)).T.astype(self.c.dtype)
            stale = np.ones(len(self.x), bool)
            stale[self.near] = False
            stale[self.chosen[:t]] = False
            rows = np.flatnonzero(stale)
            for at in range(0, len(rows), _CHUNK):
                some = rows[at : at + _CHUNK]
                kernel = (1 + self.x[some] @ self.x[block].T) ** 2
                kernel -= self.c[some, :s] @ self.c[block, :s].T
                e = kernel @ inverse
                self.c[some, s:t] = e
                self.d2[some] -= np.einsum("nb,nb->n", e, e)
            self.synced = t
        size = min(_PROMISING, len(self.d2))
        order = np.argpartition(-self.d2, size - 1)
        self.near, outside = np.sort(order[:size]), order[size:]
        self.bound = float(self.d2[outside].max()) if len(outside) else -np.inf
