"""Report of an evaluation: JSON with the field names of MTEB, per-query values for later comparisons, and tables."""

from __future__ import annotations

import json
import math
import os
import platform
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from seehear.errors import SeehearError, read_json, unknown
from seehear.evaluation.bootstrap import Comparison
from seehear.evaluation.results import NOT_PERCENT, SHOWN, TaskResult, verdict
from seehear.npz import open_npz

FORMAT = "seehear-evaluation/1"
JSON_NAME, QUERIES_NAME, HTML_NAME = "evaluation.json", "evaluation_queries.npz", "report.html"
_SEPARATOR = "\x1f"
# Errors of NumPy, and of missing or wrong fields.
_DAMAGED = (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, BadZipFile, zlib.error)


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    split: str
    results: tuple[TaskResult, ...]
    warnings: tuple[str, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)
    """Origin of the numbers: `provenance`, and fingerprints of data and model."""

    def tasks(self) -> list[str]:
        return list(dict.fromkeys(r.task for r in self.results))

    def models(self) -> list[str]:
        return list(dict.fromkeys(r.model for r in self.results))

    def get(self, task: str, model: str | None = None) -> TaskResult:
        """Result of a task, by default of the first model that has one."""
        for result in self.results:
            if result.task == task and model in (None, result.model):
                return result
        raise KeyError(f"no result of {model or 'any model'} on {task!r}; tasks: {', '.join(self.tasks())}")

    def plain(self) -> dict[str, Any]:
        """Content of `evaluation.json`; NaN is None, as JSON has no NaN."""
        results = [r.plain() for r in self.results]
        head = {"format": FORMAT, "split": self.split, **self.about}
        return finite(head | {"warnings": list(self.warnings), "results": results})

    def save(self, folder: str | Path) -> Path:
        """Writes `evaluation.json`, whose path is returned, and the per-query values in `evaluation_queries.npz`. A
        page of an earlier evaluation is removed."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # A folder in its place is left alone, and the numbers are written all the same.
        if (folder / HTML_NAME).is_file():
            # A page of older numbers would contradict the new ones.
            (folder / HTML_NAME).unlink()
        arrays: dict[str, np.ndarray] = {}
        for result in self.results:
            prefix = f"{result.model}{_SEPARATOR}{result.task}{_SEPARATOR}"
            columns = {"keys": result.keys, "groups": result.groups, **result.per_query}
            columns |= {"truth": result.truth, "said": result.said} if len(result.said) else {}
            arrays |= {prefix + name: np.asarray(values) for name, values in columns.items() if len(result.keys)}
        # With the process in its name: two evaluations of one run may end at the same time.
        temporary = folder / f".{QUERIES_NAME}.{os.getpid()}.npz"
        # The values first: the JSON file makes a report, and must not be there without them.
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, folder / QUERIES_NAME)
        # Strict JSON: other readers do not know NaN.
        text = json.dumps(self.plain(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        temporary = folder / f".{JSON_NAME}.{os.getpid()}"
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, folder / JSON_NAME)
        return folder / JSON_NAME

    @classmethod
    def load(cls, folder: str | Path) -> EvaluationReport:
        """Report of a folder that `save` wrote, with per-query values."""
        folder = Path(folder)
        if not (folder / JSON_NAME).is_file():
            raise SeehearError(f"{folder} has no {JSON_NAME}: run 'seehear evaluate {folder}' first")
        plain = read_json(folder / JSON_NAME, "evaluate again")
        # Before anything else is read: fields of another format mean something else.
        if plain.get("format") != FORMAT:
            raise SeehearError(f"{folder / JSON_NAME} is not of format {FORMAT}: evaluate again with this seehear")
        try:
            with open_npz(folder / QUERIES_NAME) as arrays:
                columns = {name: arrays[name] for name in arrays.files}
            results = tuple(_result(r, columns) for r in plain.pop("results"))
            split, warnings = plain.pop("split"), tuple(plain.pop("warnings"))
        except _DAMAGED as error:
            raise SeehearError(
                f"{folder / JSON_NAME} or {QUERIES_NAME} beside it is damaged ({error!r}): evaluate again"
            ) from error
        if not results:
            raise SeehearError(f"{folder / JSON_NAME} holds no results: evaluate again, on a split with pairs")
        del plain["format"]
        return cls(split=split, results=results, warnings=warnings, about=plain)

    def verdict(self) -> list[str]:
        """Two or three sentences on the first model; none without retrieval by words, sounds or pictures."""
        return verdict(self.results, self.about)

    def summary(self) -> str:
        """The verdict, a sentence a line, and the warnings; the tables in place of a missing verdict."""
        said = self.verdict()
        return "\n".join([*said, *(f"warning: {w}" for w in self.warnings)]) if said else str(self)

    def __str__(self) -> str:
        lines = [*self.verdict(), f"split: {self.split}"]
        lines += [f"training: {self.about['verdict']}"] if "verdict" in self.about else []
        for task in self.tasks():
            lines += ["", *_table([r for r in self.results if r.task == task])]
        return "\n".join(lines + [f"\nwarning: {w}" for w in self.warnings])


def compare_reports(
    a: EvaluationReport, b: EvaluationReport, task: str, *, model_a: str | None = None, model_b: str | None = None
) -> dict[str, Comparison]:
    """B minus A on their shared queries, by metric, for two runs over one library or two models of one report."""
    first, second = a.get(task, model_a), b.get(task, model_b)
    if not np.isin(first.keys, second.keys).any():
        raise SeehearError(f"the two evaluations share no query of {task}: they are of different clips")
    return second.minus(first)


Comparisons = dict[str, dict[str, Comparison]]
"""Task -> metric -> comparison."""


def compare_runs(
    a: str | Path, b: str | Path, *, model_a: str | None = None, model_b: str | None = None
) -> Comparisons:
    """B minus A for every task with per-query values in both saved reports; by default of the first model of each
    report, the run's own."""
    first, second = EvaluationReport.load(a), EvaluationReport.load(b)
    named = model_a or first.models()[0], model_b or second.models()[0]
    for name, report in zip(named, (first, second), strict=True):
        if name not in report.models():
            raise unknown("model", name, report.models())
    kept = [
        {r.task for r in report.results if r.model == name and len(r.keys)}
        for report, name in zip((first, second), named, strict=True)
    ]
    shared = [task for task in first.tasks() if task in kept[0] & kept[1]]
    if not shared:
        raise SeehearError(f"{a} and {b} have no task in common")
    return {task: compare_reports(first, second, task, model_a=named[0], model_b=named[1]) for task in shared}


