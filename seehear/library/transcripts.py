"""Texts that machines read from recordings: a transcript for each media file and task, and clips' texts made from it.

The table is the truth and the texts of clips a function of it. So clips that are cut anew from an unchanged file get
their texts without the file being read again, and what a killed run left half done is put right by the next.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from seehear.errors import require
from seehear.library.edits import Edit, affected, edited, edits_by_file, read_edits
from seehear.library.records import COPY_OF, Clip, Source, Text, TextKind, unprintable
from seehear.library.tables import Library, in_batches, quote
from seehear.progress import counted

Task = Literal["speech", "translation", "screen"]
KINDS: dict[Task, TextKind] = {"speech": "speech", "translation": "speech", "screen": "screen"}
"""Kind of text that each task gives, in the order in which they stand in a clip, after the user's own."""
_TABLE = "transcripts"
_READER = "reader:"
"""Before a fingerprint, in the library's `about`."""
_LEAST = 0.1
"""Seconds of a line that a clip must hold to be given it, or half of a line that is shorter than twice that."""


@dataclass(frozen=True)
class Word:
    """A spoken word and its time in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Line:
    """A stretch of speech, or a line of text on screen; times in seconds, None in a picture."""

    text: str
    start: float | None = None
    end: float | None = None
    words: tuple[Word, ...] = ()
    """Language of speech; '' for translations and text on screen."""
    confidence: float = 1.0
    """Confidence of the model, in [0, 1]."""
    own: bool = False
    """Corrected by the user; never in the table."""


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """All that a machine read out of one media file in one task."""

    source: str
    task: Task
    by: str
    """Fingerprint of the model and its options."""
    content: str
    """Fingerprint of the file that was read: a transcript of another content is out of date."""
    language: str = ""
    lines: tuple[Line, ...] = ()
    until: float | None = None
    """Seconds of the file that have been read; None for all of it."""


# -- the table ---------------------------------------------------------------------------------------------------------


def read_transcripts(library: Library, sources: Iterable[str] | None = None) -> list[Transcript]:
    """Transcripts of all media files, or of some; by source and task."""
    if _TABLE not in library.tables():
        return []
    query = library.table(_TABLE).search()
    if sources is None:
        rows = query.limit(None).to_arrow().to_pylist()
    else:
        rows = []
        for some in in_batches(sorted(set(sources)), 1000):
            query = library.table(_TABLE).search().where(f"source IN ({', '.join(map(quote, some))})")
            rows += query.limit(None).to_arrow().to_pylist()
    return sorted(map(_transcript, rows), key=lambda t: (t.source, t.task))


def unread(
    library: Library, task: Literal["speech", "screen"], sources: Mapping[str, Source] | None = None
) -> dict[str, float]:
    """Media files that have no transcript of a task by any model, with their seconds, a picture counting as one.
    `sources`: the library's, where they have been read."""
    read: set[tuple[str, str]] = set()
    if _TABLE in library.tables():
        query = library.table(_TABLE).search().where(f"task = {quote(task)}").select(["source", "content"])
        rows = query.limit(None).to_arrow().to_pydict()
        read = set(zip(rows["source"], rows["content"], strict=True))
    kinds, fact = (("video", "audio"), "rate") if task == "speech" else (("video", "picture"), "width")
    return {
        source.source: max(1.0, source.duration)
        for source in (library.sources() if sources is None else sources).values()
        if source.info.get("kind") in kinds and fact in source.info and COPY_OF not in source.info
        if (source.source, source.fingerprint) not in read
    }


def main_language(library: Library) -> str:
    """The language that most lines of speech are in; '' where nothing has been transcribed."""
    if _TABLE not in library.tables():
        return ""
    query = library.table(_TABLE).search().where("task = 'speech'").select(["language", "lines"])
    rows = query.limit(None).to_arrow()
    counts: Counter[str] = Counter()
    lengths = require("pyarrow.compute").list_value_length(rows["lines"])
    for language, count in zip(rows["language"].to_pylist(), lengths.to_pylist(), strict=True):
        counts[language] += count or 0
    return max(counts, key=lambda language: (counts[language], language), default="") if counts.total() else ""


