"""What a run of `prepare` did, and what the library holds now, in numbers and in a few lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from seehear.library.records import COPY_OF, SPLITS
from seehear.library.tables import Library
from seehear.progress import counted, length


@dataclass
class Tally:
    """Counts kept while `prepare` runs. Files, if nothing else is said."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    removed_clips: int = 0
    left: int = 0
    """That a later call reads."""
    coarse: int = 0
    """That have been cut, and still have their short clips."""
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
    """In the library now, as are the counts that follow."""
    files: int
    hours: float
    """Of all clips, where they overlap counted twice."""
    modalities: dict[str, int]
    """Clips that have it: video (films and pictures), audio, text."""
    splits: dict[str, int]
    rejects: dict[str, int]
    """Files and rows set aside, by reason."""
    damaged: int
    """Files read in part."""
    copies: int = 0
    """Files with the content of another, which gives their clips."""
    new: int
    """Files of this run, as are the counts that follow."""
    changed: int
    unchanged: int
    gone: int
    removed_clips: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        held = [f"{counted(count, 'clip')} with {name}" for name, count in self.modalities.items()]
        places = ", ".join(f"{count:,} {name}" for name, count in self.splits.items())
        lines = [
            f"library {self.library}: {counted(self.clips, 'clip')} from {counted(self.files, 'file')}, "
            f"{length(3600 * self.hours)}",
            f"  {', '.join(held)}; {places}",
            f"  this run: {self._this_run()}",
        ]
        if self.damaged:
            lines.append(f"  damaged, read in part: {counted(self.damaged, 'file')}")
        if self.copies:
            are = "file is a copy of another" if self.copies == 1 else "files are copies of others"
            lines.append(f"  {self.copies:,} {are}: found once, with all places")
        if self.rejects:
            listed = f"seehear info {self.library} --rejects lists them"
            lines.append(f"  set aside: {sum(self.rejects.values()):,} ({listed})")
            shown = sorted(self.rejects.items(), key=lambda item: (-item[1], item[0]))
            lines += [f"    {count:,} x {reason}" for reason, count in shown[:5]]
            lines += ["    ..."] if len(shown) > 5 else []
        lines += [f"  note: {note}" for note in self.notes]
        if self.clips and not self.modalities["text"]:
            lines.append(
                f"  no clip has text: seehear transcribe {self.library} reads what is said, seehear ocr {self.library} "
                "what stands written"
            )
        lines.append(
            f"next: seehear encode {self.library}" if self.clips else "nothing to encode: no file could be used"
        )
        return "\n".join(lines)

    def _this_run(self) -> str:
        gone = f"{self.gone:,} gone ({counted(self.removed_clips, 'clip')} removed)" if self.gone else ""
        parts = [
            counted(self.new, "new file") if self.new else "",
            f"{self.changed:,} changed" if self.changed else "",
            f"{self.unchanged:,} unchanged" if self.unchanged else "",
            gone or (f"{counted(self.removed_clips, 'clip')} removed" if self.removed_clips else ""),
        ]
        return ", ".join(filter(None, parts)) or "no file"


def report(library: Library, tally: Tally) -> PrepareReport:
    columns = ["start", "end", "has_video", "has_audio", "split"]
    rows = library.table("clips").search().select(columns).limit(None).to_arrow()
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
        "text": int(library.table("clips").count_rows("array_length(texts) > 0")),
    }
    return PrepareReport(
        library=library.uri,
        clips=len(rows),
        files=sum(source.info.get("kind") != "manifest" for source in sources),
        hours=float(seconds) / 3600,
        modalities=modalities,
        splits={name: splits[name] for name in SPLITS},
        rejects=dict(Counter(_reason(reject) for reject in library.rejects())),
        damaged=sum("damage" in source.info for source in sources),
        copies=sum(COPY_OF in source.info for source in sources),
        new=tally.new,
        changed=tally.changed,
        unchanged=tally.unchanged,
        gone=tally.gone,
        removed_clips=tally.removed_clips,
        notes=tuple(notes),
    )


def _reason(reject: Any) -> str:
    """Without what differs from file to file, so that reasons can be counted."""
    return f"{reject.stage}: {reject.reason.partition(' (rows ')[0]}"
