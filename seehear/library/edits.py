"""The user's own labels and corrected lines: one row an edit in the table `own`, which outlasts the clips.

An edit belongs to a file by its content, or by its name if no file has that content, and to seconds of it. So it holds
for a renamed file, for clips cut anew, and for the lines of another transcript. The texts and labels of clips are
derived from it as from transcripts (`transcripts.with_machine_texts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from difflib import SequenceMatcher
from typing import Literal, TypeVar

from seehear.library.locking import alone_with
from seehear.library.records import Clip, Source, Text, TimedLine, digest
from seehear.library.tables import LibraryTables
from seehear.library.vectors import one_of

EditKind = Literal["label", "subtitle", "caption", "speech", "translation", "screen"]
_TABLE = "own"
# Least similarity, in [0, 1], of a corrected line and the same line as another model read it.
_ALIKE = 0.5


AnyLine = TypeVar("AnyLine", Text, TimedLine)


@dataclass(frozen=True, kw_only=True)
class Edit:
    what: EditKind
    source: str = ""
    """Edited file; '' for a row of text alone."""
    content: str = ""
    """Fingerprint of the file at the time of the edit."""
    clip: str = ""
    """Id of a row of text alone."""
    start: float | None = None
    """Seconds of the file: times of the line, or of the clip of a label; None for text without times."""
    end: float | None = None
    before: str = ""
    """Line before the edit; label that is removed."""
    text: str = ""
    """Line after the edit, '' to remove it; label that is added."""
    shown: str = ""
    """Text of the line in clips without the edit, if it differs from `before`."""
    undone: bool = False
    """Undone by the user: the row is deleted once the clips are restored."""
    pending: bool = True
    """Not yet applied to the clips."""

    @property
    def key(self) -> str:
        place = self.content or self.source or self.clip
        words = self.before + self.text if self.what == "label" else self.before
        return digest(self.what, place, repr(self.start), repr(self.end), words)


# -- the table ---------------------------------------------------------------------------------------------------------


def read_edits(library: LibraryTables) -> list[Edit]:
    """All edits, from the newest version of the table."""
    if not library.has(_TABLE):
        return []
    # A server writes them while others read.
    library.table(_TABLE).checkout_latest()
    rows = library.rows(_TABLE).to_pylist()
    return [Edit(**{field.name: row[field.name] for field in fields(Edit)}) for row in rows]


def record(library: LibraryTables, edit: Edit) -> Edit:
    """Stores an edit and returns the stored one: a second edit of a line or label replaces the first."""
    with alone_with(library.uri, _TABLE):
        known = next((old for old in read_edits(library) if _same_thing(old, edit)), None)
        if known is not None:
            edit = _again(known, edit)
        _put(library, edit)
    return edit


def undo(library: LibraryTables, key: str) -> Edit | None:
    """Undoes an edit; None for an unknown key."""
    with alone_with(library.uri, _TABLE):
        known = next((edit for edit in read_edits(library) if edit.key == key), None)
        if known is not None and not known.undone:
            known = replace(known, undone=True, pending=True, shown=known.shown if known.pending else known.text)
            _put(library, known)
    return known


def settled(library: LibraryTables, edits: Iterable[Edit]) -> None:
    """Marks edits as applied to the clips; those changed meanwhile stay pending."""
    with alone_with(library.uri, _TABLE):
        # Compared as a whole: an edit that the user has changed since it was applied is not among them.
        stored = set(read_edits(library))
        applied = [edit for edit in edits if edit in stored]
        _put(library, *(replace(edit, pending=False, shown="") for edit in applied if not edit.undone))
        if undone := [edit.key for edit in applied if edit.undone]:
            library.table(_TABLE).delete(one_of("key", undone))


def _same_thing(old: Edit, new: Edit) -> bool:
    # Files with one content are one thing to edit.
    place = (old.what, old.content or old.source or old.clip, old.start, old.end)
    if place != (new.what, new.content or new.source or new.clip, new.start, new.end):
        return False
    if new.what == "label":
        return old.before + old.text == new.before + new.text
    return new.before in (old.before if old.undone else old.text, old.before)


def _again(old: Edit, new: Edit) -> Edit:
    """The first edit of a line or label, which keeps the original text, with the result of the second."""
    undone = old.text != new.text if new.what == "label" else old.before == new.text
    if undone and old.undone:
        return old
    shown = old.shown if old.pending else old.text
    # An undone label keeps its text, by which it is found and put back.
    text = old.text if undone or new.what == "label" else new.text
    return replace(old, text=text, undone=undone, pending=True, shown=shown)


def _put(library: LibraryTables, *edits: Edit) -> None:
    library.put(_TABLE, [{"key": edit.key, **asdict(edit)} for edit in edits])


# -- applied to clips and lines ----------------------------------------------------------------------------------------


def edits_by_file(edits: Iterable[Edit], sources: Mapping[str, Source]) -> dict[str, list[Edit]]:
    """Edits of each file, by its content, or by its name if no file has that content any more."""
    of_content: dict[str, list[Edit]] = {}
    of_name: dict[str, list[Edit]] = {}
    for edit in edits:
        # Edits of a row of text alone have no file.
        if edit.source:
            of_content.setdefault(edit.content, []).append(edit)
            of_name.setdefault(edit.source, []).append(edit)
    by_file: dict[str, list[Edit]] = {}
    if not of_content:
        return by_file
    held = {source.fingerprint for source in sources.values()}
    for name, source in sources.items():
        # By content first: a renamed or moved file keeps its edits.
        own = of_content.get(source.fingerprint, []) + [e for e in of_name.get(name, ()) if e.content not in held]
        if own:
            by_file[name] = own
    return by_file


def edited(clips: Sequence[Clip], edits: Sequence[Edit], sources: Mapping[str, Source]) -> list[Clip]:
    """The clips with the user's labels, subtitles and captions. All clips of a file must be given together."""
    if not edits:
        return list(clips)
    of_file = edits_by_file(edits, sources)
    windows: dict[str, set[tuple[float, float]]] = {}
    for clip in clips:
        windows.setdefault(clip.source, set()).add((clip.start, clip.end))
    of_row: dict[str, list[Edit]] = {}
    for edit in edits:
        if edit.clip:
            of_row.setdefault(edit.clip, []).append(edit)
    changed = []
    for clip in clips:
        for edit in of_file.get(clip.source, []) if clip.source else of_row.get(clip.id, []):
            if edit.what == "label" and _labels(edit, clip, windows[clip.source]):
                added, taken = (edit.before, edit.text) if edit.undone else (edit.text, edit.before)
                kept = tuple(label for label in clip.labels if label != taken)
                clip = replace(clip, labels=kept if not added or added in kept else (*kept, added))
            elif edit.what in ("subtitle", "caption"):
                clip = replace(clip, texts=_with_line(clip.texts, edit))
        changed.append(clip)
    return changed


