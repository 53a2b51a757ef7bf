"""One writer at a time: who writes a library, or the folder of a run, holds a lock that goes with the process, however
it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from seehear.errors import SeehearError
from seehear.progress import say

PATIENCE = 3.0
"""Seconds that a lock is waited for: a server holds one for a moment when its user corrects a line."""
_LOOK = 0.02
"""Seconds between two looks."""


class Busy(SeehearError):
    """Another process, or another thread of this one, is writing."""


@contextmanager
def writing(uri: str | Path, *tables: str, patience: float | None = None) -> Iterator[None]:
    """Alone with a folder, or with some tables of a library while others write other tables. Raises `Busy` when another
    process is at it for longer than `patience` seconds, by default `PATIENCE`. Object storage has no such lock."""
    with ExitStack() as held:
        if "://" not in str(uri):
            Path(uri).mkdir(parents=True, exist_ok=True)
            held.enter_context(_lock(Path(uri), "", shared=bool(tables), patience=patience))
            for table in sorted(set(tables)):
                held.enter_context(_lock(Path(uri), table, shared=False, patience=patience))
        yield


@contextmanager
def locked(uri: str | Path, table: str) -> Iterator[None]:
    """Alone with a table that may be written whatever others write: for moments, for others wait."""
    with ExitStack() as held:
        if "://" not in str(uri):
            held.enter_context(_lock(Path(uri), table, shared=False, patience=None))
        yield


@dataclass
class Keeper:
    """Who keeps a library up to date with its folder."""

    alone: bool
    """Whether that is this process."""
    address: str = ""
    """Of the other's page, if it has one."""
    _file: IO[str] | None = None

    def announce(self, address: str) -> None:
        """Says where the page is, to those who come later."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.write(address)
            self._file.flush()


@contextmanager
def keeper(uri: str | Path) -> Iterator[Keeper]:
    """Keeps a library up to date, unless another process does so already. Object storage has no lock for it, so all are
    alone there."""
    if "://" in str(uri):
        yield Keeper(alone=True)
        return
    import fcntl

    Path(uri).mkdir(parents=True, exist_ok=True)
    path = Path(uri) / ".keeper"
    with open(path, "a+", encoding="utf-8") as file:  # what the other wrote stays until the lock is held
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield Keeper(alone=False, address=path.read_text(encoding="utf-8").strip())
            return
        except OSError:
            pass  # a file system without locks: `writing` says so
        with suppress(OSError):
            path.chmod(0o600)
        file.truncate(0)
        yield Keeper(alone=True, _file=file)
        file.truncate(0)


@contextmanager
def _lock(folder: Path, table: str, *, shared: bool, patience: float | None) -> Iterator[None]:
    import fcntl

    until = time.monotonic() + (PATIENCE if patience is None else patience)
    with open(folder / f".lock{table and '.'}{table}", "w") as file:
        while True:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() < until:
                    time.sleep(_LOOK)
                    continue
                raise Busy(
                    f"{folder} is being written by another process{table and f' ({table})'}: run the same command "
                    "again when that has ended"
                ) from error
            except OSError:
                say(f"{folder} is on a file system without locks: let no two processes write it at once")
            break
        yield
