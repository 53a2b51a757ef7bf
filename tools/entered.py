"""Source files that a command enters: how far a reader has to follow it.

    python tools/entered.py train lib vatt --train.steps 2 --out /tmp/run

A file counts when a function of it runs, in this process or a thread of it; an import alone does not count, nor what
runs during one.
"""

import inspect
import sys
import threading
from pathlib import Path
from types import FrameType

import seehear
from seehear.cli import main

ROOT = Path(seehear.__file__).parent
entered: set[str] = set()


def note(frame: FrameType, event: str, _: object) -> None:
    file = frame.f_code.co_filename
    if event == "call" and file not in entered and file.startswith(str(ROOT)) and not during_import(frame):
        entered.add(file)


def during_import(frame: FrameType | None) -> bool:
    """Whether a frame is the body of a module or of a class, or is called by one: a table that is made, say."""
    while frame is not None and frame.f_globals["__name__"] != "__main__":
        if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    threading.setprofile(note)
    sys.setprofile(note)
    status = main(sys.argv[1:])
    sys.setprofile(None)
    files = sorted(Path(name).relative_to(ROOT) for name in entered)
    print(*files, f"{len(files)} files entered", sep="\n", file=sys.stderr)
    sys.exit(status)
