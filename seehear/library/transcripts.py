"""Texts of clips: transcripts, which models read from each media file, and the user's edits.

The texts of clips are a function of the two tables. So clips cut anew from an unchanged file get their texts without
another reading of the file, and a run completes what a killed one left out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from seehear.errors import SeehearError, require
from seehear.library.edits import Edit, EditKind, affected, edited, edits_by_file, read_edits, settled
from seehear.library.records import COPY_OF, Clip, Source, Text, TextKind, TimedLine, Word, unprintable
from seehear.library.tables import LibraryTables, in_batches, one_of, quote
from seehear.progress import counted

Task = Literal["speech", "translation", "screen"]
# Kind of text of each task, in their order in a clip, after the user's own texts.
KINDS: dict[Task, TextKind] = {"speech": "speech", "translation": "speech", "screen": "screen"}
_TABLE = "transcripts"
# Prefix of a fingerprint as a key of the library's `about`.
_READER = "reader:"
# Least seconds of a line inside a clip that has it; half of the line if that is shorter.
_LEAST = 0.1


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """Text of one media file as a model read it, in one task."""

    source: str
    task: Task
    by: str
    """Fingerprint of the model and its options."""
    content: str
    """Fingerprint of the file that was read. A transcript of other content is stale."""
    language: str = ""
    """Language of speech; '' for text on screen."""
    lines: tuple[TimedLine, ...] = ()
    until: float | None = None
    """Seconds of the file read so far; None for the whole file."""


# -- the table ---------------------------------------------------------------------------------------------------------


def read_transcripts(library: LibraryTables, sources: Iterable[str] | None = None) -> list[Transcript]:
    """Transcripts of all or some media files, by source and task."""
    if not library.has(_TABLE):
        return []
    batches = [None] if sources is None else [one_of("source", b) for b in in_batches(sorted(set(sources)), 1000)]
    rows = [row for where in batches for row in library.rows(_TABLE, where).to_pylist()]
    transcripts = []
    for row in rows:
        lines = []
        for line in row.pop("lines") or ():
            # Rows of an older seehear lack it.
            sure = line.get("confidence")
            words = tuple(Word(**word) for word in line["words"] or ())
            lines.append(TimedLine(line["text"], line["start"], line["end"], words, 1.0 if sure is None else sure))
        del row["key"]
        transcripts.append(Transcript(**row, lines=tuple(lines)))
    return sorted(transcripts, key=lambda t: (t.source, t.task))


def unread(
    library: LibraryTables, task: Literal["speech", "screen"], sources: Mapping[str, Source]
) -> dict[str, float]:
    """Seconds of the media files without a transcript of a task by any model; a picture counts as one."""
    read: set[tuple[str, str]] = set()
    if library.has(_TABLE):
        rows = library.rows(_TABLE, f"task = {quote(task)}", ["source", "content"]).to_pydict()
        read = set(zip(rows["source"], rows["content"], strict=True))
    kinds, fact = (("video", "audio"), "rate") if task == "speech" else (("video", "picture"), "width")
    return {
        source.source: max(1.0, source.duration)
        for source in sources.values()
        if source.info.get("kind") in kinds and fact in source.info and COPY_OF not in source.info
        if (source.source, source.fingerprint) not in read
    }


def main_language(library: LibraryTables) -> str:
    """Language of most lines of speech; '' if nothing has been transcribed."""
    if not library.has(_TABLE):
        return ""
    rows = library.rows(_TABLE, "task = 'speech'", ["language", "lines"])
    counts: Counter[str] = Counter()
    lengths = require("pyarrow.compute").list_value_length(rows["lines"])
    for language, count in zip(rows["language"].to_pylist(), lengths.to_pylist(), strict=True):
        counts[language] += count or 0
    # Among equal ones by name, so that the same encoders are chosen every time.
    return max(counts, key=lambda language: (counts[language], language), default="") if counts.total() else ""


def write_transcripts(library: LibraryTables, transcripts: Sequence[Transcript]) -> None:
    """Inserts or replaces transcripts by source and task, in one commit."""
    library.put(_TABLE, [{"key": f"{t.task}:{t.source}", **asdict(t)} for t in transcripts])


def remove_transcripts(library: LibraryTables, sources: Iterable[str]) -> None:
    for batch in in_batches(sorted(sources), 1000):
        library.table(_TABLE).delete(one_of("source", batch))


def write_subtitles(library: LibraryTables, folder: Path) -> int:
    """Writes an .srt file for each transcript of speech, with the user's corrections, below a folder; returns their
    number. A translation is named like English subtitles: talk.en.srt beside talk.srt."""
    pysubs2 = require("pysubs2")
    read = _corrected(read_transcripts(library), library.sources(), read_edits(library))
    spoken = sorted((t for t in read if KINDS[t.task] == "speech" and t.lines), key=lambda t: (t.source, t.task))
    stems = Counter(_srt_stem(source) for source in {t.source for t in spoken})
    for transcript in spoken:
        stem = _srt_stem(transcript.source)
        # The transcripts of a.mp4 and a.wav must not share a file.
        if stems[stem] > 1:
            stem = Path(f"{stem}{PurePosixPath(transcript.source).suffix}")
        path = folder / f"{stem}{'.en' if transcript.task == 'translation' else ''}.srt"
        file = pysubs2.SSAFile()
        for line in transcript.lines:
            start, end = (round(1000 * (seconds or 0.0)) for seconds in (line.start, line.end))
            file.append(pysubs2.SSAEvent(start=start, end=end, text=line.text))
        path.parent.mkdir(parents=True, exist_ok=True)
        file.save(str(path), format_="srt")
    return len(spoken)


def _srt_stem(source: str) -> Path:
    """A relative path without its suffix."""
    path = Path(unprintable(source))
    return path.relative_to(path.anchor).with_suffix("")


# -- texts of clips ----------------------------------------------------------------------------------------------------


def with_machine_texts(
    clips: Sequence[Clip],
    transcripts: Iterable[Transcript],
    sources: Mapping[str, Source],
    edits: Sequence[Edit] = (),
) -> list[Clip]:
    """The clips with the texts that came with their media, then the lines of current transcripts, all with the user's
    edits. A line goes to each clip that it overlaps, with its own times. All clips of a file must be given together."""
    read = [t for t in transcripts if t.source in sources and sources[t.source].fingerprint == t.content]
    current = {(t.source, t.task): _ByTime(t) for t in _corrected(read, sources, edits)}
    clips = edited(clips, edits, sources)
    given = ([t for t in clip.texts if not t.by and t.kind not in KINDS.values()] for clip in clips)
    return [replace(c, texts=(*own, *_machine_texts(c, current))) for c, own in zip(clips, given, strict=True)]


def _corrected(
    transcripts: Iterable[Transcript], sources: Mapping[str, Source], edits: Sequence[Edit]
) -> list[Transcript]:
    """Current transcripts with the user's corrections; for a file without a transcript, the corrections alone."""
    by_task = {(t.source, t.task): t for t in transcripts}
    for name, own in edits_by_file([edit for edit in edits if edit.what in KINDS and not edit.undone], sources).items():
        for edit in own:
            task: Task = edit.what  # type: ignore[assignment]  # one of `KINDS`
            empty = Transcript(source=name, task=task, by="", content=sources[name].fingerprint)
            transcript = by_task.get((name, task), empty)
            replaced = affected(edit, transcript.lines)
            lines = [line for line in transcript.lines if line not in replaced]
            if edit.text:
                lines.append(TimedLine(edit.text, edit.start, edit.end, own=True))
                lines.sort(key=lambda line: line.start or 0.0)
            by_task[name, task] = replace(transcript, lines=tuple(lines))
    return list(by_task.values())


