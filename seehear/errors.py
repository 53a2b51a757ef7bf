"""Errors a user can mend. The command line prints each as one line and exits with status 2."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class SeehearError(Exception):
    """Bad input: says what is wrong, where, and what to do, in one line."""


class DecodeError(SeehearError):
    """A media file, or a window of one, that cannot be read. Never ends a run: the file is set aside."""


def unknown(kind: str, name: str, known: Iterable[str]) -> SeehearError:
    """The error for a name that does not exist, with the nearest one that does."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return SeehearError(f"unknown {kind} {name!r}{hint} (known: {', '.join(known)})")


def require(module: str, extra: str = "") -> ModuleType:
    """Import a dependency that a bare training node may lack, or say what brings it: an extra, or plain seehear."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name != module.split(".")[0]:
            raise
        package = f"seehear[{extra}]" if extra else "seehear"
        raise SeehearError(f"this needs the package {module.split('.')[0]!r}: pip install '{package}'") from missing
