"""Health of the data: modalities of the clips, files set aside and why, duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from markupsafe import Markup

from seehear.errors import SeehearError
from seehear.evaluation.leakage import LeakageReport
from seehear.library.summary import Tally, report
from seehear.library.tables import SPLITS, Library
from seehear.library.transcripts import machine_made
from seehear.progress import counted, length
from seehear.report.page import render
from seehear.studies.leakage import check_leakage
from seehear.types import MODALITIES

_HAS = {"video": "has_video", "audio": "has_audio", "text": "array_length(texts) > 0"}
_LISTED = 20
_PAIRS = 1_000_000_000
"""Of clips, whose latents are compared in passing: a minute or two of a core."""


def health_section(library: Library, *, split: str) -> Markup:
    summary = report(library, Tally())
    sources = [s for s in library.sources().values() if s.fingerprint and s.info.get("kind") != "manifest"]
    copies = len(sources) - len({s.fingerprint for s in sources})
    unlabelled = library.table("clips").count_rows("array_length(labels) = 0 OR labels IS NULL")
    texts = [text for clip in library.clips("array_length(texts) > 0") for text in clip.texts]
    known = {
        "clips": f"{counted(summary.clips, 'clip')} from {counted(summary.files, 'file')}, "
        f"{length(3600 * summary.hours)}",
        "read in part": counted(summary.damaged, "damaged file") if summary.damaged else "no damaged file",
        "set aside": f"{sum(summary.rejects.values()):,} of the files and rows" if summary.rejects else "nothing",
        "repeated files": f"{copies:,} with the content of another" if copies else "none",
        "texts": machine_made(library, texts) or ("the user's own" if texts else "none"),
        "labels": f"{counted(library.count_clips() - unlabelled, 'clip')} with one or more",
    }
    return render(
        "health.html",
        known=known,
        splits=SPLITS,
        clips=_by_split(library),
        rejects=_rejects(library),
        split=split,
        leaks=_leaks(library, split) if split != "train" else None,
    )


def _by_split(library: Library) -> list[list[str]]:
    """A row for each set of modalities that some clip has, all of them first."""
    rows = []
    for size in range(len(MODALITIES), -1, -1):
        for own in combinations(MODALITIES, size):
            where = " AND ".join(_HAS[m] if m in own else f"NOT ({_HAS[m]})" for m in MODALITIES)
            counts = [library.table("clips").count_rows(f"split = '{s}' AND {where}") for s in SPLITS]
            if any(counts):
                missing = [m for m in MODALITIES if m not in own]
                name = " + ".join(own) or "nothing"
                rows.append([name, ", ".join(missing) or "-", *(f"{n:,}" for n in counts), f"{sum(counts):,}"])
    return rows


def _rejects(library: Library) -> dict[str, Any] | None:
    rejects = library.rejects()
    if not rejects:
        return None
    count = Counter((r.stage, r.reason) for r in rejects)
    rows = [(reason, stage, f"{n:,}") for (stage, reason), n in count.most_common(_LISTED)]
    more = f" The commonest {_LISTED} of {len(count):,} reasons." if len(count) > _LISTED else ""
    return {"rows": rows, "caption": f"Set aside, by reason.{more}", "first": rejects[:_LISTED], "all": len(rejects)}


def _leaks(library: Library, split: str) -> dict[str, Any]:
    """Leakage of the split into the training clips: sentences, and a row for each kind of likeness."""
    held_out = library.table("clips").count_rows(f"split = '{split}'")
    latents = held_out * library.count_clips() <= _PAIRS
    try:
        found = check_leakage(library, split=split, latents=latents)
    except SeehearError as error:
        return {"said": f"Not looked for: {error}", "rows": []}
    compared = "files, recordings, words and frozen latents (cosine of 0.95 or more once their mean is taken out)"
    if not latents:
        compared = "files, recordings and words; latents are too many to compare in passing (seehear leakage does)"
    how = f"Compared: {compared}. Copies under another encoding: seehear leakage {library.uri} --media."
    clips = counted(found.clips, "clip")
    said = f"{len(found.affected()):,} of its {clips}." if found.leaks else f"None of its {clips} was found there."
    return {"said": f"{said} {how}", "rows": _leak_rows(found)}


def _leak_rows(found: LeakageReport) -> list[tuple[str, str, str]]:
    kinds: Sequence[str] = list(dict.fromkeys(leak.kind for leak in found.leaks))
    rows = []
    for kind in kinds:
        own = [leak for leak in found.leaks if leak.kind == kind]
        shown = "; ".join(f"{leak.test} ~ {leak.train}" for leak in own[:3])
        rows.append((kind, f"{shown}; ..." if len(own) > 3 else shown, f"{len(found.affected(kind)):,}"))
    return rows
