"""What the worker tests let workers do: it must live in a module, for workers to import it."""

import os
import signal
import time


def square(n: int) -> int:
    return n * n


def behave(how: str) -> str:
    if how == "raise":
        raise KeyError(how)
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        time.sleep(600)
    return how
