"""Default place of the library of a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from seehear.library.records import digest


def library_of(folder: str | Path) -> str:
    """Path of the library of a folder, if none is given: in the user's cache, so that nothing is written among the
    media."""
    folder = Path(folder).resolve()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seehear" / "libraries"
    return str(base / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', folder.name)}-{digest(str(folder))[:8]}")