def provenance(command: str = "") -> dict[str, Any]:
    """Versions, command and kind of machine, by which the numbers can be reproduced."""
    packages = {}
    for name in ("seehear", "torch", "numpy", "scikit-learn", "lancedb", "transformers"):
        try:
            packages[name] = metadata.version(name)
        # Optional packages may be missing, and seehear may run from a copy of its source.
        except metadata.PackageNotFoundError:
            continue
    versions = {"python": platform.python_version(), **packages}
    machine: dict[str, Any] = {"system": platform.system(), "cpu": platform.processor() or platform.machine()}
    machine |= {"cores": os.cpu_count()} | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})
    return {"command": command, "versions": versions, "machine": machine}


def _result(plain: dict[str, Any], columns: Mapping[str, np.ndarray]) -> TaskResult:
    def number(value: float | None) -> float:
        return math.nan if value is None else value

    prefix = f"{plain['model_name']}{_SEPARATOR}{plain['task_name']}{_SEPARATOR}"
    # A separator that no name contains: a model may be called 'fusemix + NNN'.
    own = {name.removeprefix(prefix): values for name, values in columns.items() if name.startswith(prefix)}
    empty = np.array([], dtype=str)
    return TaskResult(
        task=plain["task_name"],
        kind=plain["task_type"],
        model=plain["model_name"],
        metrics={name: number(value) for name, value in plain["metrics"].items()},
        chance={name: number(value) for name, value in plain["chance"].items()},
        intervals={n: (number(low), number(high)) for n, (low, high) in plain["intervals"].items()},
        counts=plain["counts"],
        details=plain["details"],
        # The rest are measures of the queries.
        **{name: own.pop(name, empty) for name in ("keys", "groups", "truth", "said")},
        per_query=own,
    )


def finite(value: Any) -> Any:
    """Plain values as JSON has them, with None for numbers that are not finite, which it lacks."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


def _table(results: list[TaskResult]) -> Iterable[str]:
    first = results[0]
    names = [n for n in SHOWN[first.kind] if n in first.metrics]
    one = {"queries": "query", "groups": "group", "classes": "class"}
    counts = ", ".join(f"{n:,} {one.get(name, name) if n == 1 else name}" for name, n in first.counts.items() if n)
    rows = [[first.task, *names]]
    rows += [[r.model, *(cell(r.metrics[n], n, r.intervals.get(n)) for n in names)] for r in results]
    rows.append(["chance", *(cell(first.chance[n], n) if n in first.chance else "" for n in names)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(names) + 1)]
    for number, row in enumerate(rows):
        line = row[0].ljust(widths[0]) + "".join("  " + c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))
        yield (line + f"   ({counts})" if number == 0 else line).rstrip()


def cell(value: float, name: str, interval: tuple[float, float] | None = None) -> str:
    """Cell of a table, '48.8 [44.1, 53.2]': shares in per cent, ranks as they are."""
    scale = 1 if name in NOT_PERCENT else 100
    if interval is None or not math.isfinite(interval[0]):
        return f"{scale * value:.1f}"
    return f"{scale * value:.1f} [{scale * interval[0]:.1f}, {scale * interval[1]:.1f}]"
