"""Updates of a served library in the background: new rows are indexed, and the user's edits applied.

Only work without decoding is done: encoded media are indexed, and texts are encoded and indexed. For clips whose media
are not encoded yet `RunView.behind` names the command. `seehear open` needs none of this: it does all of the work.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from seehear.errors import SeehearError
from seehear.folders.indexes import asked_together
from seehear.library.locking import BeingWritten, writing
from seehear.library.tables import LibraryTables
from seehear.library.transcripts import settle_edits
from seehear.progress import Interrupted
from seehear.search.behind import index_command
from seehear.search.fulltext import FULLTEXT, update_fulltext
from seehear.search.index import input_tables
from seehear.serve.runs import Runs

PROGRAM = [sys.executable, "-m", "seehear"]
# Searches have priority over background work.
_NICE = 10
_SECONDS = 20.0  # for a command to save its state
LOOK = 15.0
"""Seconds between two looks. A library that changed between them is still being written, perhaps with its index."""
# Seconds between two attempts to apply edits
AGAIN = 1.0


class Commands:
    """Runs commands of seehear one at a time, in separate processes: the page stays fast, and a killed process costs
    one command. `stop` may be called from any thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self.stopping = False

    def run(self, words: Sequence[str], log: Path | None = None) -> str:
        """Standard output of the command; its messages are appended to `log`. Raises `SeehearError` with the last
        message if it fails, and `Interrupted` if it was stopped."""
        with self._lock:
            if self.stopping:
                raise Interrupted("stopped")
            with open(log, "a", encoding="utf-8") if log else nullcontext() as messages:
                # A session of its own keeps Ctrl-C at the server's terminal away from it: only `stop` ends it.
                process = self._process = subprocess.Popen(
                    [*PROGRAM, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=messages or subprocess.PIPE,
                    encoding="utf-8",
                    # Windows has another default encoding.
                    env=os.environ | {"PYTHONUTF8": "1"},
                    start_new_session=True,
                )
        # The process may have ended; Windows has no setpriority.
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        out, errors = process.communicate()
        if process.returncode == 0:
            return out
        # 130 is the status of a stopped command; one that did not yet listen for signals dies of them.
        if self.stopping or process.returncode in (130, -signal.SIGTERM):
            raise Interrupted("stopped")
        # Lenient: libraries below may print any bytes.
        errors = log.read_text(encoding="utf-8", errors="replace") if log else errors or ""
        raise SeehearError(_why(errors, process.returncode))

    def stop(self) -> None:
        """Asks the command to save its state and end; later commands are refused."""
        with self._lock:
            self.stopping = True
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()

    def close(self) -> None:
        """Stops the command and waits for its end."""
        self.stop()
        if self._process is not None:
            try:
                self._process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _why(errors: str, status: int) -> str:
    """The cause of a failed command for the user: its own last message, if there is one."""
    if status == -getattr(signal, "SIGKILL", 9):  # Windows has no such signal
        return "the system ended it, most often for too little memory"
    lines = [line for line in errors.splitlines() if line.strip()]
    own = [line.removeprefix("seehear: ") for line in lines if line.startswith("seehear: ")]
    return (own or lines or [f"it ended with status {status}"])[-1].strip()


class CatchUp:
    """Indexes missing rows. `behind`: missing rows of an index as a line of text (`search/behind.py`)."""

    def __init__(self, runs: Runs, behind: Callable[[str, Mapping[str, Any], LibraryTables], str]):
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
                # The library is being written or away: the next look may succeed.
                continue
            finally:
                self.line = ""

    def look(self) -> bool:
        """Indexes missing rows, once for each state of an idle library. Returns whether it did."""
        about, library = self.runs.about(), self.runs.library
        now = _state(library)
        # Unchanged since the last look, so nobody is writing; and not tried in this state before.
        rested, self._before = now == self._before, now
        if not rested or now == self._tried:
            return False
        lacking = {name: line for name in asked_together(about) if (line := self.behind(name, about[name], library))}
        if not lacking:
            return False
        # Lines begin with the number of clips: the longest wait is told.
        most = max(lacking.values(), key=lambda line: int(line.split()[0].replace(",", "")))
        self.line = f"{most.partition(':')[0]}: indexing what can be"
        # Texts need no decoding, so they are encoded here too.
        texts = [name for name, encoder in library.encoders().items() if encoder["modality"] == "text"]
        if texts:
            self._commands.run(["encode", library.uri, "--encoders", *texts])
        # Indexes with the same command are built once.
        for words in {tuple(index_command(library.uri, name, about[name])) for name in lacking}:
            self._commands.run(words)
        self._tried = self._before = _state(LibraryTables.open(library.uri))
        return True


def _state(library: LibraryTables) -> list[int]:
    """Versions of the tables that indexes are made from."""
    return [int(library.table(name).version) for name in input_tables(library)]


class Applying:
    """Applies the user's edits to clips and full text, in the background while others are writing. `done`: called
    whenever the clips have changed."""

    def __init__(self, uri: str, done: Callable[[], None]):
        self._uri, self._done = uri, done
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._stale: set[str] = set()
        """Ids of clips whose full text may be out of date."""

    def apply(self, clips: Collection[str] = ()) -> bool:
        """Applies pending edits to the clips, and the texts of these clips to full text. Returns False if others are
        writing: then it happens when they have finished."""

        def later() -> None:
            done = False
            while not done and not self._ended.wait(AGAIN):
                with self._lock:
                    done = self._try()

        with self._lock:
            self._stale.update(clips)
            if self._try():
                return True
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=later, daemon=True)
                self._thread.start()
            return False

    def close(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _try(self) -> bool:
        library = LibraryTables.open(self._uri)
        try:
            # An answer waits for this: never for the lock.
            with writing(self._uri, "texts", patience=0.0):
                self._stale.update(settle_edits(library))
            self._done()
            # After the clips, whose texts it is made of; the two have locks of their own.
            if self._stale and FULLTEXT in library.tables():
                with writing(self._uri, "vectors", patience=0.0):
                    update_fulltext(library, sorted(self._stale))
                self._done()
        except BeingWritten:
            return False
        self._stale.clear()
        return True
