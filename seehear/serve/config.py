"""Settings of a server, and the addresses it may listen on."""

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
    """Address to listen on. Any but this machine's own needs a token."""
    port: int = 8710
    """Port to listen on; 0 takes a free one."""
    token: Annotated[str, Fixed, Suppress] = field(default="", repr=False)  # no option: `ps` shows options to everyone
    """Secret of 16 characters or more that gives access to the whole library; '' for open access."""
    token_file: Path | None = None
    """File that holds the token, a secret of 16 characters or more that gives access to the whole library. Without a
    file the environment variable SEEHEAR_TOKEN is used, if it is set."""
    media: tuple[Path, ...] = ()
    """Further folders whose files may be shown, for libraries with links or absolute paths."""
    upload_mb: float = 200.0
    """Largest file accepted as a query, in megabytes."""
    upload_seconds: float = 60.0
    """Longest query file in seconds; only the beginning of a longer one is used."""
    decode_seconds: float = 30.0
    """Time limit for decoding a file; one that takes longer counts as broken."""
    preview_seconds: float = 60.0
    """Longest preview in seconds of a clip that browsers cannot play."""
    cache_mb: float = 2000.0
    """Size limit of the cache of posters, waveforms, previews and maps; the least recently used are deleted first."""
    cache: Path | None = None
    """Cache folder; by default one in the user's cache folder."""
    device: str = "auto"
    """Device of the models: auto, cpu, cuda or mps."""

    def __post_init__(self) -> None:
        check_range(self, "[0, 65535]", "port")
        check_range(self, "(0, inf)", "upload_mb", "upload_seconds", "decode_seconds", "preview_seconds")
        check_range(self, "[0, inf)", "cache_mb")
        if self.token_file is not None:
            # Bytes that are no UTF-8 become letters that the check for ASCII below refuses.
            try:
                # Stripped: openssl and most editors end a file with a line break.
                token = self.token_file.read_text(encoding="utf-8", errors="replace").strip()
            except OSError as error:
                raise SeehearError(f"cannot read the token in {self.token_file}: {error.strerror}") from error
            if not token:
                raise SeehearError(f"no token in {self.token_file}: write one with 'openssl rand -hex 16'")
            object.__setattr__(self, "token", token)
        elif not self.token:
            object.__setattr__(self, "token", os.environ.get("SEEHEAR_TOKEN", ""))
        if self.token and len(self.token) < MIN_TOKEN:
            raise SeehearError(f"the token has {len(self.token)} characters: use {MIN_TOKEN} at least")
        # It is sent in a header.
        if not (self.token.isascii() and self.token.isprintable()):
            raise SeehearError("the token must be one line of ASCII characters, such as 'openssl rand -hex 16' prints")
        if not self.token and not is_loopback(self.host):
            raise SeehearError(f"other machines reach {self.host}: that needs a token (--token-file or SEEHEAR_TOKEN)")

    def cache_folder(self, library: str) -> Path:
        """Cache folder of a library."""
        if self.cache is not None:
            return self.cache
        # A hash of the whole path: two libraries may have the same name.
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        where = library if "://" in library else str(Path(library).resolve())
        return base / "seehear" / hashlib.blake2b(where.encode(), digest_size=8).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    # The one name that is no address: any other may resolve to this machine today, and to another one tomorrow.
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
