"""Indexes of a served library that catch up by themselves with what others write into it.

Only work without decoding is done: media that are already encoded are indexed, and texts are encoded and indexed. For
clips whose media are not encoded yet `RunView.behind` names the command. `seehear open` needs none of this: it does all
of the work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from seehear.errors import SeehearError
from seehear.folders.indexes import asked_together
from seehear.library.tables import Library
from seehear.progress import Interrupted
from seehear.search.behind import index_command
from seehear.search.index import input_tables
from seehear.serve.commands import Commands
from seehear.serve.runs import Runs

LOOK = 15.0
"""Seconds between two looks. A library that changed between them is being written: whoever does may index it too."""


class CatchUp:
    """Indexes missing rows in the background. `behind`: what an index lacks, in a line (`search/behind.py`)."""

    def __init__(self, runs: Runs, behind: Callable[[str, Mapping[str, Any], Library], str]):
        self.runs, self.behind = runs, behind
        self.line = ""
        """Current work as a line for the user; '' when idle."""
        self._commands = Commands()
        self._ended = threading.Event()
        self._before: list[int] = []
        self._tried: list[int] = []
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._commands.close()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        while not self._ended.wait(LOOK):
            try:
                self.look()
            except Interrupted:
                return
            except (SeehearError, OSError, RuntimeError):
                continue  # another process writes the library, or it is not there: the next look may find it whole
            finally:
                self.line = ""

    def look(self) -> bool:
        """Indexes what is missing, once for a state of the library that has rested; returns whether it did."""
        about, library = self.runs.about(), self.runs.library
        now = _state(library)
        rested, self._before = now == self._before, now
        if not rested or now == self._tried:
            return False
        lacking = {name: line for name in asked_together(about) if (line := self.behind(name, about[name], library))}
        if not lacking:
            return False
        most = max(lacking.values(), key=lambda line: int(line.split()[0].replace(",", "")))
        self.line = f"{most.partition(':')[0]}: indexing what can be"
        texts = [name for name, encoder in library.encoders().items() if encoder["modality"] == "text"]
        if texts:
            self._commands.run(["encode", library.uri, "--encoders", *texts])
        for words in {tuple(index_command(library.uri, name, about[name])) for name in lacking}:
            self._commands.run(words)
        self._tried = self._before = _state(Library.open(library.uri))
        return True


def _state(library: Library) -> list[int]:
    """Versions of the tables that indexes are made from."""
    return [int(library.table(name).version) for name in input_tables(library)]
