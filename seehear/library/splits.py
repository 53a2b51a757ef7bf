"""Which clips are trained on, validated and tested on.

A recording falls into one split as a whole, and stays there: new files move none. Recordings are taken in an order that
follows from their names and the seed, each into the split that lacks most of its share of *clips*, so every split gets
its share however few recordings there are. Where there are three or fewer, none can be spared whole: each is divided in
time, with a gap between the parts, and evaluation says that the same recordings are on both sides.

Files are read in any order and by many processes, so a split is settled when all have been read. The source's entry
notes it last: a killed run settles the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from seehear.library.clips import PrepareOptions, hash_of
from seehear.library.records import COPY_OF, GIVEN, SPLITS, Source, bare
from seehear.library.tables import Library, in_batches
from seehear.library.vectors import one_of
from seehear.progress import counted

GAP = "gap"
"""The split of clips between two parts of a recording: searched, and not learned or measured on."""
BLOCKS = "blocks"
_NOTE = "split"
"""In a source's entry: the split it fell into, `GIVEN` by the user, or `BLOCKS` of time."""
_KEY, _SCHEME = "splits", "shares of clips"
"""Entry of `about`; a library of an older version keeps its splits, which followed from names alone."""
_FEW, _DIVISIBLE = 3, 10  # recordings, and clips that one must have to be divided
_GROUPS_A_WRITE, _IDS_A_WRITE = 4096, 5000


@dataclass(frozen=True)
class _Row:
    id: str
    source: str
    start: float
    end: float
    split: str


def begin(library: Library) -> None:
    """A library without files is settled in this way from now on."""
    if not library.table("sources").count_rows():
        library.set_about(_KEY, _SCHEME)


def kept_note(source: Source, before: Source | None) -> Source:
    """A file that is read again, in the same way, stays in its split."""
    if before is None or _NOTE in source.info or before.info.get("recipe") != source.info.get("recipe"):
        return source
    note = before.info.get(_NOTE)
    return replace(source, info={**source.info, _NOTE: note}) if note else source


def settle_splits(library: Library, options: PrepareOptions, *, changed: bool) -> list[str]:
    """Puts the clips of files that were read anew into splits; `changed`: there may be such files. Returns notes."""
    if library.about().get(_KEY) != _SCHEME:
        return []
    sources = library.sources()
    if not changed and all(
        _NOTE in source.info or COPY_OF in source.info for source in sources.values() if "recipe" in source.info
    ):
        return []
    groups = _groups(library)
    noted = {name: _noted(rows, sources) for name, rows in groups.items()}
    free = sorted((name for name in groups if not noted[name]), key=lambda name: hash_of(bare(name), options.seed))
    chosen = {name: note for name, note in noted.items() if note in SPLITS}
    divided = {name for name in free if len(groups) <= _FEW and len(groups[name]) >= _DIVISIBLE}
    counts: Counter[str] = Counter()
    for name in groups.keys() - set(free):
        counts.update([chosen[name]] * len(groups[name]) if name in chosen else [row.split for row in groups[name]])
    for name in (name for name in free if name not in divided):
        chosen[name] = _neediest(counts, len(groups[name]), options.splits)
        counts[chosen[name]] += len(groups[name])
    settled = [name for name in sorted(groups.keys() - set(free)) if noted[name] != GIVEN]
    for some in in_batches([*free, *settled], _GROUPS_A_WRITE):
        wanted = {
            row.id: split
            for name in some
            for row, split in zip(groups[name], _splits(groups[name], chosen.get(name), options.splits), strict=True)
            if row.split != split
        }
        _write(library, wanted)
        notes = {row.source: chosen.get(name, BLOCKS) for name in some for row in groups[name]}
        new = {source: note for source, note in notes.items() if sources[source].info.get(_NOTE) != note}
        library.put_sources(
            [replace(sources[name], info={**sources[name].info, _NOTE: note}) for name, note in new.items()]
        )
    return [_said(divided)] if divided else []


def _groups(library: Library) -> dict[str, list[_Row]]:
    """Clips of files by recording, in the order of time."""
    columns = ["id", "source", "start", "end", "split", "group"]
    found: dict[str, list[_Row]] = {}
    rows = library.table("clips").search().where("source != ''").select(columns).limit(None).to_arrow()
    for row in rows.to_pylist():
        found.setdefault(row.pop("group"), []).append(_Row(**row))
    return {name: sorted(own, key=lambda row: (row.source, row.start, row.end)) for name, own in found.items()}


def _noted(rows: Sequence[_Row], sources: Mapping[str, Source]) -> str:
    """What a recording's files say of its split; '' when none was settled yet."""
    said = {sources[row.source].info.get(_NOTE, "") for row in rows} - {""}
    return GIVEN if GIVEN in said else min(said, default="")


def _neediest(counts: Mapping[str, int], clips: int, shares: Sequence[float]) -> str:
    """The split that lacks most once so many clips are added; of equal ones the first."""
    total = sum(counts[name] for name in SPLITS) + clips
    lacks = {name: share / sum(shares) * total - counts[name] for name, share in zip(SPLITS, shares, strict=True)}
    return max((name for name, share in zip(SPLITS, shares, strict=True) if share), key=lambda name: lacks[name])


def _splits(rows: Sequence[_Row], whole: str | None, shares: Sequence[float]) -> list[str]:
    """One a clip: `whole` for all, or parts of the recording in the order of time, with a gap between two."""
    if whole is not None:
        return [whole] * len(rows)
    parts = [(name, share) for name, share in zip(SPLITS, shares, strict=True) if share]
    if len(rows) < 2 * len(parts) - 1:
        return [parts[0][0]] * len(rows)
    usable = len(rows) - (len(parts) - 1)
    sizes = [max(1, round(usable * share / sum(shares))) for _, share in parts[1:]]
    sizes = [usable - sum(sizes), *sizes]
    made: list[str] = []
    for (name, _), size in zip(parts, sizes, strict=True):
        made += [GAP] * bool(made) + [name] * size
    ends = 0.0
    for n, row in enumerate(rows):  # lines of subtitles overlap: what began before the gap is part of it
        if n and made[n - 1] == GAP and row.source == rows[n - 1].source and row.start < ends:
            made[n] = GAP
        elif made[n] != GAP:
            ends = max(ends, row.end) if n and row.source == rows[n - 1].source else row.end
    return made


def _write(library: Library, wanted: Mapping[str, str]) -> None:
    for split in (*SPLITS, GAP):
        ids = [id for id, one in wanted.items() if one == split]
        for some in in_batches(ids, _IDS_A_WRITE):
            library.table("clips").update(where=one_of("id", some), values={"split": split})


def _said(divided: set[str]) -> str:
    many = counted(len(divided), "recording")
    return (
        f"with only {many} the splits are parts of each in time, with a gap between them: numbers say how well a model "
        "does on more of the same"
    )
