"""One writer at a time: who writes a library, or the folder of a run, holds a lock that goes with the process, however
it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from seehear.errors import SeehearError
from seehear.progress import say


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
