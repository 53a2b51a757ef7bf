"""Commands of seehear that the server runs in processes of their own: the page stays quick, and a kill costs one
command alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from seehear.errors import SeehearError
from seehear.progress import Interrupted

_PROGRAM = [sys.executable, "-m", "seehear"]
_NICE = 10  # work that the user waits for has priority over background work
_SECONDS = 20.0  # for a command to save its state


class Commands:
    """Runs one command at a time; `stop` may be called from any thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self.stopping = False

    def run(self, words: Sequence[str], log: Path | None = None) -> str:
        """The command's standard output; its messages are appended to `log`. Raises `SeehearError` with the last line
        of its messages where it fails, and `Interrupted` where it was stopped."""
        with self._lock:
            if self.stopping:
                raise Interrupted("stopped")
            with open(log, "a", encoding="utf-8") if log else nullcontext() as said:
                # A session of its own keeps Ctrl-C at the server's terminal away from it: only `stop` ends it.
                process = self._process = subprocess.Popen(
                    [*_PROGRAM, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=said or subprocess.PIPE,
                    encoding="utf-8",
                    env=os.environ | {"PYTHONUTF8": "1"},  # Windows has another encoding
                    start_new_session=True,
                )
        with suppress(OSError, AttributeError):  # it may have ended; Windows has no priorities of this kind
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        out, errors = process.communicate()
        if process.returncode == 0:
            return out
        if self.stopping or process.returncode in (130, -signal.SIGTERM):
            raise Interrupted("stopped")
        errors = log.read_text(encoding="utf-8", errors="replace") if log else errors or ""
        raise SeehearError(_why(errors, process.returncode))

    def stop(self) -> None:
        """Asks the command to save its state and end, and runs no other."""
        with self._lock:
            self.stopping = True
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()

    def close(self) -> None:
        """Stops, and waits until the command has ended."""
        self.stop()
        if self._process is not None:
            try:
                self._process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _why(errors: str, status: int) -> str:
    if status == -getattr(signal, "SIGKILL", 9):  # Windows has no such signal
        return "the system ended it, most often for too little memory"
    lines = [line for line in errors.splitlines() if line.strip()]
    own = [line.removeprefix("seehear: ") for line in lines if line.startswith("seehear: ")]
    return (own or lines or [f"it ended with status {status}"])[-1].strip()
