"""Results of a run of `prepare`, and contents of the library after it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from seehear.library.records import COPY_OF, SPLITS
from seehear.library.tables import LibraryTables
from seehear.progress import counted, length


@dataclass
class Tally:
    """Counts of files in a run of `prepare`."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    removed_clips: int = 0
    left: int = 0
    """Files left for a later call."""
    coarse: int = 0
    """Files that still have their short clips."""
    texts_changed: bool = False
    """Rows of text alone were written or removed."""
    notes: list[str] = field(default_factory=list)

    @property
    def written(self) -> bool:
        return bool(self.new or self.changed or self.gone or self.texts_changed)


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    library: str
    clips: int
    """Clips in the library; the counts up to `copies` are of the library, too."""
    files: int
    hours: float
    """Hours of all clips; overlaps count twice."""
    modalities: dict[str, int]
    """Clips by modality: video (films and pictures), audio, text."""
    splits: dict[str, int]
    rejects: dict[str, int]
    """Files and rows set aside, by reason."""
    damaged: int
    """Files read in part."""
    copies: int = 0
    """Files with the content of another file, which gives their clips."""
    new: int
    """New files in this run; the counts below are of this run, too."""
    changed: int
    unchanged: int
    gone: int
    removed_clips: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        removed = f"{counted(self.removed_clips, 'clip')} removed"
        done = [
            counted(self.new, "new file") if self.new else "",
            f"{self.changed:,} changed" if self.changed else "",
            f"{self.unchanged:,} unchanged" if self.unchanged else "",
            f"{self.gone:,} deleted ({removed})" if self.gone else removed if self.removed_clips else "",
        ]
        held = [f"{counted(count, 'clip')} with {name}" for name, count in self.modalities.items()]
        places = ", ".join(f"{count:,} {name}" for name, count in self.splits.items())
        lines = [
            f"library {self.library}: {counted(self.clips, 'clip')} from {counted(self.files, 'file')}, "
            f"{length(3600 * self.hours)}",
            f"  {', '.join(held)}; {places}",
            f"  this run: {', '.join(filter(None, done)) or 'no file'}",
        ]
        if self.damaged:
            lines.append(f"  damaged, read in part: {counted(self.damaged, 'file')}")
        if self.copies:
            are = "file is a copy of another" if self.copies == 1 else "files are copies of others"
            lines.append(f"  {self.copies:,} {are}: found once, with all places")
        if self.rejects:
            listed = f"seehear info {self.library} --rejects lists them"
            lines.append(f"  set aside: {sum(self.rejects.values()):,} ({listed})")
            # The most frequent reasons first, equal ones by name.
            shown = sorted(self.rejects.items(), key=lambda item: (-item[1], item[0]))
            lines += [f"    {count:,} x {reason}" for reason, count in shown[:5]]
            lines += ["    ..."] if len(shown) > 5 else []
        lines += [f"  note: {note}" for note in self.notes]
        if self.clips and not self.modalities["text"]:
            readers = {"audio": ("transcribe", "speech"), "video": ("ocr", "text on screen")}
            advice = [
                f"seehear {name} {self.library} reads {what}"
                for m, (name, what) in readers.items()
                if self.modalities[m]
            ]
            lines.append(f"  no clip has text: {', '.join(advice)}")
        lines.append(
            f"next: seehear encode {self.library}" if self.clips else "nothing to encode: no file could be used"
        )
        return "\n".join(lines)


def report(library: LibraryTables, tally: Tally) -> PrepareReport:
    rows = library.rows("clips", columns=["start", "end", "has_video", "has_audio", "split"])
    seconds = sum(rows["end"].to_numpy()) - sum(rows["start"].to_numpy())
    sources = library.sources().values()
    splits = Counter(rows["split"].to_pylist())
    empty = [name for name in SPLITS if not splits[name]]
    notes = list(tally.notes)
    if len(rows) and empty:
        notes.append(f"no clip fell into {' or '.join(empty)}: give splits in a manifest, or add files")
    modalities = {
        "video": int(rows["has_video"].to_numpy(zero_copy_only=False).sum()),
        "audio": int(rows["has_audio"].to_numpy(zero_copy_only=False).sum()),
        # Counted by the database: the texts are most of the bytes of the clips.
        "text": int(library.table("clips").count_rows("array_length(texts) > 0")),
    }
    return PrepareReport(
        library=library.uri,
        clips=len(rows),
        files=sum(source.info.get("kind") != "manifest" for source in sources),
        hours=float(seconds) / 3600,
        modalities=modalities,
        splits={name: splits[name] for name in SPLITS},
        # Without the rows, which differ from file to file.
        rejects=dict(Counter(f"{r.stage}: {r.reason.partition(' (rows ')[0]}" for r in library.rejects())),
        damaged=sum("damage" in source.info for source in sources),
        copies=sum(COPY_OF in source.info for source in sources),
        new=tally.new,
        changed=tally.changed,
        unchanged=tally.unchanged,
        gone=tally.gone,
        removed_clips=tally.removed_clips,
        notes=tuple(notes),
    )
