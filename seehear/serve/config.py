"""What can be set of a server, and where it may listen."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from seehear.errors import SeehearError

MIN_TOKEN = 16


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    host: str = "127.0.0.1"
    """The address to listen on. Any but this machine's own needs a token."""
    port: int = 8710
    """0 takes a free one."""
    token: str = ""
    """Whoever has it may see the whole library; 16 characters at least. '' asks for none."""
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
        if self.token and len(self.token) < MIN_TOKEN:
            raise SeehearError(
                f"the token has {len(self.token)} characters: take {MIN_TOKEN} at least, none that is said"
            )
        if not self.token and not is_loopback(self.host):
            raise SeehearError(f"other machines reach {self.host}: that needs a token (--token)")

    def cache_folder(self, library: str) -> Path:
        if self.cache is not None:
            return self.cache
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        where = library if "://" in library else str(Path(library).resolve())
        return base / "seehear" / hashlib.blake2b(where.encode(), digest_size=8).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
