"""Source files that a command enters: how far a reader has to follow it.

    python tools/entered.py train lib vatt --train.steps 2 --out /tmp/run

A file counts when a function of it runs, in this process or a thread of it; an import alone does not count.
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
    if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # no body of a class
        entered.add(frame.f_code.co_filename)


if __name__ == "__main__":
    threading.setprofile(note)
    sys.setprofile(note)
    status = main(sys.argv[1:])
    sys.setprofile(None)
    files = sorted(Path(name).relative_to(ROOT) for name in entered if name.startswith(str(ROOT)))
    print(*files, f"{len(files)} files entered", sep="\n", file=sys.stderr)
    sys.exit(status)
