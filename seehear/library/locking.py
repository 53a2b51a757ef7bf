"""Locks between processes, on every system; a lock ends with its process. One writer at a time holds a library or the
folder of a run, and one process keeps a library up to date with its folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import portalocker
from portalocker.exceptions import AlreadyLocked, LockException

from seehear.errors import SeehearError
from seehear.progress import say

PATIENCE = 3.0
"""Seconds to wait for a lock: a server holds one for a moment when its user corrects a line."""
# Seconds between two attempts.
_LOOK = 0.02


class Busy(Exception):
    """Another process, or another thread of this one, holds the lock."""


class BeingWritten(SeehearError):
    """Another process, or another thread of this one, is writing."""


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool]:
    """Holds a lock file, which never has data: on Windows no other process can read a locked file. Yields False on a
    file system without locks. Raises `Busy` unless `wait`, and `OSError` if the file cannot be made."""
    flags = portalocker.LOCK_SH if shared else portalocker.LOCK_EX
    with open(path, "ab") as file:
        try:
            portalocker.lock(file, flags if wait else flags | portalocker.LOCK_NB)
        except AlreadyLocked as error:
            raise Busy(str(path)) from error
        except LockException:
            yield False
        else:
            yield True


@contextmanager
def writing(uri: str | Path, *tables: str, patience: float | None = None) -> Iterator[None]:
    """Exclusive lock on a folder, or on some tables of a library while others write other tables. Raises `BeingWritten`
    if another process holds it for `patience` seconds, by default `PATIENCE`. Object storage has no such lock."""
    with ExitStack() as held:
        if "://" not in str(uri):
            Path(uri).mkdir(parents=True, exist_ok=True)
            held.enter_context(_lock(Path(uri), "", shared=bool(tables), patience=patience))
            for table in sorted(set(tables)):
                held.enter_context(_lock(Path(uri), table, shared=False, patience=patience))
        yield


@contextmanager
def alone_with(uri: str | Path, table: str) -> Iterator[None]:
    """Exclusive lock on a table that any process may write at any time; held for moments only, as others wait."""
    with ExitStack() as held:
        if "://" not in str(uri):
            held.enter_context(locked(Path(uri) / f".lock.{table}", wait=True))
        yield


@contextmanager
def keeper(uri: str | Path) -> Iterator[bool]:
    """Lock of the process that keeps a library up to date with its folder. Yields False if another process holds it;
    True on object storage, which has no locks."""
    with ExitStack() as held:
        alone = True
        if "://" not in str(uri):
            Path(uri).mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(locked(Path(uri) / ".keeper"))
            except Busy:
                alone = False
        yield alone


@contextmanager
def learning(uri: str | Path) -> Iterator[None]:
    """Lock of training on a library. Raises `SeehearError` while another process holds it."""
    with ExitStack() as held:
        with suppress(OSError):  # a library that this user may only read
            try:
                if "://" not in str(uri):
                    held.enter_context(locked(Path(uri) / ".learning"))
            except Busy as error:
                message = f"another process is learning from {uri}: wait until it has ended, or stop it there"
                raise SeehearError(message) from error
        yield


def is_learning(uri: str | Path) -> bool:
    """True while a process trains on a library."""
    try:
        with learning(uri):
            return False
    except SeehearError:
        return True


@contextmanager
def _lock(folder: Path, table: str, *, shared: bool, patience: float | None) -> Iterator[None]:
    until = time.monotonic() + (PATIENCE if patience is None else patience)
    with ExitStack() as held:
        while True:
            try:
                has_locks = held.enter_context(locked(folder / f".lock{table and '.'}{table}", shared=shared))
                break
            except Busy as error:
                if time.monotonic() < until:
                    time.sleep(_LOOK)
                    continue
                raise BeingWritten(
                    f"{folder} is being written by another process{table and f' ({table})'}: run the same command "
                    "again when that has ended"
                ) from error
        if not has_locks:
            say(f"{folder} is on a file system without locks: let no two processes write it at once")
        yield
