"""Greedy k-DPP: the items that differ most from each other, one after the other.

    L_ij = (1 + cos(z_i, z_j))^2                         rank far above the width of z, where the cosine alone has it
    next j = argmax det L[S + j] / det L[S] = argmax d_j^2
    e_i = (L_ji - <c_j, c_i>) / d_j,   c_i <- (c_i, e_i),   d_i^2 <- d_i^2 - e_i^2     (arXiv 1709.05135)

This is the greedy choice exactly, as FuseMix's authors select pairs; of equal gains the first item wins. What is not
theirs is when the work is done: d_i^2 can only fall, so an old value is an upper bound. After each choice only the few
hundred most promising items are brought up to date; the rest waits until the best of those falls to the bound of the
rest, and is then brought up to date for all choices at once, by matrix products. No kernel matrix is ever held:
memory is n x (D + k) numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seehear.progress import progress
from seehear.types import Float, Int

_PROMISING = 512  # items that are kept up to date after each choice
_CHUNK = 8192  # rows brought up to date at a time
_NOTHING = 1e-5  # gain, of 4 at most, from which an item adds only rounding in float32


@dataclass(frozen=True)
class Diverse:
    chosen: Int[np.ndarray, " k"]
    """Row numbers in the order of choice; fewer than asked for where the rest only repeats what was chosen."""
    gains: Float[np.ndarray, " k"]
    """d^2 of each when it was chosen: the log determinant grows by its logarithm."""


def greedy_kdpp(latents_ND: Float[np.ndarray, "n d"], k: int) -> Diverse:
    """The greedy maximum of det L[S] over k of the rows. float64 in, float64 throughout; else float32."""
    if not 0 < k <= len(latents_ND):
        raise ValueError(f"k must be in 1..{len(latents_ND)}; got {k}")
    state = _State(latents_ND, k)
    with progress("choosing", k) as p:
        while state.count < k and state.choose():
            p.advance()
    return Diverse(state.chosen[: state.count].copy(), state.gains[: state.count].copy())


class _State:
    """`synced` choices are in all rows of `c` and `d2`; all `count` of them in those of `near`."""

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
        self.bound = np.inf  # no row outside `near` has more

    def choose(self) -> bool:
        """One more; False when no row would add anything."""
        best = int(self.near[self.d2[self.near].argmax()]) if len(self.near) else -1
        if best < 0 or self.d2[best] <= self.bound:
            self._sync()
            best = int(self.d2.argmax())
        gain = float(self.d2[best])
        if gain <= _NOTHING:
            return False
        self.chosen[self.count], self.gains[self.count] = best, gain
        self._append(best, gain)
        self.count += 1
        return True

    def _append(self, j: int, gain: float) -> None:
        """The new choice into the promising rows, `j` among them."""
        if j not in self.near:
            self.near = np.sort(np.append(self.near, j))
        near, t = self.near, self.count
        kernel: np.ndarray = (1 + self.x[near] @ self.x[j]) ** 2
        e = (kernel - self.c[near, :t] @ self.c[j, :t]) / np.sqrt(gain)
        self.c[near, t] = e
        self.d2[near] -= e**2
        self.d2[j] = -np.inf  # never again

    def _sync(self) -> None:
        """All rows up to date, and the promising ones chosen anew, in their order so that ties go to the first."""
        s, t = self.synced, self.count
        if t > s:
            block = self.chosen[s:t]
            # The choices' own rows: a triangle whose solution is what one step after the other would have given.
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
