"""`compare` and `leakage`: whether a number is to be believed."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from seehear.commands.parsing import show
from seehear.errors import check_range
from seehear.evaluation.report import MAIN, Comparisons, compare_runs


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare two evaluated runs query by query: the second minus the first, with intervals and p values.

    Both must have been evaluated on the same library ('seehear evaluate'). Queries are paired, and whole recordings are
    resampled: far sharper than comparing two intervals.

    Example: seehear compare runs/old runs/new
    """

    first: Positional[Path]
    second: Positional[Path]
    model_first: str = ""
    """A model in the first report, 'cca' say; its run's own when not given."""
    model_second: str = ""
    """The same for the second."""
    json: bool = False
    """Print as JSON."""

    def run(self) -> None:
        found = compare_runs(
            self.first, self.second, model_a=self.model_first or None, model_b=self.model_second or None
        )
        if self.json:
            show({t: {n: asdict(c) for n, c in own.items()} for t, own in found.items()}, as_json=True)
            return
        print(_table(found))


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """Look for held-out clips among the training clips: by file, recording, words and latents, and with --media by
    picture and sound.

    Example: seehear leakage lib --media
    """

    library: Positional[str]
    split: str = "test"
    """Whose clips are looked for."""
    media: bool = False
    """Also decode every clip and compare pictures and sounds: finds copies under other names and encodings."""
    threshold: float = 0.95
    """Cosine of frozen latents, their mean taken out, from which two clips count as the same."""
    workers: int = os.cpu_count() or 1
    """Processes that decode."""
    json: bool = False
    """Print every pair as JSON."""

    def __post_init__(self) -> None:
        check_range(self, "[-1, 1]", "threshold")
        check_range(self, "[0, inf)", "workers")

    def run(self) -> None:
        from seehear.recipes.leakage import check_leakage

        report: Any = check_leakage(
            self.library, split=self.split, media=self.media, threshold=self.threshold, workers=self.workers
        )
        show(report, as_json=self.json)


def _table(found: Comparisons) -> str:
    """The main measure of each task, and R@1 and R@10 of retrieval."""
    lines = []
    for task, own in found.items():
        for name in [n for n in (*dict.fromkeys(MAIN.values()), "R@1", "R@10") if n in own]:
            lines.append(f"{task:24} {name:8} {own[name]}")
    return "\n".join(lines)