def write_transcripts(library: Library, transcripts: Sequence[Transcript]) -> None:
    """Inserts or replaces them by source and task, in one commit."""
    if transcripts:
        if library.ensure(_TABLE, _schema()).schema != _schema():  # of an older library
            library.replace(_TABLE, _rows(read_transcripts(library)))
        merge = library.table(_TABLE).merge_insert("key")
        merge.when_matched_update_all().when_not_matched_insert_all().execute(_rows(transcripts))


def remove_transcripts(library: Library, sources: Iterable[str]) -> None:
    for some in in_batches(sorted(sources), 1000):
        library.table(_TABLE).delete(f"source IN ({', '.join(map(quote, some))})")


def write_subtitles(library: Library, folder: Path) -> int:
    """Writes an .srt file for each transcript of speech with lines, as the user corrected them, in the folders of the
    media; returns their number. A translation is named like English subtitles: talk.en.srt beside talk.srt."""
    pysubs2 = require("pysubs2")
    read = corrected(read_transcripts(library), library.sources(), read_edits(library))
    spoken = sorted((t for t in read if KINDS[t.task] == "speech" and t.lines), key=lambda t: (t.source, t.task))
    stems = Counter(_srt_stem(source) for source in {t.source for t in spoken})
    for transcript in spoken:
        stem = _srt_stem(transcript.source)
        if stems[stem] > 1:  # a.mp4 and a.wav
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


def _schema() -> Any:
    pa = require("pyarrow")
    timed = [("text", pa.string()), ("start", pa.float64()), ("end", pa.float64())]
    line = pa.struct([*timed, ("words", pa.list_(pa.struct(timed))), ("confidence", pa.float64())])
    names = ("key", "source", "task", "by", "content", "language")
    return pa.schema([*((name, pa.string()) for name in names), ("lines", pa.list_(line)), ("until", pa.float64())])


def _rows(transcripts: Sequence[Transcript]) -> Any:
    rows = [{"key": f"{t.task}:{t.source}", **asdict(t)} for t in transcripts]
    return require("pyarrow").Table.from_pylist(rows, schema=_schema())


def _transcript(row: dict[str, Any]) -> Transcript:
    lines = []
    for line in row["lines"] or ():
        sure = line.get("confidence")  # absent in what an older seehear wrote
        words = tuple(Word(**word) for word in line["words"] or ())
        lines.append(Line(line["text"], line["start"], line["end"], words, 1.0 if sure is None else sure))
    return Transcript(**{n: v for n, v in row.items() if n not in ("key", "lines")}, lines=tuple(lines))


# -- texts of clips ----------------------------------------------------------------------------------------------------


def with_machine_texts(
    clips: Sequence[Clip],
    transcripts: Iterable[Transcript],
    sources: Mapping[str, Source],
    edits: Sequence[Edit] = (),
) -> list[Clip]:
    """The clips with the texts that came with their media first, and then those that follow from the transcripts of the
    files as they are now, all as the user edited them. A line goes to each clip that it overlaps, with its own times.
    All clips of a file are to be given together."""
    read = [t for t in transcripts if t.source in sources and sources[t.source].fingerprint == t.content]
    current = {(t.source, t.task): _ByTime(t) for t in corrected(read, sources, edits)}
    clips = edited(clips, edits, sources)
    return [replace(clip, texts=_given_texts(clip) + _machine_texts(clip, current)) for clip in clips]


