"""Where a library is served: told by the server to commands that ask it instead of loading models themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO

_FILE = ".server"


@dataclass(frozen=True, kw_only=True)
class Server:
    address: str
    """With a slash at its end."""
    token: bool = False
    """Whether it asks for one."""
    follows: bool = False
    """Whether it keeps the library up to date with its folder."""
    version: str = field(default_factory=lambda: version("seehear"))


@contextmanager
def announced(uri: str | Path, server: Server) -> Iterator[None]:
    """Says where a library is served, as long as this lasts. Nothing is said where another server is announced, the
    library cannot be written, or it is in object storage."""
    file = None if "://" in str(uri) else _announcement(Path(uri) / _FILE, server)
    try:
        yield
    finally:
        if file is not None:
            file.truncate(0)
            file.close()


def _announcement(path: Path, server: Server) -> IO[str] | None:
    """The file, locked: the lock goes with the process, however it ends."""
    import fcntl

    try:
        file = path.open("a", encoding="utf-8")
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.chmod(0o600)
        file.truncate(0)
        file.write(json.dumps(asdict(server)))
        file.flush()
    except OSError:
        file.close()
        return None
    return file


def server_of(uri: str | Path) -> Server | None:
    """The running server of a library, if it is of this version of seehear."""
    if "://" in str(uri):
        return None
    import fcntl

    try:
        with (Path(uri) / _FILE).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                server = Server(**json.load(file))
                return server if server.version == version("seehear") else None
    except (OSError, ValueError, TypeError):
        pass
    return None
