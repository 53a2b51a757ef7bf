"""Splits of clips: train, val and test.

A recording falls into one split as a whole and stays there when files are added. Recordings are taken in a fixed order
(a hash of name and seed), each into the split that lacks most of its share of *clips*, so every split gets its share
even of few recordings. Three recordings or fewer are each divided in time, with a gap between the parts; evaluation
reports that the same recordings are on both sides.

Files are read in any order and by many processes, so splits are settled after all have been read. The entry of the
source is written last, so a killed run settles the same splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from seehear.library.clips import PrepareOptions, hash_of
from seehear.library.records import COPY_OF, GIVEN, SPLITS, Source, bare
from seehear.library.tables import LibraryTables, in_batches
from seehear.library.vectors import one_of
from seehear.progress import counted

# Split of the clips between two parts of a recording: searched, but not used in training or evaluation.
GAP = "gap"
BLOCKS = "blocks"
# Key of `Source.info`: split of the file, `GIVEN` by the user, or `BLOCKS` of time.
_NOTE = "split"
# Entry of `about`. A library of an older version keeps its splits, which followed from names alone.
_KEY, _SCHEME = "splits", "shares of clips"
# Recordings up to which they are divided in time, and clips that one must have for it.
_FEW, _DIVISIBLE = 3, 10
GROUPS_A_WRITE, _IDS_A_WRITE = 4096, 5000


def begin(library: LibraryTables) -> None:
    """Marks a library without files as one with splits of this kind."""
    if not library.table("sources").count_rows():
        library.set_about(_KEY, _SCHEME)


def kept_note(source: Source, before: Source | None) -> Source:
    """The new entry of a file with its old split, if it is read again with the same recipe."""
    if before is None or _NOTE in source.info or before.info.get("recipe") != source.info.get("recipe"):
        return source
    note = before.info.get(_NOTE)
    return replace(source, info={**source.info, _NOTE: note}) if note else source


def settle_splits(library: LibraryTables, options: PrepareOptions, *, changed: bool) -> list[str]:
    """Puts the clips of new files into splits, and returns notes. `changed`: there may be new files."""
    if library.about().get(_KEY) != _SCHEME:
        return []
    sources = library.sources()
    media = [source.info for source in sources.values() if "recipe" in source.info]
    # Nothing to settle: the clips need not be read.
    if not changed and all(_NOTE in info or COPY_OF in info for info in media):
        return []
    groups = _groups(library)
    noted = {name: _noted(rows, sources) for name, rows in groups.items()}
    # In the order of a hash: neither names nor the order of reading decide.
    free = sorted((name for name in groups if not noted[name]), key=lambda name: hash_of(bare(name), options.seed))
    chosen = {name: note for name, note in noted.items() if note in SPLITS}
    divided = {name for name in free if len(groups) <= _FEW and len(groups[name]) >= _DIVISIBLE}
    counts: Counter[str] = Counter()
    for name in groups.keys() - set(free):
        counts.update([chosen[name]] * len(groups[name]) if name in chosen else [row["split"] for row in groups[name]])
    for name in (name for name in free if name not in divided):
        chosen[name] = _neediest(counts, len(groups[name]), options.splits)
        counts[chosen[name]] += len(groups[name])
    settled = [name for name in sorted(groups.keys() - set(free)) if noted[name] != GIVEN]
    # Settled recordings, too: a file that was read again has new clips, which lack the split.
    for batch in in_batches([*free, *settled], GROUPS_A_WRITE):
        moved: dict[str, list[str]] = {}
        for name in batch:
            splits = _splits(groups[name], chosen.get(name), options.splits)
            for row, split in zip(groups[name], splits, strict=True):
                if row["split"] != split:
                    moved.setdefault(split, []).append(row["id"])
        for split, own in moved.items():
            for ids in in_batches(own, _IDS_A_WRITE):
                library.table("clips").update(where=one_of("id", ids), values={"split": split})
        notes = {row["source"]: chosen.get(name, BLOCKS) for name in batch for row in groups[name]}
        new = {source: note for source, note in notes.items() if sources[source].info.get(_NOTE) != note}
        infos = {name: {**sources[name].info, _NOTE: note} for name, note in new.items()}
        library.put_sources([replace(sources[name], info=info) for name, info in infos.items()])
    parts = "each" if len(divided) == len(groups) else f"{len(divided)} of them"
    note = (
        f"with only {counted(len(groups), 'recording')} the splits are parts of {parts} in time, with a gap between "
        "them: numbers say how well a model does on more of the same"
    )
    return [note] if divided else []


def _groups(library: LibraryTables) -> dict[str, list[dict[str, Any]]]:
    """Rows of the clips with files (id, source, start, end, split) by recording, in order of time."""
    columns = ["id", "source", "start", "end", "split", "group"]
    groups: dict[str, list[dict[str, Any]]] = {}
    rows = library.rows("clips", "source != ''", columns)
    for row in rows.to_pylist():
        groups.setdefault(row.pop("group"), []).append(row)
    return {name: sorted(own, key=lambda r: (r["source"], r["start"], r["end"])) for name, own in groups.items()}


def _noted(rows: Sequence[dict[str, Any]], sources: Mapping[str, Source]) -> str:
    """Split noted in the files of a recording; '' if none was settled yet."""
    notes = {sources[row["source"]].info.get(_NOTE, "") for row in rows} - {""}
    return GIVEN if GIVEN in notes else min(notes, default="")


def _neediest(counts: Mapping[str, int], clips: int, shares: Sequence[float]) -> str:
    """Split that lacks most clips of its share after some are added; of equal ones the first."""
    total = sum(counts[name] for name in SPLITS) + clips
    lacks = {name: share / sum(shares) * total - counts[name] for name, share in zip(SPLITS, shares, strict=True)}
    return max((name for name, share in zip(SPLITS, shares, strict=True) if share), key=lambda name: lacks[name])


def _splits(rows: Sequence[dict[str, Any]], whole: str | None, shares: Sequence[float]) -> list[str]:
    """Split of each clip: `whole` for all, or parts of the recording in order of time, with a gap between two."""
    if whole is not None:
        return [whole] * len(rows)
    parts = [(name, share) for name, share in zip(SPLITS, shares, strict=True) if share]
    if len(rows) < 2 * len(parts) - 1:
        return [parts[0][0]] * len(rows)
    # A clip between two parts is their gap.
    usable = len(rows) - (len(parts) - 1)
    # Every part has a clip; train takes the rest.
    sizes = [max(1, round(usable * share / sum(shares))) for _, share in parts[1:]]
    sizes = [usable - sum(sizes), *sizes]
    splits: list[str] = []
    for (name, _), size in zip(parts, sizes, strict=True):
        splits += [GAP] * bool(splits) + [name] * size
    ends, before = 0.0, None
    for n, row in enumerate(rows):
        follows = row["source"] == before
        # Lines of subtitles overlap: one that begins before the end of the part is in the gap, too.
        if follows and splits[n - 1] == GAP and row["start"] < ends:
            splits[n] = GAP
        elif splits[n] != GAP:
            ends = max(ends, row["end"]) if follows else row["end"]
        before = row["source"]
    return splits
