"""Edits by the user: labels added to clips or removed, lines of their texts corrected, and the undoing of both.

An edit is stored at once, whatever else is writing. It is applied to the clips when the lock on them is free, at the
latest by the next writer of clips. Full text and the vectors of texts follow from the clips, with the next indexing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from seehear.errors import SeehearError
from seehear.library.edits import Edit, What, edits_by_file, read_edits, settled
from seehear.library.records import Clip, Text
from seehear.library.tables import Library
from seehear.library.transcripts import KINDS, read_transcripts, with_machine_texts
from seehear.library.vectors import one_of


def label_edit(library: Library, clip: Clip, label: str, *, added: bool) -> Edit:
    """The edit that adds a label to a clip, or removes it."""
    edit = Edit(what="label", text=label) if added else Edit(what="label", before=label)
    return _placed(library, edit, clip, clip.source, clip.start, clip.end)


def line_edit(library: Library, clip: Clip, line: Text, said: str) -> Edit:
    """The edit that replaces a line of a clip; '' removes one that a machine read. Raises `SeehearError` where the clip
    has no such line."""
    if line not in clip.texts:
        raise SeehearError(f"clip {clip.id} has no line {line.text!r} at that time any more: load it again")
    if not said and line.kind not in KINDS.values():
        raise SeehearError(f"{line.text!r} came with the file: take it out there")
    what = _what(library, clip, line)
    source = clip.source_of("audio") if what in ("speech", "translation") else clip.source
    return _placed(library, Edit(what=what, before=line.text, text=said), clip, source, line.start, line.end)


def settle_edits(library: Library) -> list[str]:
    """Applies pending edits to the clips, and returns the ids of those that changed. The caller holds the lock."""
    due, changed = _due(library)
    library.put_clips(changed)
    settled(library, due)
    return [clip.id for clip in changed]


def as_edited(library: Library, clips: Sequence[Clip]) -> list[Clip]:
    """The clips with pending edits applied, which the library's own do not have yet."""
    changed = {clip.id: clip for clip in _due(library)[1]}
    return [changed.get(clip.id, clip) for clip in clips]


def _due(library: Library) -> tuple[list[Edit], list[Clip]]:
    """(pending edits, the clips that they change, as changed)."""
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


def _placed(library: Library, edit: Edit, clip: Clip, source: str, start: float | None, end: float | None) -> Edit:
    if not source:
        return replace(edit, clip=clip.id)
    known = library.sources().get(source)
    return replace(edit, source=source, content=known.fingerprint if known else "", start=start, end=end)


def _what(library: Library, clip: Clip, line: Text) -> What:
    """The kind of a line; of speech, whether it is a translation."""
    if line.kind != "speech":
        return line.kind or "caption"
    file = clip.source_of("audio")
    said = {(e.text, e.start) for e in read_edits(library) if e.what == "translation" and e.source == file}
    for transcript in read_transcripts(library, [file]):
        said |= {(one.text, one.start) for one in transcript.lines if transcript.task == "translation"}
    return "translation" if (line.text, line.start) in said else "speech"
