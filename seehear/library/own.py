"""Edits of clips by the user: labels added or removed, lines corrected, and both undone.

An edit is stored at once, whatever else is writing, and applied to the clips when their lock is free, at the latest by
the next writer of clips. Full text and the vectors of texts follow with the next indexing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from seehear.errors import SeehearError
from seehear.library.edits import Edit, EditKind, edits_by_file, read_edits, settled
from seehear.library.records import Clip, Text
from seehear.library.tables import LibraryTables
from seehear.library.transcripts import KINDS, read_transcripts, with_machine_texts
from seehear.library.vectors import one_of


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
