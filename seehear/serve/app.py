"""The HTTP API of the page and of any other program on this machine, documented by `/openapi.json`."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from seehear.errors import SeehearError
from seehear.folders.standing import Standing
from seehear.serve import exports, film, films, learning, own, suggest
from seehear.serve.config import ServeConfig
from seehear.serve.files import TYPES
from seehear.serve.guard import VIEWS, Guard
from seehear.serve.params import NameParam, SecondParam, ServerState
from seehear.serve.problems import Problem
from seehear.serve.schema import (
    Answer,
    ClipList,
    ClipsAnswer,
    ClipView,
    MapView,
    Peaks,
    ProblemAnswer,
    ProgressView,
    Query,
    Status,
    UploadView,
)
from seehear.serve.state import State

PAGE = Path(__file__).parent / "page"
_STATIC = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
Answers = dict[int | str, dict[str, Any]]
_REFUSALS: Answers = {code: {"model": ProblemAnswer} for code in (400, 401, 403, 404, 409, 411, 413, 416, 422, 503)}
_KEPT = {"cache-control": "private, max-age=3600"}


def create_app(
    library: str,
    config: ServeConfig = ServeConfig(),  # noqa: B008
    progress: Callable[[], Standing] | None = None,
    edited: Callable[[], None] | None = None,
) -> FastAPI:
    """The application over a library, which must exist. `progress`: progress of the work on it, if this process does
    any; `edited` wakes that work when the user has changed a text or label."""
    state = State(library, config, progress, edited)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        state.warm()
        yield
        state.close()

    app = FastAPI(
        title="seehear",
        version=version("seehear"),
        description="Search a library by what is seen, heard and said.",
        docs_url=None,  # both would load a viewer from the network
        redoc_url=None,
        lifespan=living,
        telemetry={"auto_configure": False},  # whatever the environment says, nothing is sent anywhere
        responses=_REFUSALS,
    )
    app.state.seehear = state
    app.add_middleware(Guard, token=config.token)
    app.add_exception_handler(Problem, _said)
    app.add_exception_handler(SeehearError, _unusable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(ClientDisconnect, _broken_off)
    topics = (films, film, suggest, exports, learning, own)
    for routes in (_searching, _media, *(topic.routes for topic in topics), _page):
        routes(app)
    return app


def _searching(app: FastAPI) -> None:
    @app.get("/api/status", tags=["library"])
    def status(state: ServerState) -> Status:
        """Contents of the library, its runs, and what to do when nothing can be searched yet."""
        return state.status()

    @app.get("/api/progress", tags=["library"])
    def progress(state: ServerState) -> ProgressView | None:
        """Progress of indexing the library; null while this server does none."""
        return state.standing()

    @app.post("/api/search", tags=["search"])
    def search(state: ServerState, query: Query) -> Answer:
        """The best moments for words, files, clips, or several of them at once: of all indexes together, or of one."""
        return state.search(query)

    body = {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }

    @app.post("/api/uploads", tags=["search"], openapi_extra={"requestBody": body}, status_code=201)
    async def upload(state: ServerState, request: Request, run: NameParam = "") -> UploadView:
        """A sound, picture or video to search with: the request's body is the file. It is turned into vectors and
        deleted before this answers; the id stands for the vectors, in searches of the same run, or of all indexes
        together where none is named."""
        opened = await run_in_threadpool(state.opened, run)
        path = await state.uploads.receive(request.stream(), request.headers.get("content-length"))
        try:
            made = await run_in_threadpool(state.uploads.encode, path, opened)
        finally:
            path.unlink()
        facts = made.facts
        return UploadView(
            id=made.id,
            run=run,
            kind=facts.kind,  # type: ignore[arg-type]  # one of the three
            seconds=made.seconds,
            modalities=made.modalities,
        )

    @app.get("/api/clip", tags=["library"])
    def clip(state: ServerState, id: NameParam) -> ClipView:
        """One clip with its texts and labels."""
        found = state.views([state.clip(id).id])
        return found[0]

    @app.post("/api/clips", tags=["library"])
    def clips(state: ServerState, wanted: ClipList) -> ClipsAnswer:
        """Several clips with their texts and labels; unknown ids are left out."""
        return ClipsAnswer(clips=state.views(wanted.ids))

    @app.get("/api/map", tags=["library"])
    def drawn(state: ServerState, run: NameParam = "", method: Literal["pca", "tsne"] = "pca") -> MapView:
        """Every clip in two dimensions: computed once for each run and method."""
        return state.map(run, method)


def _media(app: FastAPI) -> None:
    files: Answers = {
        200: {"content": {"*/*": {}}, "description": "the file"},
        206: {"description": "the range asked for"},
    }
    jpeg: Answers = {200: {"content": {"image/jpeg": {}}, "description": "the picture"}}

    @app.head("/api/media", include_in_schema=False)
    @app.get("/api/media", tags=["media"], responses=files, response_class=FileResponse)
    def media(state: ServerState, clip: NameParam, of: Literal["video", "audio"] = "video") -> FileResponse:
        """The file of a clip, whole or by ranges of bytes; the clip's `start` and `end` are seconds of it."""
        path = state.file(state.clip(clip), of)
        kind = TYPES.get(path.suffix.lower(), "application/octet-stream")
        return FileResponse(path, media_type=kind, headers={"cache-control": "private, no-cache"})

    @app.get("/api/poster", tags=["media"], responses=jpeg, response_class=FileResponse)
    def poster(state: ServerState, clip: NameParam, at: SecondParam = None) -> FileResponse:
        """A frame of a clip, in its middle or at a second, as a small JPEG."""
        return FileResponse(state.poster(state.clip(clip), at), media_type="image/jpeg", headers=_KEPT)

    @app.get("/api/peaks", tags=["media"])
    def peaks(state: ServerState, clip: NameParam) -> Peaks:
        """The waveform of a clip, to be drawn."""
        return Peaks(**state.peaks(state.clip(clip)))

    @app.head("/api/preview", include_in_schema=False)
    @app.get("/api/preview", tags=["media"], responses=files, response_class=FileResponse)
    def preview(
        state: ServerState, clip: NameParam, start: SecondParam = None, end: SecondParam = None
    ) -> FileResponse:
        """A clip, or from `start` to `end` of its file, as MP4 that begins at 0: for files that browsers do not play,
        and sound in a file of its own."""
        return FileResponse(state.preview(state.clip(clip), start, end), media_type="video/mp4", headers=_KEPT)