def corrected(
    transcripts: Iterable[Transcript], sources: Mapping[str, Source], edits: Sequence[Edit]
) -> list[Transcript]:
    """Current transcripts with the lines that the user corrected in the place of those that machines read; of files
    without a transcript, those lines alone."""
    found = {(t.source, t.task): t for t in transcripts}
    for name, own in edits_by_file([edit for edit in edits if edit.what in KINDS and not edit.undone], sources).items():
        for edit in own:
            task: Task = edit.what  # type: ignore[assignment]  # one of `KINDS`
            empty = Transcript(source=name, task=task, by="", content=sources[name].fingerprint)
            transcript = found.get((name, task), empty)
            replaced = affected(edit, transcript.lines)
            lines = [line for line in transcript.lines if line not in replaced]
            if edit.text:
                lines.append(Line(edit.text, edit.start, edit.end, own=True))
                lines.sort(key=lambda line: line.start or 0.0)
            found[name, task] = replace(transcript, lines=tuple(lines))
    return list(found.values())


def _given_texts(clip: Clip) -> tuple[Text, ...]:
    """Texts that came with the media: what machines read, corrected or not, is joined anew."""
    return tuple(text for text in clip.texts if not text.by and text.kind not in KINDS.values())


def note_reader(library: Library, by: str, name: str) -> None:
    """Writes down what the fingerprint `by` of machine texts stands for."""
    if library.about().get(_READER + by) != name:
        library.set_about(_READER + by, name)


def machine_made(library: Library, texts: Sequence[Text]) -> str:
    """Summary of the texts that no user wrote: '46 of 50 texts transcribed by Whisper tiny.en'; '' for none."""
    readers = {k.removeprefix(_READER): v for k, v in library.about().items() if k.startswith(_READER)}
    verbs: dict[TextKind | None, str] = {"speech": "transcribed", "screen": "read on screen"}
    made = Counter(
        f"{verbs.get(text.kind, 'made')} by {readers.get(text.by, 'a machine')}" for text in texts if text.by
    )
    whole = f" of {counted(len(texts), 'text')}"
    return ", ".join(f"{n:,}{'' if i else whole} {how}" for i, (how, n) in enumerate(made.most_common()))


def file_of(clip: Clip, task: Task) -> str:
    """The file that a task reads for a clip; '' where the clip lacks the modality."""
    modality = "video" if task == "screen" else "audio"
    return clip.source_of(modality) if clip.has(modality) else ""


def _machine_texts(clip: Clip, current: Mapping[tuple[str, Task], _ByTime]) -> tuple[Text, ...]:
    found: list[tuple[TextKind, float, Text]] = []
    for task, kind in KINDS.items():
        lines = current.get((file_of(clip, task), task))
        if lines is not None:
            texts = (
                Text(line.text, line.start, line.end, kind, "" if line.own else lines.by, line.confidence)
                for line in lines.within(clip)
            )
            found += ((kind, text.start or 0.0, text) for text in texts)
    # A stable sort: a translation follows the original that begins at the same time.
    order = list(dict.fromkeys(KINDS.values()))
    return tuple(text for _, _, text in sorted(found, key=lambda item: (order.index(item[0]), item[1])))


class _ByTime:
    """The lines of a transcript, to be asked for by window: a long recording has thousands of lines and of clips."""

    def __init__(self, transcript: Transcript):
        self.by = transcript.by
        self._whole = [line for line in transcript.lines if line.start is None]
        timed = [(line.start, line.end, line) for line in transcript.lines if line.start is not None]
        self._timed = sorted(((s, s if e is None else e, line) for s, e, line in timed), key=lambda item: item[:2])
        self._starts = [start for start, _, _ in self._timed]
        self._longest = max((end - start for start, end, _ in self._timed), default=0.0)

    def within(self, clip: Clip) -> list[Line]:
        first, last = bisect_left(self._starts, clip.start - self._longest), bisect_left(self._starts, clip.end)
        found = []
        for start, end, line in self._timed[first:last]:
            if min(end, clip.end) - max(start, clip.start) >= min(_LEAST, (end - start) / 2):
                found.append(line)
        return self._whole + found
