"""Access to a library for assistants over the Model Context Protocol: search, list of films, transcripts, frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from seehear.errors import SeehearError
from seehear.serve.config import ServeConfig
from seehear.serve.film import FilmDetail, Scene, film_detail
from seehear.serve.films import Shelves
from seehear.serve.problems import Problem
from seehear.serve.schema import Kind, Query, QueryFilters, Second, TextPart
from seehear.serve.state import State

_INSTRUCTIONS = (
    "A library of somebody's own films, photos and sounds. `search` finds moments by words; its `words` say how sure "
    "it is, and 'nothing close' means that there is no answer. Files are named by `file`, times are seconds."
)
_MOST_FRAMES = 8
# Largest number of lines in one answer
_LINES = 400

_Words = Annotated[str, Field(min_length=1, max_length=2000)]
_File = Annotated[str, Field(max_length=4096, description="`file` of an answer of `search` or `list_films`")]


def assistant(library: str, config: ServeConfig) -> tuple[MCPServer, Callable[[], None]]:
    """(MCP server of a library, which must exist; function that closes it)"""
    tools = _Tools(State(library, config))
    server = MCPServer("seehear", instructions=_INSTRUCTIONS, version=version("seehear"), log_level="WARNING")
    every: list[Callable[..., Any]] = [tools.search, tools.list_films, tools.transcript, tools.frames]
    for tool in every:
        server.add_tool(tool)
    tools.state.warm()
    return server, tools.state.close


class _Tools:
    """Tools over a library. An assistant reads their names, docstrings and annotations as descriptions."""

    def __init__(self, state: State):
        self.state, self.shelves = state, Shelves(state)

    def search(
        self,
        words: _Words,
        k: Annotated[int, Field(ge=1, le=50)] = 10,
        kinds: list[Kind] | None = None,
        file: _File = "",
    ) -> dict[str, Any]:
        """The k best moments for words. `kinds`: kinds of match to allow (seen, heard, spoken, screen, text); `file`:
        only in this file."""
        # A filter has no escapes: a wildcard in a file's name is matched by `?`, any one character.
        source = "".join("?" if letter in "*?[" else letter for letter in file)
        filters = QueryFilters(source=source)
        query = Query(parts=[TextPart(text=words)], k=k, kinds=kinds or [], filters=filters)
        answer = _answered(lambda: self.state.search(query))
        names = {"start", "end", "kind", "text"}
        hits = [
            {"file": hit.clip.source, "sure": hit.words, "labels": hit.clip.labels} | hit.model_dump(include=names)
            for hit in answer.hits
        ]
        return {"words": answer.words, "hits": hits, "indexed": answer.indexed, "clips": answer.clips}

    def list_films(
        self,
        folder: str = "",
        offset: Annotated[int, Field(ge=0)] = 0,
        limit: Annotated[int, Field(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        """Films, photos and sounds, the newest first. `folder`: only those in it and below it."""
        # With a slash at its end: 'talk' is not the folder of 'talks/a.mp4'.
        every, inside = self.shelves.now("date").films, f"{folder.rstrip('/')}/"
        films = [film for film in every if not folder or film.name.startswith(inside)]
        some = films[offset : offset + limit]
        entries = [{"file": f.name, "kind": f.kind, "seconds": f.seconds, "date": f.date} for f in some]
        return {"total": len(films), "films": entries}

    def transcript(self, file: _File, start: Second = 0.0, end: Second | None = None) -> dict[str, Any]:
        """Lines spoken or written in a file between two times. `machine`: transcribed by a machine."""
        film = self._film(file)
        late = float("inf") if end is None else end
        # A line without times is of the whole file, and so in every part of it.
        lines = [t for t in film.texts if (t.start or 0.0) < late and (t.end is None or t.end >= start)]
        keys = {"start", "end", "kind", "text", "machine"}
        return {
            "file": file,
            "seconds": film.seconds,
            "lines": [line.model_dump(include=keys) for line in lines[:_LINES]],
            "more": max(0, len(lines) - _LINES),
        }

    def frames(
        self, file: _File, times: Annotated[list[Second], Field(min_length=1, max_length=_MOST_FRAMES)]
    ) -> list[Image]:
        """Frames of a film at the given seconds, or a photo ([0]), as JPEG."""
        scenes = self._film(file).scenes
        return [_answered(partial(self._frame, scenes, at)) for at in times]

    def _frame(self, scenes: Sequence[Scene], at: float) -> Image:
        # Times between or after scenes get the nearest one.
        nearest = min(scenes, key=lambda scene: abs(scene.start - at))
        scene = next((scene for scene in scenes if scene.start <= at < scene.end), nearest)
        return Image(data=self.state.poster(self.state.clip(scene.id), at).read_bytes(), format="jpeg")

    def _film(self, file: str) -> FilmDetail:
        return _answered(lambda: film_detail(self.state.runs.library, self.state.runs.folders, file))


def _answered(ask: Callable[[], Any]) -> Any:
    """Result of `ask`; a refusal becomes a one-line `ToolError`."""
    try:
        return ask()
    except Problem as problem:
        plain = problem.plain()
        raise ToolError(": ".join(part for part in (plain["message"], plain["todo"]) if part)) from problem
    except SeehearError as error:
        raise ToolError(str(error)) from error
