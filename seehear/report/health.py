"""Health of the data: modalities of the clips, files set aside and why, duplicates."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

from markupsafe import Markup

from seehear.errors import SeehearError
from seehear.library.summary import Tally, report
from seehear.library.tables import SPLITS, LibraryTables
from seehear.library.transcripts import machine_made
from seehear.progress import counted, length
from seehear.report.page import render
from seehear.studies.leakage import check_leakage
from seehear.types import MODALITIES

_HAS = {"video": "has_video", "audio": "has_audio", "text": "array_length(texts) > 0"}
_LISTED = 20
# Largest number of clip pairs whose latents are compared: a minute or two of one core
_PAIRS = 1_000_000_000


def health_section(library: LibraryTables, *, split: str) -> Markup:
    summary, rejects = report(library, Tally()), library.rejects()
    # A manifest has no content of its own that could be repeated.
    sources = [s for s in library.sources().values() if s.fingerprint and s.info.get("kind") != "manifest"]
    copies = len(sources) - len({s.fingerprint for s in sources})
    unlabelled = library.table("clips").count_rows("array_length(labels) = 0 OR labels IS NULL")
    texts = [text for clip in library.clips("array_length(texts) > 0") for text in clip.texts]
    hours = length(3600 * summary.hours)
    known = {
        "clips": f"{counted(summary.clips, 'clip')} from {counted(summary.files, 'file')}, {hours}",
        "read in part": counted(summary.damaged, "damaged file") if summary.damaged else "no damaged file",
        "set aside": f"{sum(summary.rejects.values()):,} of the files and rows" if summary.rejects else "nothing",
        "repeated files": f"{copies:,} with the content of another" if copies else "none",
        "texts": machine_made(library, texts) or ("the user's own" if texts else "none"),
        "labels": f"{counted(library.count_clips() - unlabelled, 'clip')} with one or more",
    }
    count = Counter((r.reason, r.stage) for r in rejects).most_common()
    more = f" The commonest {_LISTED} of {len(count):,} reasons." if len(count) > _LISTED else ""
    return render(
        "health.html",
        known=known,
        splits=SPLITS,
        clips=_by_modalities(library),
        rejects={
            "rows": [(*reason, f"{n:,}") for reason, n in count[:_LISTED]],
            "caption": f"Set aside, by reason.{more}",
            "first": rejects[:_LISTED],
            "all": len(rejects),
        }
        if rejects
        else None,
        split=split,
        leaks=_leaks(library, split) if split != "train" else None,
    )


def _by_modalities(library: LibraryTables) -> list[list[str]]:
    """A row for each set of modalities that some clip has, the largest sets first."""
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


def _leaks(library: LibraryTables, split: str) -> dict[str, Any]:
    """Leakage of the split into the training clips: sentences, and a row for each kind of similarity."""
    held_out = library.table("clips").count_rows(f"split = '{split}'")
    # The cost grows with the product.
    latents = held_out * library.count_clips() <= _PAIRS
    try:
        leakage = check_leakage(library, split=split, latents=latents)
    # The rest of the page does not depend on the search for leaks.
    except SeehearError as error:
        return {"said": f"Not looked for: {error}", "rows": []}
    compared = "files, recordings, words and frozen latents (cosine of 0.95 or more once their mean is taken out)"
    if not latents:
        compared = "files, recordings and words; latents are too many to compare in passing (seehear leakage does)"
    how = f"Compared: {compared}. Copies under another encoding: seehear leakage {library.uri} --media."
    clips = counted(leakage.clips, "clip")
    said = f"{len(leakage.affected()):,} of its {clips}." if leakage.leaks else f"None of its {clips} was found there."
    rows = []
    for kind in dict.fromkeys(leak.kind for leak in leakage.leaks):
        examples = [f"{leak.test} ~ {leak.train}" for leak in leakage.leaks if leak.kind == kind]
        shown = "; ".join(examples[:3] + ["..."] * (len(examples) > 3))
        rows.append((kind, shown, f"{len(leakage.affected(kind)):,}"))
    return {"said": f"{said} {how}", "rows": rows}