def _page(app: FastAPI) -> None:
    pages = {f"/{file.name}": file for file in PAGE.iterdir() if file.suffix in _STATIC}
    views = dict.fromkeys(VIEWS, PAGE / "index.html")
    for address, file in (views | pages).items():
        app.add_route(address, partial(_static, file=file), include_in_schema=False)


async def _static(request: Request, *, file: Path) -> Response:
    content, etag = _compressed(file)
    headers = {"cache-control": "no-cache", "etag": etag, "vary": "accept-encoding"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.read_bytes(), media_type=_STATIC[file.suffix], headers=headers)
    return Response(content, media_type=_STATIC[file.suffix], headers=headers | {"content-encoding": "gzip"})


@lru_cache
def _compressed(file: Path) -> tuple[bytes, str]:
    """(gzipped content, ETag) of a file of the page."""
    content = file.read_bytes()
    return gzip.compress(content, mtime=0), f'"{hashlib.sha256(content).hexdigest()[:16]}"'


# -- refusals ----------------------------------------------------------------------------------------------------------


async def _said(_: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, Problem)
    return JSONResponse(problem.plain(), status_code=problem.status)


async def _unusable(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"code": "query", "message": str(error), "todo": ""}, status_code=422)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    plain = {"code": "request", "message": str(error.detail), "todo": ""}
    return JSONResponse(plain, status_code=error.status_code, headers=error.headers)


async def _broken_off(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody is left to read it


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"code": "request", "message": f"{where}: {first['msg']}", "todo": ""}, status_code=422)
