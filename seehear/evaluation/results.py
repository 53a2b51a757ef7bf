"""Result of a model on one task, with the values of every query."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seehear.evaluation.bootstrap import Comparison, compare

MAIN = {"retrieval": "nDCG@10", "classification": "top1", "multilabel": "mAP", "correspondence": "AUC"}
MAIN |= {"localisation": "recall"}
"""Main metric of each kind of task."""
SHOWN = {
    "retrieval": ("R@1", "R@5", "R@10", "median_rank", "mAP", "nDCG@10"),
    "classification": ("top1", "top5", "balanced"),
    "multilabel": ("mAP", "AUC", "d'"),
    "correspondence": ("AUC", "AUC within", "d'"),
    "localisation": ("recall", "recall (pooled)"),
}
"""Metrics of each kind of task in tables."""
NOT_PERCENT = {"median_rank", "mean_rank", "d'"}


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """Result of one model on one task."""

    task: str
    """'text->video', 'audio+text->video', 'audio->class', 'video probe linear'."""
    kind: str
    """retrieval, classification, multilabel, correspondence or localisation."""
    model: str
    """Method of the run, or name of the baseline."""
    metrics: dict[str, float]
    chance: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """95 % intervals, by resampling groups."""
    counts: dict[str, int] = field(default_factory=dict)
    """queries, gallery, groups, skipped; classes."""
    details: dict[str, Any] = field(default_factory=dict)
    """Plain values: settings chosen on validation, confusions."""
    per_query: dict[str, np.ndarray] = field(default_factory=dict)
    keys: np.ndarray = field(default_factory=lambda: np.array([], dtype=str))
    """(queries,) name of each query, equal in all runs over one library."""
    groups: np.ndarray = field(default_factory=lambda: np.array([], dtype=str))
    """(queries,) source recording of each query."""
    truth: np.ndarray = field(default_factory=lambda: np.array([], dtype=str))
    """(queries,) label of each query of a classification."""
    said: np.ndarray = field(default_factory=lambda: np.array([], dtype=str))
    """(queries,) predicted class."""

    def minus(self, other: TaskResult) -> dict[str, Comparison]:
        """This result minus another on their shared queries, by measure; empty without shared queries."""
        place = {key: i for i, key in enumerate(other.keys.tolist())}
        # By name: two runs may have evaluated other clips, or in another order.
        shared = [(place[key], i) for i, key in enumerate(self.keys.tolist()) if key in place]
        if not shared:
            return {}
        at_other, at = np.array(shared).T
        # Results of another version may have other measures.
        names = [name for name in other.per_query if name in self.per_query]
        # Recordings are resampled, as in the intervals of each result alone.
        groups = other.groups[at_other]
        return {n: compare(other.per_query[n][at_other], self.per_query[n][at], groups) for n in names}

    @property
    def main_score(self) -> float:
        return self.metrics[MAIN[self.kind]]

    def plain(self) -> dict[str, Any]:
        return {
            "task_name": self.task,
            "task_type": self.kind,
            "model_name": self.model,
            "main_score": self.main_score,
            "metrics": self.metrics,
            "chance": self.chance,
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
            "counts": self.counts,
            "details": self.details,
        }
