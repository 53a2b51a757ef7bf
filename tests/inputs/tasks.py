"""What the worker tests let workers do: it must live in a module, for workers to import it."""

import os
import signal
import time


def square(n: int) -> int:
    return n * n


def halved(n: int) -> int:
    return n // 2


def half_of_it(n: int, result: int | Exception) -> int | None:
    """What is left of an item: a number is halved until it is 1."""
    return result if isinstance(result, int) and result > 1 else None


def behave(how: str) -> str:
    if how == "raise":
        raise KeyError(how)
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        time.sleep(600)
    return how
