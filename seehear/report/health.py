"""What the data are like: who has which modality, what was set aside and why, what is there twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from seehear.data.library import SPLITS, Library
from seehear.data.summary import Tally, report
from seehear.data.transcripts import machine_made
from seehear.errors import SeehearError
from seehear.evaluation.leakage import LeakageReport
from seehear.progress import counted, length
from seehear.recipes.leakage import check_leakage
from seehear.report.markup import Markup, element
from seehear.report.page import facts, folded, paragraph, table
from seehear.types import MODALITIES

_HAS = {"video": "has_video", "audio": "has_audio", "text": "array_length(texts) > 0"}
_LISTED = 20
_PAIRS = 1_000_000_000
"""Of clips, whose latents are compared in passing: a minute or two of a core."""


def health_section(library: Library, *, split: str) -> list[Markup]:
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
    return [facts(known), _by_split(library), *_rejects(library), *_leaks(library, split)]


def _by_split(library: Library) -> Markup:
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
    head = ["clips with", "missing", *SPLITS, "all"]
    return table(
        head, rows, caption="Clips by what they have, and by split. Absent is masked, never filled in.", words=2
    )


def _rejects(library: Library) -> list[Markup]:
    rejects = library.rejects()
    if not rejects:
        return []
    count = Counter((r.stage, r.reason) for r in rejects)
    rows = [(reason, stage, f"{n:,}") for (stage, reason), n in count.most_common(_LISTED)]
    listed = element("ul", *(element("li", f"{r.path}: {r.reason}") for r in rejects[:_LISTED]))
    more = f" The commonest {_LISTED} of {len(count):,} reasons." if len(count) > _LISTED else ""
    made = table(["reason", "stage", "files or rows"], rows, caption=f"Set aside, by reason.{more}", words=2)
    return [made, folded(f"The first {min(_LISTED, len(rejects))} of {len(rejects):,}", listed)]


def _leaks(library: Library, split: str) -> list[Markup]:
    title = element("h3", f"Is anything of {split} in the training clips?")
    if split == "train":
        return []
    held_out = library.table("clips").count_rows(f"split = '{split}'")
    latents = held_out * library.count_clips() <= _PAIRS
    try:
        found = check_leakage(library, split=split, latents=latents)
    except SeehearError as error:
        return [title, paragraph(f"Not looked for: {error}")]
    compared = "files, recordings, words and frozen latents (cosine of 0.95 or more once their mean is taken out)"
    if not latents:
        compared = "files, recordings and words; latents are too many to compare in passing (seehear leakage does)"
    how = f"Compared: {compared}. Copies under another encoding: seehear leakage {library.uri} --media."
    if not found.leaks:
        return [title, paragraph(f"None of its {counted(found.clips, 'clip')} was found there. ", how)]
    return [
        title,
        paragraph(f"{len(found.affected()):,} of its {counted(found.clips, 'clip')}. ", how),
        _leak_table(found),
    ]


def _leak_table(found: LeakageReport) -> Markup:
    kinds: Sequence[str] = list(dict.fromkeys(leak.kind for leak in found.leaks))
    rows = []
    for kind in kinds:
        own = [leak for leak in found.leaks if leak.kind == kind]
        shown = "; ".join(f"{leak.test} ~ {leak.train}" for leak in own[:3])
        rows.append((kind, f"{shown}; ..." if len(own) > 3 else shown, f"{len(found.affected(kind)):,}"))
    return table(
        ["the same", "for example", "clips"], rows, caption="Clips also found in training, by what they share.", words=2
    )