def note_reader(library: LibraryTables, by: str, name: str) -> None:
    """Stores the name of the model with the fingerprint `by`."""
    if library.about().get(_READER + by) != name:
        library.set_about(_READER + by, name)


def machine_made(library: LibraryTables, texts: Sequence[Text]) -> str:
    """Summary of the texts by models: '46 of 50 texts transcribed by Whisper tiny.en'; '' for none."""
    readers = {k.removeprefix(_READER): v for k, v in library.about().items() if k.startswith(_READER)}
    verbs: dict[TextKind | None, str] = {"speech": "transcribed", "screen": "read on screen"}
    made = Counter(
        f"{verbs.get(text.kind, 'made')} by {readers.get(text.by, 'a machine')}" for text in texts if text.by
    )
    whole = f" of {counted(len(texts), 'text')}"
    return ", ".join(f"{n:,}{'' if i else whole} {how}" for i, (how, n) in enumerate(made.most_common()))


def file_of(clip: Clip, task: Task) -> str:
    """File that a task reads for a clip; '' if the clip lacks the modality."""
    modality = "video" if task == "screen" else "audio"
    return clip.source_of(modality) if clip.has(modality) else ""


def _machine_texts(clip: Clip, current: Mapping[tuple[str, Task], _ByTime]) -> list[Text]:
    texts: list[Text] = []
    for task, kind in KINDS.items():
        transcript = current.get((file_of(clip, task), task))
        if transcript is not None:
            for line in transcript.within(clip):
                by = "" if line.own else transcript.by
                texts.append(Text(line.text, line.start, line.end, kind, by, line.confidence))
    # A stable sort: a translation follows the original that begins at the same time.
    order = list(dict.fromkeys(KINDS.values()))
    return sorted(texts, key=lambda text: (order.index(text.kind), text.start or 0.0))  # type: ignore[arg-type]


