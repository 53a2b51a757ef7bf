"""Result of a model on one task, with the values of every query, and the verdict on an evaluation in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seehear.evaluation.bootstrap import FEW_GROUPS, Comparison, compare
from seehear.progress import counted

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
            **{name: getattr(self, name) for name in ("metrics", "chance", "intervals", "counts", "details")},
        }


# ----------------------------------------------------------------------------------------------------------------------
# Verdict on an evaluation in two or three sentences: retrieval rates, comparison with untrained models, certainty.

UNTRAINED = ("frozen", "asif", "frozen encoder")
"""Names of models that are the frozen encoders themselves."""
WITH_WORDS = {"text->video": "by what is seen", "text->audio": "by what is heard"}
WITH_MEDIA = {"audio->video": "sounds find the right pictures", "video->audio": "pictures find the right sounds"}
"""Retrieval tasks of the verdict and its phrases. Tasks with words have priority, as people search by words."""
# Half the width of the intervals that the verdict mentions.
_WIDE = 0.1
# Outcomes of a comparison from the worst to the best; a 95 % interval does not decide the two in the middle.
_STANDINGS = ("loses to", "is no better than", "is ahead of", "beats")


def verdict(results: Sequence[TaskResult], about: Mapping[str, Any]) -> list[str]:
    """Sentences on the first model of an evaluation; none without a task of `WITH_WORDS` or `WITH_MEDIA`."""
    own = {r.task: r for r in results if r.model == results[0].model}
    phrases = WITH_WORDS if own.keys() & WITH_WORDS.keys() else WITH_MEDIA
    asked = [own[task] for task in phrases if task in own]
    if not asked:
        return []
    # In a gallery of little more than ten, only the first answer tells a model from chance.
    metric = "R@1" if any(r.chance.get("R@10", 0.0) > 0.5 for r in asked) else "R@10"
    sentences = [_found(asked, metric)]
    if kept := about.get("kept"):
        sentences.append(f"The model is {kept}: training did not beat it on the validation clips.")
    sentences += [*_standing(results, asked, metric), *_doubt(asked, metric)]
    if made := about.get("machine_texts"):
        sentences.append(
            f"A machine made the words that are asked with ({made}): these numbers are no measure against the truth."
        )
    return sentences


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def rivals(
    results: Sequence[TaskResult], task: str, own: Sequence[str], metric: str
) -> tuple[TaskResult | None, TaskResult | None]:
    """(best closed form, best untrained space) at a task, or None. They are chosen on the evaluated split, which
    favours them. `own`: names of the run's spaces."""
    # Results made of a space of the run are its own, too: 'fusemix, weighted', 'fusemix + NNN'.
    made_of = tuple(name + sign for name in own for sign in (",", " +"))
    others = [r for r in results if r.task == task and metric in r.metrics]
    others = [r for r in others if r.model not in own and not r.model.startswith(made_of)]
    others.sort(key=lambda r: -r.metrics[metric])
    frozen = [r for r in others if r.model in UNTRAINED or r.model.startswith("frozen ")]
    return next((r for r in others if r not in frozen), None), next(iter(frozen), None)


def _found(asked: Sequence[TaskResult], metric: str) -> str:
    place = "in the first ten" if metric == "R@10" else "first"
    if asked[0].task in WITH_WORDS:
        parts = [f"{_share(r, metric)} {WITH_WORDS[r.task]}{_chance(r, metric)}" for r in asked]
        return f"Words find the right clip {place} for {', and for '.join(parts)}."
    said = "; ".join(f"{WITH_MEDIA[r.task]} {place} for {_share(r, metric)}{_chance(r, metric)}" for r in asked)
    return f"{said[0].upper()}{said[1:]}."


def _share(result: TaskResult, metric: str) -> str:
    return f"{percent(result.metrics[metric])} of {counted(result.counts['queries'], 'query')}"


def _chance(result: TaskResult, metric: str) -> str:
    chance = result.chance.get(metric, math.nan)
    # One recording has no interval: it may be anything.
    low = result.intervals.get(metric, (math.nan, math.nan))[0]
    doubt = "" if low > chance else ", which may be all it is"
    return "" if math.isnan(chance) else f" (chance {percent(chance)}{doubt})"


def _standing(results: Sequence[TaskResult], asked: Sequence[TaskResult], metric: str) -> Iterator[str]:
    """A sentence on the baselines, ordered from those that beat the model."""
    base = asked[0].model.partition("/")[0]
    own = [r.model for r in results if r.model.partition("/")[0] == base]
    clauses = []
    for result in asked:
        found: dict[str, list[str]] = {}
        for other in rivals(results, result.task, own, metric):
            if other is not None and not (base == "frozen" and other.model.startswith("frozen")):
                name = f"{_people(other.model)} ({percent(other.metrics[metric])})"
                found.setdefault(_compared(result, other, metric), []).append(name)
        if found:
            # Bad news first.
            order = sorted(found, key=_STANDINGS.index)
            doubts = {"is ahead of": ", which may be chance"}
            parts = [f"{how} {' and '.join(found[how])}{doubts.get(how, '')}" for how in order]
            where = (WITH_WORDS | WITH_MEDIA)[result.task]
            where = where if result.task in WITH_WORDS else f"where {where}"
            clauses.append(
                (_STANDINGS.index(order[0]), f"{where} it " if len(asked) > 1 else "it ", " and ".join(parts))
            )
    if clauses:
        said = "; ".join(f"{where}{how}" for _, where, how in sorted(clauses, key=lambda clause: clause[0]))
        yield f"{said[0].upper()}{said[1:]}."


def _compared(result: TaskResult, other: TaskResult, metric: str) -> str:
    gain = result.metrics[metric] - other.metrics[metric]
    paired = result.minus(other).get(metric)
    # Paired by query: two intervals that overlap may still differ clearly.
    if paired is not None and paired.low > 0:
        return "beats"
    if paired is not None and paired.high < 0:
        return "loses to"
    return "is ahead of" if gain > 0 else "is no better than"


def _people(model: str) -> str:
    if model.startswith("frozen "):
        return f"the untrained space {model.removeprefix('frozen ')}"
    return "the untrained encoders" if model in UNTRAINED else f"the closed form {model}"


def _doubt(asked: Sequence[TaskResult], metric: str) -> Iterator[str]:
    """A sentence on the uncertainty of the first number, for few recordings or queries."""
    first = asked[0]
    groups = first.counts.get("groups", FEW_GROUPS)
    low, high = first.intervals.get(metric, (math.nan, math.nan))
    if groups == 1:
        yield "All queries are of one recording: the uncertainty is unknown."
    elif groups < FEW_GROUPS or high - low > 2 * _WIDE:
        few = "only " if groups < FEW_GROUPS else ""
        range_ = f": the {percent(first.metrics[metric])} may be {100 * low:.0f} to {percent(high)}"
        yield f"The queries are of {few}{counted(groups, 'recording')}{'' if math.isnan(low) else range_}."
