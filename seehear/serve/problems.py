"""What goes wrong, as the page shows it: a code, a sentence, and what to do about it."""

from __future__ import annotations


class Problem(Exception):
    """An answer that is not what was asked for. `todo`: a sentence, or a command to run."""

    def __init__(self, status: int, code: str, message: str, todo: str = ""):
        super().__init__(message)
        self.status, self.code, self.message, self.todo = status, code, message, todo

    def plain(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "todo": self.todo}
