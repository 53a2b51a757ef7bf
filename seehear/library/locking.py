"""Locks between processes, on every system; a lock ends with its process. One writer at a time holds a library or the
folder of a run, and one process keeps a library up to date with its folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import portalocker
from portalocker.exceptions import AlreadyLocked, LockException

from seehear.errors import SeehearError
from seehear.progress import say

# Seconds to wait for a lock: a server holds one for a moment when its user corrects a line.
PATIENCE = 3.0
# Seconds between two attempts.
_LOOK = 0.02


class _Busy(Exception):
    """Another process, or another thread of this one, holds the lock."""


class BeingWritten(SeehearError):
    """Another process, or another thread of this one, is writing."""


@contextmanager
def locked(path: str | Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool]:
    """Holds a lock file. Yields False on a file system without locks, and True on object storage, which has none.
    Raises `_Busy` unless `wait`, and `OSError` if the file cannot be made."""
    if "://" in str(path):
        yield True
        return
    flags = portalocker.LOCK_SH if shared else portalocker.LOCK_EX
    # The file never has data: on Windows no other process can read a locked file.
    with open(path, "ab") as file:
        try:
            portalocker.lock(file, flags if wait else flags | portalocker.LOCK_NB)
        except AlreadyLocked as error:
            raise _Busy(str(path)) from error
        except LockException:
            yield False
        else:
            yield True


@contextmanager
def writing(uri: str | Path, *tables: str, patience: float | None = None) -> Iterator[None]:
    """Exclusive lock on a folder, or on some tables of a library while others write other tables. Raises `BeingWritten`
    if another process holds it for `patience` seconds, by default `PATIENCE`. Object storage has no such lock."""
    _make(uri)
    with ExitStack() as held:
        # In one order for all: two writers of the same tables must not wait for each other.
        for table in ("", *sorted(set(tables))):
            until = time.monotonic() + (PATIENCE if patience is None else patience)
            while True:
                try:
                    # A writer of tables shares the folder with writers of other tables, and excludes one of all.
                    name, shared = f".lock{table and '.'}{table}", bool(tables) and not table
                    has_locks = held.enter_context(locked(f"{uri}/{name}", shared=shared))
                    break
                except _Busy as error:
                    if time.monotonic() >= until:
                        raise BeingWritten(
                            f"{uri} is being written by another process{table and f' ({table})'}: run the same command "
                            "again when that has ended"
                        ) from error
                    time.sleep(_LOOK)
            if not has_locks:
                say(f"{uri} is on a file system without locks: let no two processes write it at once")
        yield


def _make(uri: str | Path) -> None:
    if "://" not in str(uri):
        Path(uri).mkdir(parents=True, exist_ok=True)


def alone_with(uri: str | Path, table: str) -> AbstractContextManager[bool]:
    """Exclusive lock on a table that any process may write at any time; held for moments only, as others wait."""
    return locked(f"{uri}/.lock.{table}", wait=True)


@contextmanager
def keeper(uri: str | Path) -> Iterator[bool]:
    """Lock of the process that keeps a library up to date with its folder. Yields False if another process holds it;
    True on object storage, which has no locks."""
    _make(uri)
    with ExitStack() as held:
        try:
            held.enter_context(locked(f"{uri}/.keeper"))
            alone = True
        except _Busy:
            alone = False
        yield alone


@contextmanager
def learning(uri: str | Path) -> Iterator[None]:
    """Lock of training on a library. Raises `SeehearError` while another process holds it."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(f"{uri}/.learning"))
        except _Busy as error:
            message = f"another process is learning from {uri}: wait until it has ended, or stop it there"
            raise SeehearError(message) from error
        except OSError:
            # A library that this user may only read.
            pass
        yield


def is_learning(uri: str | Path) -> bool:
    """True while a process trains on a library."""
    try:
        with learning(uri):
            return False
    except SeehearError:
        return True


# -- the server of a library -------------------------------------------------------------------------------------------

_FILE, _LOCK = ".server", ".server.lock"


@dataclass(frozen=True, kw_only=True)
class Server:
    """Address of a library's server, for commands that use it instead of loading models themselves."""

    address: str
    """Address with a slash at its end."""
    token: bool = False
    """True if it requires one."""
    follows: bool = False
    """True if it keeps the library up to date with its folder."""
    version: str = field(default_factory=lambda: version("seehear"))


@contextmanager
def announced(uri: str | Path, server: Server) -> Iterator[None]:
    """Publishes the address of a library's server, unless another is published, the library is read-only or it is on
    object storage."""
    with ExitStack() as held:
        if "://" not in str(uri):
            path = Path(uri) / _FILE
            with suppress(_Busy, OSError):
                held.enter_context(locked(path.with_name(_LOCK)))
                # Before it has content: an address on this machine is nobody else's business.
                path.touch(mode=0o600)
                path.write_text(json.dumps(asdict(server)), encoding="utf-8")
                held.callback(path.unlink, missing_ok=True)
        yield


def server_of(uri: str | Path) -> Server | None:
    """Running server of a library, of any version of seehear; None without one."""
    path = Path(uri) / _FILE
    if "://" in str(uri) or not path.is_file():
        return None
    try:
        with locked(path.with_name(_LOCK), shared=True):
            # The lock is free: the server was killed and left its file, or the file system has no locks.
            return None
    except _Busy:
        with suppress(OSError, ValueError, TypeError):
            return Server(**json.loads(path.read_text(encoding="utf-8")))
    except OSError:
        # A library that this user may only read.
        pass
    return None
