"""What can be set of a server, and where it may listen."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Fixed, Suppress

from seehear.errors import SeehearError, check_range

MIN_TOKEN = 16


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    host: str = "127.0.0.1"
    """The address to listen on. Any but this machine's own needs a token."""
    port: int = 8710
    """0 takes a free one."""
    token: Annotated[str, Fixed, Suppress] = field(default="", repr=False)  # no option: `ps` shows options to everyone
    """Secret that gives access to the whole library, 16 characters or more; '' asks for none."""
    token_file: Path | None = None
    """File that holds the token, a secret of 16 characters or more that gives access to the whole library. Without a
    file the environment variable SEEHEAR_TOKEN is used, if it is set."""
    media: tuple[Path, ...] = ()
    """Folders beside the library's own whose files may be shown: where links and absolute paths of it lead."""
    upload_mb: float = 200.0
    """A larger sound, picture or video is refused as a query."""
    upload_seconds: float = 60.0
    """Of a longer one the beginning is searched for."""
    decode_seconds: float = 30.0
    """A file that takes longer to decode counts as broken."""
    preview_seconds: float = 60.0
    """Of a clip that no browser plays, so much is made playable."""
    cache_mb: float = 2000.0
    """Posters, waveforms, previews and maps on disk; the oldest go first."""
    cache: Path | None = None
    """Their folder; one in the user's cache folder when not given."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def __post_init__(self) -> None:
        check_range(self, "[0, 65535]", "port")
        check_range(self, "(0, inf)", "upload_mb", "upload_seconds", "decode_seconds", "preview_seconds")
        check_range(self, "[0, inf)", "cache_mb")
        if self.token_file is not None:
            object.__setattr__(self, "token", _read_token(self.token_file))
        elif not self.token:
            object.__setattr__(self, "token", os.environ.get("SEEHEAR_TOKEN", ""))
        if self.token and len(self.token) < MIN_TOKEN:
            raise SeehearError(f"the token has {len(self.token)} characters: use {MIN_TOKEN} at least")
        if not (self.token.isascii() and self.token.isprintable()):  # it is sent in a header
            raise SeehearError("the token must be one line of ASCII characters, such as 'openssl rand -hex 16' prints")
        if not self.token and not is_loopback(self.host):
            raise SeehearError(f"other machines reach {self.host}: that needs a token (--token-file or SEEHEAR_TOKEN)")

    def cache_folder(self, library: str) -> Path:
        if self.cache is not None:
            return self.cache
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        where = library if "://" in library else str(Path(library).resolve())
        return base / "seehear" / hashlib.blake2b(where.encode(), digest_size=8).hexdigest()


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise SeehearError(f"cannot read the token in {path}: {error.strerror}") from error
    if not token:
        raise SeehearError(f"no token in {path}: write one with 'openssl rand -hex 16'")
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
