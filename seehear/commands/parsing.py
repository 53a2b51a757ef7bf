"""Parsing words into a command's dataclass, and printing results."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from http.client import HTTPException
from importlib.metadata import version
from itertools import takewhile
from typing import Any, get_args, get_origin, get_type_hints
from urllib.request import ProxyHandler, Request, build_opener

import tyro

from seehear.errors import SeehearError, unknown
from seehear.library.locking import Server, server_of
from seehear.library.records import unprintable
from seehear.search.answer import Answer, Moment

# One option for a boolean, the one that changes its default (--json, --no-html), instead of tyro's pair of two.
_CONFIG = (tyro.conf.FlagCreatePairsOff,)
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_RULE = re.compile(r"^[─-]+$", re.MULTILINE)
_TYPES = re.compile(r"^[A-Z.\[\] ]+$", re.MULTILINE)  # of a missing positional argument: STR, PATH, [STR ...]
_FLAGS = re.compile(r"'flags': \[([^\]]*)\]")
_WORDS = "_words"  # of a parsed command, beside its fields
Flat = tyro.conf.arg(name="")
"""`Annotated[Options, Flat]`: the fields of a nested dataclass without a prefix."""


@dataclass(frozen=True, kw_only=True)
class Printed:
    """Base of commands with a result."""

    json: bool = False
    """Print the result as JSON."""

    def show(self, result: Any) -> None:
        """Prints a result as its own text, or as JSON."""
        if not self.json:
            print(result)
            return
        if isinstance(result, list):
            plain: Any = [one.plain() for one in result]
        elif hasattr(result, "plain"):
            plain = result.plain()
        else:
            plain = asdict(result) if is_dataclass(result) and not isinstance(result, type) else result
        # Letters stay readable; those that the output's encoding lacks are escaped by the stream (`cli.main`).
        print(json.dumps(plain, ensure_ascii=False, indent=1))


@dataclass(frozen=True, kw_only=True)
class OnDevice:
    """Base of commands that compute."""

    device: str = "auto"
    """auto, cpu, cuda or mps."""


def parse(command: Any, words: Sequence[str], *, prog: str) -> Any:
    """An instance of the dataclass. Any mistake is a `SeehearError`; --help prints and exits with status 0."""
    box = io.StringIO()
    try:
        # tyro prints its errors as a box of many lines: they are kept for `_mistake`, which makes one line of them.
        with redirect_stderr(box):
            parsed = tyro.cli(command, args=list(words), prog=prog, config=_CONFIG)
    # tyro ends the program: with status 0 after --help, another after a mistake.
    except SystemExit as stopped:
        if not stopped.code:
            raise
        raise _mistake(command, words, prog, box.getvalue()) from None
    # --resume is left out: the line is kept with a run, and starts it anew elsewhere.
    # By `object`, since the dataclass is frozen, and not as a field, which would be an option.
    object.__setattr__(parsed, _WORDS, shlex.join([*prog.split(), *(word for word in words if word != "--resume")]))
    return parsed


def _mistake(command: Any, words: Sequence[str], prog: str, box: str) -> SeehearError:
    """The error for words that tyro refuses. tyro has no public hook: its message is the first part of the box that it
    prints, below the title and above the help of the option."""
    options = option_names(command)
    # Words after '--' are no options.
    for word in takewhile(lambda word: word != "--", words):
        # tyro takes underscores in place of hyphens.
        option = word.split("=")[0].replace("_", "-")
        if option.startswith("--") and option not in options:
            return unknown(f"option of '{prog}'", option, options, listed="--help lists them")
    lines = "\n".join(_COLOUR.sub("", line).strip(" |│") for line in box.splitlines()[1:])
    part = next((part for part in _RULE.split(lines) if part.strip()), "")
    message = " ".join(part.split()).rstrip(" .")
    # tyro names the type of a missing positional argument: LIBRARY says more, as does --library of an option.
    if message.startswith("Missing from"):
        hints, positional = get_type_hints(command, include_extras=True), get_args(tyro.conf.Positional[str])[1]
        needed = [f.name for f in fields(command) if f.default is MISSING and f.default_factory is MISSING]
        # A place for several words may stay empty.
        places = [name for name in needed if positional in get_args(hints[name])]
        by_place = [name.upper() for name in places if get_origin(get_args(hints[name])[0]) is not tuple]
        # Words fill the places in their order, so those that are missing are the last.
        given = len(by_place) - len(_TYPES.findall(part))
        required = by_place[given:] + re.findall(r"(?m)^(--[\w.-]+)", part)
        message = f"{prog} needs {', '.join(required)}"
    # tyro calls words that are too many options as well.
    left = message.removeprefix("Unrecognized options: ")
    if left != message and not left.startswith("-"):
        message = f"'{left}' is one argument too many: several words, or a path with spaces, go in quotes"
    return SeehearError(f"{message} ('{prog} --help' lists all options)")


def option_names(command: Any) -> set[str]:
    """All options that the parser of a command accepts: '--help', '--optim.lr', '--no-html'. They are read from the
    completion script that tyro makes of the parser, its only public output that lists them for a program."""
    script = io.StringIO()
    with redirect_stdout(script), suppress(SystemExit):
        tyro.cli(command, args=["--tyro-print-completion", "bash"], prog="seehear", config=_CONFIG)
    return {name for flags in _FLAGS.findall(script.getvalue()) for name in re.findall("'(--[^']+)'", flags)}


def command_line(command: Any) -> str:
    """The words that a command was parsed from, for a shell; '' for one that was made in Python."""
    return getattr(command, _WORDS, "")


# ----------------------------------------------------------------------------------------------------------------------
# A query to the running server of a library: the command then loads neither models nor the database.

SECONDS = 3.0
"""Time limit of a server, seconds: the command itself takes about as long."""


@dataclass(frozen=True)
class _Served:
    """Answer of a server."""

    answer: Answer
    behind: tuple[str, ...]
    """Missing parts of each index, a line each."""
    working: bool
    """Whether it is still indexing the folder."""


def ask_server(uri: str, query: Mapping[str, Any], *, follows: bool = False) -> _Served | None:
    """The answer of the running server of a library; None where there is none, it does not answer in time, or refuses.
    A server with a token is asked only where SEEHEAR_TOKEN holds it. `follows`: only one that keeps the library up to
    date with its folder."""
    server, token = server_of(uri), os.environ.get("SEEHEAR_TOKEN", "")
    # Another version may answer in another form.
    if server is None or server.version != version("seehear"):
        return None
    if (follows and not server.follows) or (server.token and not token):
        return None
    try:
        found = _ask(server, token, "api/search", query)
        status, progress = _ask(server, token, "api/status"), _ask(server, token, "api/progress")
        # Only of indexes that were searched: others do not change this answer.
        behind = tuple(run["behind"] for run in status["runs"] if run["together"])
        hits = [_moment(hit) for hit in found["hits"]]
        answer = Answer(found["query"], hits, found["indexed"], found["clips"])
        return _Served(answer, behind, progress is not None and progress["state"] != "ready")
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        # The command does the work itself.
        return None


def _ask(server: Server, token: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    # SEEHEAR_TOKEN is not sent to a server that asks for none.
    headers = {"authorization": f"Bearer {token}"} if server.token else {}
    data = None if body is None else json.dumps(body).encode()
    request = Request(server.address + path, data, headers | {"content-type": "application/json"})
    # No proxy, whatever the environment says: the server is on this machine.
    with build_opener(ProxyHandler({})).open(request, timeout=SECONDS) as answer:
        return json.load(answer)


def _moment(hit: Mapping[str, Any]) -> Moment:
    names = ("start", "end", "kind", "text", "score", "confidence", "still")
    return Moment(
        # JSON escapes what is no UTF-8 in a path, and the file is read by its own name.
        file=unprintable(hit["file"]),
        clip=hit["clip"]["id"],
        source=hit["clip"]["source"],
        labels=tuple(hit["clip"]["labels"]),
        also=tuple(unprintable(place) for place in hit["also"]),
        **{name: hit[name] for name in names},
    )
