"""Refusals as the API and the page show them: a code, a sentence, and what to do."""

from __future__ import annotations

CONVERT = "play it on your machine; if that works, convert it to MP4, WAV or JPEG"


class Problem(Exception):
    """A refused request. `todo`: a sentence, or a command to run."""

    def __init__(self, status: int, code: str, message: str, todo: str = ""):
        super().__init__(message)
        self.status, self.code, self.message, self.todo = status, code, message, todo

    def plain(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "todo": self.todo}