def affected(edit: Edit, lines: Sequence[AnyLine]) -> list[AnyLine]:
    """Lines that an edit of their kind replaces: the corrected one; in another transcript those at the same time or
    with similar words."""
    near = [line for line in lines if _covers(edit, line)]
    exact = [line for line in near if line.text and line.text in (edit.before, edit.shown)]
    if exact or edit.start is None or any(line.text == edit.text for line in near):
        return exact
    # One line at a time is spoken, several are on screen.
    if edit.what == "speech":
        return near
    # Another model may read the line as it was, or as the user corrected it.
    words = edit.before.lower(), edit.text.lower()
    # Without `autojunk`, which ignores frequent letters of long lines.
    ratios = [max(SequenceMatcher(None, line.text.lower(), w, autojunk=False).ratio() for w in words) for line in near]
    return [line for line, ratio in zip(near, ratios, strict=True) if ratio >= _ALIKE]


def _covers(edit: Edit, line: Text | TimedLine) -> bool:
    """True if at least half of a line lies within the times of an edit."""
    if edit.start is None or edit.end is None or line.start is None:
        return edit.start is None and line.start is None
    end = line.start if line.end is None else line.end
    return min(edit.end, end) - max(edit.start, line.start) >= (end - line.start) / 2


def _labels(edit: Edit, clip: Clip, windows: set[tuple[float, float]]) -> bool:
    """True if a label applies to a clip: they have the same window or, where clips were cut anew, share half of either
    window."""
    if edit.start is None or edit.end is None:
        return True
    if (edit.start, edit.end) in windows:
        return (edit.start, edit.end) == (clip.start, clip.end)
    shared = min(edit.end, clip.end) - max(edit.start, clip.start)
    return shared > 0 and shared >= min(edit.end - edit.start, clip.end - clip.start) / 2


def _with_line(texts: tuple[Text, ...], edit: Edit) -> tuple[Text, ...]:
    own = [text for text in texts if text.kind == edit.what]
    if edit.undone:
        changed, new = [text for text in own if text.text == edit.shown and _covers(edit, text)], edit.before
    else:
        changed, new = affected(edit, own), edit.text
    return tuple(replace(text, text=new) if text in changed else text for text in texts)
