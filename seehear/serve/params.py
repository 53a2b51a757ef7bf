"""Parameters and responses that routes of several topics share."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi import Query as Param

from seehear.serve.schema import NO_ZERO_BYTES
from seehear.serve.state import State


def _state(request: Request) -> State:
    return request.app.state.seehear


ServerState = Annotated[State, Depends(_state)]
NameParam = Annotated[str, Param(max_length=4096, pattern=NO_ZERO_BYTES)]
"""Id of a clip, or name of a run."""
FileParam = Annotated[str, Param(min_length=1, max_length=4096, pattern=NO_ZERO_BYTES)]
"""Path of a file, as the library names it."""
SecondParam = Annotated[float | None, Param(ge=0, le=1e9, allow_inf_nan=False)]
Responses = dict[int | str, dict[str, Any]]
MEDIA: Responses = {
    200: {"content": {"*/*": {}}, "description": "the file"},
    206: {"description": "the requested range"},
}
"""Answers of a route that sends a file, whole or by ranges of bytes."""
KEPT = {"cache-control": "private, max-age=3600"}
"""Headers of a file that browsers may keep."""
