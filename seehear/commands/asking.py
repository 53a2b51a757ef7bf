"""A question to the running server of a library: the command then loads neither models nor the database."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import version
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from seehear.library.records import unprintable
from seehear.library.serving import Server, server_of
from seehear.search.answer import Answer, Moment

_SECONDS = 3.0
"""Seconds that a server may take; the command takes about as long itself."""


@dataclass(frozen=True)
class Served:
    """Answer of a server."""

    answer: Answer
    behind: tuple[str, ...]
    """Lines that say what each index lacks."""
    working: bool
    """Whether it indexes the folder and has not done all."""


def ask_server(uri: str, query: Mapping[str, Any], *, follows: bool = False) -> Served | None:
    """The answer of the running server of a library; None where there is none, it does not answer in time, or refuses.
    A server with a token is asked only where SEEHEAR_TOKEN holds it. `follows`: only one that keeps the library up to
    date with its folder."""
    server, token = server_of(uri), os.environ.get("SEEHEAR_TOKEN", "")
    if server is None or server.version != version("seehear"):
        return None
    if (follows and not server.follows) or (server.token and not token):
        return None
    try:
        found = _ask(server, token, "api/search", query)
        status, progress = _ask(server, token, "api/status"), _ask(server, token, "api/progress")
        behind = tuple(run["behind"] for run in status["runs"] if run["together"])
        hits = [_moment(hit) for hit in found["hits"]]
        answer = Answer(found["query"], hits, found["indexed"], found["clips"])
        return Served(answer, behind, progress is not None and progress["state"] != "ready")
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None  # whatever it is, the command does the work itself


def _ask(server: Server, token: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    headers = {"authorization": f"Bearer {token}"} if server.token else {}
    data = None if body is None else json.dumps(body).encode()
    request = Request(server.address + path, data, headers | {"content-type": "application/json"})
    with build_opener(ProxyHandler({})).open(request, timeout=_SECONDS) as answer:
        return json.load(answer)


def _moment(hit: Mapping[str, Any]) -> Moment:
    names = ("start", "end", "kind", "text", "score", "confidence", "still")
    return Moment(
        file=unprintable(hit["file"]),
        clip=hit["clip"]["id"],
        source=hit["clip"]["source"],
        labels=tuple(hit["clip"]["labels"]),
        also=tuple(unprintable(place) for place in hit["also"]),
        **{name: hit[name] for name in names},
    )