class _ByTime:
    """Lines of a transcript by window: a long recording has thousands of lines and of clips."""

    def __init__(self, transcript: Transcript):
        self.by = transcript.by
        self._whole = [line for line in transcript.lines if line.start is None]
        timed = [(line.start, line.end, line) for line in transcript.lines if line.start is not None]
        self._timed = sorted(((s, s if e is None else e, line) for s, e, line in timed), key=lambda item: item[:2])
        self._starts = [start for start, _, _ in self._timed]
        self._longest = max((end - start for start, end, _ in self._timed), default=0.0)

    def within(self, clip: Clip) -> list[TimedLine]:
        # A line that begins before the clip reaches into it by the longest line at most.
        first, last = bisect_left(self._starts, clip.start - self._longest), bisect_left(self._starts, clip.end)
        return self._whole + [
            line
            for start, end, line in self._timed[first:last]
            if min(end, clip.end) - max(start, clip.start) >= min(_LEAST, (end - start) / 2)
        ]


# -- edits of clips ----------------------------------------------------------------------------------------------------

# An edit is stored at once, whatever else is writing, and applied to the clips when their lock is free, at the latest
# by the next writer of clips. Full text and the vectors of texts follow with the next indexing.


def label_edit(library: LibraryTables, clip: Clip, label: str, *, added: bool) -> Edit:
    """The edit that adds a label to a clip, or removes it."""
    edit = Edit(what="label", text=label) if added else Edit(what="label", before=label)
    return _placed(library, replace(edit, source=clip.source, start=clip.start, end=clip.end), clip)


def line_edit(library: LibraryTables, clip: Clip, line: Text, text: str) -> Edit:
    """The edit that replaces a line of a clip by a text; '' removes a line that a machine read. Raises `SeehearError`
    if the clip has no such line."""
    if line not in clip.texts:
        raise SeehearError(f"clip {clip.id} has no line {line.text!r} at that time any more: load it again")
    if not text and line.kind not in KINDS.values():
        raise SeehearError(f"{line.text!r} came with the file: take it out there")
    what: EditKind = line.kind or "caption"
    source = clip.source
    if what == "speech":
        source = clip.source_of("audio")
        # Both are speech in a clip; the edit belongs to the transcript that has the line.
        spoken = {(e.text, e.start) for e in read_edits(library) if e.what == "translation" and e.source == source}
        for transcript in read_transcripts(library, [source]):
            spoken |= {(one.text, one.start) for one in transcript.lines if transcript.task == "translation"}
        what = "translation" if (line.text, line.start) in spoken else "speech"
    edit = Edit(what=what, before=line.text, text=text, source=source, start=line.start, end=line.end)
    return _placed(library, edit, clip)


def _placed(library: LibraryTables, edit: Edit, clip: Clip) -> Edit:
    """The edit with the fingerprint of its file; one of a row of text alone with the clip instead."""
    if not edit.source:
        return replace(edit, clip=clip.id, start=None, end=None)
    known = library.sources().get(edit.source)
    return replace(edit, content=known.fingerprint if known else "")


def settle_edits(library: LibraryTables) -> list[str]:
    """Applies pending edits to the clips and returns the ids of the changed ones. The caller holds the lock."""
    due, changed = _due(library)
    library.put_clips(changed)
    # After the clips: an edit that a kill leaves pending is applied again.
    settled(library, due)
    return [clip.id for clip in changed]


def as_edited(library: LibraryTables, clips: Sequence[Clip]) -> list[Clip]:
    """The clips with pending edits applied."""
    changed = {clip.id: clip for clip in _due(library)[1]}
    return [changed.get(clip.id, clip) for clip in clips]


def _due(library: LibraryTables) -> tuple[list[Edit], list[Clip]]:
    """(pending edits, clips changed by them)."""
    edits = read_edits(library)
    due = [edit for edit in edits if edit.pending]
    if not due:
        return [], []
    sources = library.sources()
    files, rows = list(edits_by_file(due, sources)), [edit.clip for edit in due if edit.clip]
    columns = {"source": files, "audio_source": files, "id": rows}
    places = [one_of(column, values) for column, values in columns.items() if values]
    clips = library.clips(" OR ".join(places)) if places else []
    read = read_transcripts(library, {file for clip in clips for file in (clip.source, clip.audio_source)})
    new = with_machine_texts(clips, read, sources, edits)
    return due, [clip for clip, old in zip(new, clips, strict=True) if clip != old]
