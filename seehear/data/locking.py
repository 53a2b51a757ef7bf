"""One writer at a time: who writes a library, or the folder of a run, holds a lock that goes with the process, however
it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from seehear.errors import SeehearError
from seehear.progress import say

_LEARNING = ".learning"


@contextmanager
def writing(uri: str | Path, *tables: str) -> Iterator[None]:
    """Alone with a folder, or with some tables of a library while others write other tables. Raises `SeehearError` when
    another process is at it. Object storage has no such lock."""
    with ExitStack() as held:
        if "://" not in str(uri):
            Path(uri).mkdir(parents=True, exist_ok=True)
            held.enter_context(_lock(Path(uri), "", shared=bool(tables)))
            for table in sorted(set(tables)):
                held.enter_context(_lock(Path(uri), table, shared=False))
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
def learning(uri: str | Path) -> Iterator[None]:
    """Learns from a library, alone: raises `SeehearError` while another process does."""
    if "://" in str(uri):  # no lock
        yield
        return
    import fcntl

    with ExitStack() as held:
        try:
            fcntl.flock(held.enter_context(open(Path(uri) / _LEARNING, "w")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SeehearError(
                f"another process is learning from {uri}: wait until it has ended, or stop it there"
            ) from error
        except OSError:
            pass  # a library that cannot be written, or a file system without locks
        yield


def is_learning(uri: str | Path) -> bool:
    """Whether a process learns from a library."""
    try:
        with learning(uri):
            return False
    except SeehearError:
        return True


@contextmanager
def _lock(folder: Path, table: str, *, shared: bool) -> Iterator[None]:
    import fcntl

    with open(folder / f".lock{table and '.'}{table}", "w") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SeehearError(
                f"{folder} is being written by another process{table and f' ({table})'}: run the same command again "
                "when that has ended"
            ) from error
        except OSError:
            say(f"{folder} is on a file system without locks: let no two processes write it at once")
        yield
