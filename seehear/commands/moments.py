"""`open` and `find`: the search page of a folder, and moments in it, in one command."""

from __future__ import annotations

import shlex
import time
import webbrowser
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from tyro.conf import Positional

from seehear.commands.parsing import Flat, ask_server
from seehear.commands.search import QueryOptions
from seehear.errors import SeehearError, near, require
from seehear.folders.find import watched
from seehear.library.locking import keeper, server_of, writing
from seehear.library.tables import LibraryTables, library_of
from seehear.progress import Interrupted, counted, say
from seehear.search.answer import Answer
from seehear.search.behind import behind
from seehear.search.index import indexes
from seehear.serve.config import ServeConfig

_REST_SECONDS = 5.0
"""Time without change after which a file counts as copied."""
_WAIT = "yet: run the same command again to continue, or with --wait to finish first"


@dataclass(frozen=True, kw_only=True)
class _OfFolder:
    folder: Positional[Path]
    library: str = ""
    """Library of the folder, made where there is none; ~/.cache/seehear/libraries by default."""
    preset: Literal["", "light", "strong", "best"] = ""
    """Encoders: light is packaged; strong and best come from the hub. The strongest on this machine by default."""


@dataclass(frozen=True, kw_only=True)
class Open(_OfFolder):
    """Open the search page of a folder of films, sounds and pictures. Nothing has to be prepared or trained.

    The page opens at once while the folder is indexed: a few moments of every film first, then all of them, then speech
    and text on screen where the extras are installed. Files that are added, changed or deleted are followed until
    Ctrl-C; the next call resumes. Nothing is written into the folder. A second call opens the page of the first.

    Example: seehear open ~/recordings
    """

    browser: bool = True
    """Open the page in the browser; --no-browser only prints its address."""
    # Port 0 is any free one: pages of several folders can be open at once.
    config: Annotated[ServeConfig, Flat] = field(default_factory=lambda: ServeConfig(port=0))

    def run(self) -> None:
        # First: a missing extra is reported before the folder is read, which takes minutes.
        for package in ("fastapi", "uvicorn", "watchfiles"):
            require(package, "serve")
        if not self.folder.is_dir():
            raise SeehearError(f"no folder {self.folder}")
        uri = self.library or library_of(self.folder)
        waits = False
        try:
            # Asked again each second: the process that keeps the library may end, or begin to serve.
            while True:
                with keeper(uri) as alone:
                    if alone:
                        self._work(uri)
                        return
                    if server := server_of(uri):
                        self._show(f"{self.folder} is already open at", server.address)
                        return
                if not waits:
                    say(f"another seehear is indexing {self.folder}: waiting for it to finish")
                waits = True
                time.sleep(1.0)
        except KeyboardInterrupt:
            raise Interrupted("stopped: run the same command again to continue") from None

    def _work(self, uri: str) -> None:
        from seehear.folders.work import Work
        from seehear.serve.app import serving

        # Before the server starts: it opens an existing library.
        with writing(uri):
            LibraryTables.create(uri)
        work = Work(self.folder, uri, preset=self.preset, device=self.config.device, rest_seconds=_REST_SECONDS)
        with serving(uri, self.config, work.standing, work.changed.set) as address:
            self._show(f"{self.folder} can be searched at", address)
            say(f"library: {uri}  (Ctrl-C stops; the next call resumes)")
            # The watch begins before the first reading, so that no file added meanwhile is missed.
            with watched(self.folder, work.changed, skip=uri), work.told():
                work.follow()

    def _show(self, what: str, address: str) -> None:
        token = f"?token={quote(self.config.token, safe='')}" if self.config.token else ""
        say(f"{what} {address}{token}")
        # Every user sees the arguments of a process, the browser's too.
        if self.browser and not token:
            webbrowser.open(address)


@dataclass(frozen=True, kw_only=True)
class Find(QueryOptions, _OfFolder):
    """Find moments in a folder of films, sounds and pictures: what is seen, heard, spoken or written there. Nothing has
    to be prepared or trained.

    The first call cuts the folder into clips, reads speech and text on screen where the extras are installed, and
    indexes it. After 45 seconds it answers from what is indexed, and the next call resumes; --wait finishes first.

    --save writes each moment as a file, --edl a list of them for an editor or a player.

    Example: seehear find ~/recordings "red truck"
    """

    words: Positional[str] = ""
    """Words to search for."""
    wait: bool = False
    """Finish indexing before answering."""

    def run(self) -> None:
        if self.folder.is_file():
            advice = f"give its folder, and --source {shlex.quote(self.folder.name)} for it alone"
            raise SeehearError(f"{self.folder} is a file: {advice}")
        if not self.folder.is_dir():
            raise SeehearError(f"no folder {self.folder}{near(self.folder)}")
        if not self.parts(self.words):
            raise SeehearError("nothing to search for: give words, --audio, --image, --video or --like")
        # Saved clips would be found by the next search.
        if self.save is not None and self.save.resolve().is_relative_to(self.folder.resolve()):
            raise SeehearError(
                f"--save {self.save} is inside {self.folder} and would be searched too: choose another folder"
            )
        uri, query = self.library or library_of(self.folder), self.for_server(self.words)
        if query and (served := ask_server(uri, query, follows=True)):
            self._show(uri, served.answer, done=not served.working, behind=served.behind)
        else:
            self._work(uri)

    def _work(self, uri: str) -> None:
        from seehear.folders import find
        from seehear.search.moments import NothingToCompare

        if not self.library and not Path(uri).is_dir():
            # The user has not chosen this place, and will look for it.
            say(f"library: {uri}")
        # The cache folder of a new user does not exist yet.
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        seconds = None if self.wait else find.WORK_SECONDS
        done = find.bring_up_to_date(self.folder, uri, preset=self.preset, device=self.device, seconds=seconds)
        # Created: the time may have ended before there was a whole library.
        library = LibraryTables.create(uri)
        # An error and no empty answer, which would read as if the folder had been searched.
        if done and not library.count_clips():
            files, why = counted(len(library.rejects()), "file"), f"'seehear info {uri} --rejects' lists the reasons"
            raise SeehearError(f"nothing to search in {self.folder}: {files} cannot be read; {why}")
        if not done and not indexes(library):
            raise SeehearError(f"nothing of {self.folder} is indexed {_WAIT}")
        searcher = find.open_library(library, device=self.device)
        try:
            answer = self.answer(searcher, self.words)
        except NothingToCompare as error:
            # Its advice is to read the folder, which is under way until all is done.
            if done:
                raise
            raise SeehearError(
                f"words find nothing before speech and text are read, which is not done {_WAIT}"
            ) from error
        # While the folder is being indexed something is missing in every index: one line says so instead.
        lacking = [behind(library, index.name) for index in searcher.indexes] if done else []
        self._show(uri, answer, done=done, behind=lacking)

    def _show(self, uri: str, answer: Answer, *, done: bool, behind: Iterable[str]) -> None:
        if not done:
            left = answer.clips - answer.indexed
            what = (
                f"{left:,} of {answer.clips:,} clips are not indexed"
                if left
                else "speech and text on screen are not all read"
            )
            say(f"{what} {_WAIT}")
        self.tell(uri, answer, behind)
