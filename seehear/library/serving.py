"""Address of the server of a library, for commands that use it instead of loading models themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from seehear.library.locking import Busy, locked

_FILE, _LOCK = ".server", ".server.lock"


@dataclass(frozen=True, kw_only=True)
class Server:
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
            with suppress(Busy, OSError):
                held.enter_context(locked(path.with_name(_LOCK)))
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
            return None  # its server was killed, or the file system has no locks
    except Busy:
        with suppress(OSError, ValueError, TypeError):
            return Server(**json.loads(path.read_text(encoding="utf-8")))
    except OSError:
        pass  # a library that this user may only read
    return None
