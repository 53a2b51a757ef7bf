"""The user's own labels, corrected lines and saved searches, stored in the library even while others write it.

A label or line is stored immediately. Clips and full text are updated immediately too, or when the process that is
writing them ends; the vectors of texts are updated by the next indexing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from seehear.library.edits import record, undo
from seehear.library.tables import Clip, LibraryTables, Text
from seehear.library.transcripts import as_edited, label_edit, line_edit
from seehear.serve import views
from seehear.serve.files import clip_of
from seehear.serve.problems import Problem
from seehear.serve.schema import NO_ZERO_BYTES, ClipView, Name, NonEmpty, Second, StrictModel, TextKind
from seehear.serve.state import ServerState, State

MOST_LABELS, MOST_SAVED = 100, 200
"""Largest number of labels per clip, and of saved searches per library."""
# Prefix of a saved search's key in the library's `about`
_SAVED = "saved:"
# One line, not only spaces
_PRINTED = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
Label = Annotated[str, Field(max_length=200, pattern=_PRINTED)]


class Labels(StrictModel):
    clip: Name
    add: list[Label] = Field(default=[], max_length=20)
    remove: list[Label] = Field(default=[], max_length=20)


class Correction(StrictModel):
    clip: Name = Field(description="id of a clip that has the line")
    kind: TextKind | None = Field(default=None, description="kind of the line; any by default")
    start: Second | None = Field(default=None, description="start of the line; any by default")
    end: Second | None = None
    before: NonEmpty = Field(description="current text of the line")
    text: Annotated[str, Field(max_length=2000, pattern=NO_ZERO_BYTES)] = Field(
        description="new text of the line; '' removes a line that a machine read"
    )


class Undo(StrictModel):
    undo: Annotated[str, Field(max_length=100, pattern=r"^[0-9a-f]*$")] = Field(description="key of an edit")


class Edited(BaseModel):
    clip: ClipView | None = Field(description="the clip after the edit; null after an undo")
    edits: list[str] = Field(description="keys for `undo` of POST /api/texts")
    searchable: bool = Field(
        description="full-text search has it already; else it follows when another process ends writing"
    )


class SavedSearch(StrictModel):
    name: Label
    query: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[!-~]*$")] = Field(
        description="query string of the page's address, without '?'"
    )


class Saved(BaseModel):
    saved: list[SavedSearch] = Field(description="the newest first")


router = APIRouter()


@router.post("/api/labels", tags=["own"])
def labels(state: ServerState, wanted: Labels) -> Edited:
    """Adds the user's own labels to a clip, and removes labels from it."""
    with _to_write(state) as library:
        clip = _clip(library, wanted.clip)
        if len({*clip.labels, *wanted.add}) > MOST_LABELS:
            raise Problem(409, "too_many", f"a clip has at most {MOST_LABELS} labels")
        asked = [(name.strip(), True) for name in wanted.add] + [(name.strip(), False) for name in wanted.remove]
        # Adding a label that the clip has is no edit, so an undo of it must not remove the label.
        changes = [(name, added) for name, added in asked if (name in clip.labels) != added]
        edits = [record(library, label_edit(library, clip, name, added=added)).key for name, added in changes]
        return _answer(state, clip.id, edits)


@router.post("/api/texts", tags=["own"])
def texts(state: ServerState, wanted: Correction | Undo) -> Edited:
    """Corrects a line of a clip, transcribed or written, or undoes an edit."""
    with _to_write(state) as library:
        if isinstance(wanted, Undo):
            if undo(library, wanted.undo) is None:
                raise Problem(404, "no_edit", "there is nothing to undo", "load the page again")
            return _answer(state, "", [])
        clip = _clip(library, wanted.clip)

        def is_line(text: Text) -> bool:
            for at, asked in ((text.start, wanted.start), (text.end, wanted.end)):
                # Times are rounded on their way to the page and back.
                if asked is not None and (at is None or abs(at - asked) >= 0.01):
                    return False
            return text.text == wanted.before and wanted.kind in (None, views.text_kind(text))

        line = next(filter(is_line, clip.texts), None)
        if line is None:
            message = f"clip {clip.id!r} has no such line any more"
            raise Problem(404, "no_line", message, "load the page again")
        if (text := " ".join(wanted.text.split())) == line.text:
            return _answer(state, clip.id, [])
        return _answer(state, clip.id, [record(library, line_edit(library, clip, line, text)).key])


@router.get("/api/saved", tags=["own"])
def saved(state: ServerState) -> Saved:
    """The saved searches."""
    return Saved(saved=_saved(LibraryTables.open(state.runs.uri)))


@router.post("/api/saved", tags=["own"])
def save(state: ServerState, wanted: SavedSearch) -> Saved:
    """Saves a search, replacing one of the same name."""
    with _to_write(state) as library:
        names = {search.name for search in _saved(library)} | {wanted.name.strip()}
        if len(names) > MOST_SAVED:
            raise Problem(409, "too_many", f"a library has at most {MOST_SAVED} saved searches", "delete one first")
        value = {"query": wanted.query, "made": datetime.now(UTC).isoformat()}
        library.set_about(_SAVED + wanted.name.strip(), json.dumps(value))
        return Saved(saved=_saved(library))


@router.delete("/api/saved", tags=["own"])
def delete(state: ServerState, name: Label) -> Saved:
    """Deletes a saved search. An unknown name is no error."""
    with _to_write(state) as library:
        library.forget(_SAVED + name.strip())
        return Saved(saved=_saved(library))


def _answer(state: State, clip: str, edits: list[str]) -> Edited:
    """Applies pending edits. Returns the edited clip, or none if the id is ''."""
    # A clip is answered with its edits even before they are applied.
    done = state.own.apply({clip} - {""})
    library = LibraryTables.open(state.runs.uri)
    view = views.clip_view(_clip(library, clip), state.runs.folders) if clip else None
    return Edited(clip=view, edits=edits, searchable=done)


@contextmanager
def _to_write(state: State) -> Iterator[LibraryTables]:
    """The library's current state. Raises `Problem` (403) if it cannot be written."""
    uri = state.runs.uri
    local = "://" not in uri
    todo = f"start seehear as a user who may write {uri}" if local else "start seehear with keys that may write"
    # Object storage says so only when it is written to.
    if local and not os.access(uri, os.W_OK):
        raise Problem(403, "read_only", f"{uri} may only be read", todo)
    try:
        yield LibraryTables.open(uri)
    except OSError as error:
        raise Problem(403, "read_only", f"{uri} cannot be written: {error.strerror or error}", todo) from error


def _clip(library: LibraryTables, id: str) -> Clip:
    return as_edited(library, [clip_of(library, id)])[0]


def _saved(library: LibraryTables) -> list[SavedSearch]:
    about = {key.removeprefix(_SAVED): value for key, value in library.about().items() if key.startswith(_SAVED)}
    searches: list[tuple[str, dict[str, Any]]] = [(name, json.loads(value)) for name, value in about.items()]
    searches.sort(key=lambda item: item[1]["made"], reverse=True)
    return [SavedSearch(name=name, query=value["query"]) for name, value in searches]
