"""Localisation of the steps of a task in a video: steps in a known order, one second each, found by their texts.

    scores_TK   how well second t fits step k
    chosen      t_1 < t_2 < ... < t_K with the largest sum of scores; the other seconds are background and cost nothing
    recall      share of the steps of the video whose chosen second lies inside the step

Two means are published as recall: over the videos of a task, then over tasks (MCN), and over all steps of a task's
videos together, then over tasks (CrossTask's own code).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seehear.types import Bool, Float, Int


def align(scores_TK: Float[np.ndarray, "t k"]) -> Int[np.ndarray, " k"]:
    """Second of each step, ascending: the largest sum of scores, among equal sums the earliest seconds."""
    seconds, steps = scores_TK.shape
    if seconds < steps:
        raise ValueError(f"{steps} steps of a second each do not fit into {seconds} seconds")
    # Largest sum of the steps so far with the last one at or before t.
    best_T = np.zeros(seconds)
    came_KT = np.zeros((steps, seconds), dtype=np.int64)
    for k in range(steps):
        here_T = np.full(seconds, -np.inf)
        # Background costs nothing: the first step may come at any second.
        before_T = best_T[:-1] if k else np.zeros(seconds - 1)
        here_T[1:] = before_T + scores_TK[1:, k]
        here_T[0] = scores_TK[0, k] if k == 0 else -np.inf
        best_T = np.maximum.accumulate(here_T)
        # Strictly higher: among equal sums the earliest second stays.
        higher_T = np.concatenate([[True], here_T[1:] > best_T[:-1]])
        came_KT[k] = np.maximum.accumulate(np.where(higher_T, np.arange(seconds), 0))
    chosen_K = np.zeros(steps, dtype=np.int64)
    # Backwards from the last second: each step knows where the best path before it ended.
    end = seconds - 1
    for k in reversed(range(steps)):
        chosen_K[k] = came_KT[k, end]
        end = chosen_K[k] - 1
    return chosen_K


@dataclass(frozen=True)
class Located:
    """Result of one video."""

    task: str
    video: str
    hits: float
    """Number of steps whose chosen second lies inside them."""
    steps: int
    """Number of steps of the video."""


def located(task: str, video: str, scores_TK: Float[np.ndarray, "t k"], truth_TK: Bool[np.ndarray, "t k"]) -> Located:
    """Result of aligning one video; with fewer seconds than steps, all steps are missed."""
    steps = int(truth_TK.any(axis=0).sum())
    if len(scores_TK) < scores_TK.shape[1]:
        return Located(task, video, 0, steps)
    chosen_K = align(scores_TK)
    return Located(task, video, int(truth_TK[chosen_K, np.arange(len(chosen_K))].sum()), steps)


def chance(truth_TK: Bool[np.ndarray, "t k"]) -> float:
    """Expected hits when all choices of seconds in order are equally likely."""
    # Step k of K is at second t in C(t, k) C(T - 1 - t, K - 1 - k) of the C(T, K) choices.
    from scipy.special import gammaln

    def log_choose(n: np.ndarray | int, k: np.ndarray | int) -> np.ndarray:
        n, k = np.broadcast_arrays(np.asarray(n, float), np.asarray(k, float))
        fits = (k >= 0) & (k <= n)
        # Before `gammaln`, which has poles where the choice does not fit.
        n, k = np.where(fits, n, 0), np.where(fits, k, 0)
        # In logarithms: the binomials of a video of minutes overflow float64.
        return np.where(fits, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), -np.inf)

    seconds, steps = truth_TK.shape
    if seconds < steps:
        return 0.0
    t_T1, k_1K = np.arange(seconds)[:, None], np.arange(steps)[None]
    log_TK = log_choose(t_T1, k_1K) + log_choose(seconds - 1 - t_T1, steps - 1 - k_1K) - log_choose(seconds, steps)
    return float(np.exp(log_TK)[truth_TK].sum())


def recall_by_video(videos: Sequence[Located]) -> float:
    """Mean recall over the videos of a task, then over tasks. Videos without a step do not count."""
    return _over_tasks([(v.task, v.hits / v.steps, 1.0) for v in videos if v.steps])


def recall_pooled(videos: Sequence[Located]) -> float:
    """Recall over all steps of a task's videos, then the mean over tasks."""
    return _over_tasks([(v.task, float(v.hits), float(v.steps)) for v in videos if v.steps])


def _over_tasks(rows: Sequence[tuple[str, float, float]]) -> float:
    sums: dict[str, list[float]] = {}
    for task, part, whole in rows:
        own = sums.setdefault(task, [0.0, 0.0])
        own[0], own[1] = own[0] + part, own[1] + whole
    return float(np.mean([part / whole for part, whole in sums.values()])) if sums else float("nan")
