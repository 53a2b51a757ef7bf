"""Errors a user can mend. The command line prints each as one line and exits with status 2."""

from __future__ import annotations

import difflib
import errno
import importlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any


class SeehearError(Exception):
    """Bad input: says what is wrong, where, and what to do, in one line."""


class DecodeError(SeehearError):
    """A media file, or a window of one, that cannot be read. Never ends a run: the file is set aside."""


def check_range(options: object, interval: str, *names: str) -> None:
    """Raises `SeehearError` where one of these fields lies outside of an interval, '[0, 1)' say. Each number of a tuple
    or mapping must be inside; None is allowed."""
    low, high = map(float, interval[1:-1].split(","))
    for name in names:
        value = getattr(options, name)
        values = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else (value,)
        for number in values:
            # Written so that NaN, of which every comparison is false, is refused.
            inside = number is None or (
                (number > low or (number == low and interval[0] == "["))
                and (number < high or (number == high and interval[-1] == "]"))
            )
            if not inside:
                least = f"at least {low:g}" if interval[0] == "[" else f"above {low:g}"
                must = f"in {interval}" if math.isfinite(high) else least
                raise SeehearError(f"{name} must be {must}; got {number}")


def unknown(kind: str, name: str, known: Iterable[str], *, listed: str = "") -> SeehearError:
    """The error for a name that does not exist, with the nearest one that does. `listed`: command that lists the known
    names; without it the message lists them."""
    known = sorted(known)
    # An abbreviation first: difflib takes '--open' to be nearer to '--token' than '--token-file' is.
    near = sorted((k for k in known if name and k.startswith(name)), key=len) or difflib.get_close_matches(
        name, known, n=1
    )
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return SeehearError(f"unknown {kind} {name!r}{hint} ({listed or 'known: ' + ', '.join(known)})")


def near(path: str | os.PathLike[str]) -> str:
    """Hint of an error about a missing path: the file beside it with nearly that name; '' without one."""
    # Normalised: behind a trailing slash the name would be empty.
    folder, name = os.path.split(os.path.normpath(path))
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return ""
    found = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {os.path.join(folder, found[0])}?)" if found else ""


def read_json(path: str | os.PathLike[str], advice: str) -> dict[str, Any]:
    """The object that a JSON file holds. `advice`: what to do where the file is damaged, the end of the error."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SeehearError(f"{path} cannot be read ({error.strerror}): {advice}") from error
    except (ValueError, RecursionError) as error:
        # Deeply nested lists exhaust the decoder's stack.
        raise SeehearError(f"{path} is not JSON ({error}): {advice}") from error
    if not isinstance(content, dict):
        raise SeehearError(f"{path} holds no JSON object: {advice}")
    return content


# Errors of the system that a user can mend; any other keeps its traceback.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
_NO_MEMORY = re.compile(r"(not enough|out of|cannot allocate|can't allocate) memory", re.IGNORECASE)


def refusal(error: BaseException) -> str | None:
    """Message of an error for want of memory, of room for a write or of permission; None for any other error."""
    # PyTorch says "memory" in a RuntimeError; the database wraps errors of the system, with their number in the text.
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError | OSError) and _NO_MEMORY.search(str(error))):
        # One line: PyTorch's messages may go on with a traceback of its C++ code.
        why = str(error).partition("\n")[0]
        return f"not enough memory{f' ({why})' if why else ''}: free some, raise the limit, or ask for less at a time"
    number = error.errno if isinstance(error, OSError) else None
    # The database is written in Rust, which reports an error of the system as '(os error 28)'.
    if number is None and (found := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(found[1])
    if number not in _REFUSALS:
        return None
    name = getattr(error, "filename", None)
    return os.strerror(number) + (f": {os.fsdecode(name)}" if name is not None else "")


def require(module: str, extra: str = "") -> ModuleType:
    """Import a dependency that a bare training node may lack, or say what brings it: an extra, or plain seehear."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        # The package is there and lacks one of its own: installing it again would not help.
        if missing.name != module.split(".")[0]:
            raise
        # As one argument in quotes: several shells expand square brackets.
        package = f"seehear[{extra}]" if extra else "seehear"
        raise SeehearError(f"this needs the package {module.split('.')[0]!r}: pip install '{package}'") from missing


def hub_unreachable(name: str, error: Exception, todo: str) -> SeehearError:
    """The error for a model that is neither a folder nor answered for by the hub. `todo`: what the user can do."""
    why = f"the hub cannot be asked for it ({type(error).__name__})"
    return SeehearError(f"{name} is no folder here, and {why}: {todo}")
