"""The HTTP API, for the page and other programs on this machine, and its server. `/openapi.json` documents the API."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from seehear.errors import SeehearError
from seehear.folders.standing import Standing
from seehear.library.locking import Server, announced
from seehear.serve import exports, film, films, own, schema, suggest
from seehear.serve.config import ServeConfig
from seehear.serve.files import TYPES
from seehear.serve.guard import VIEWS, Guard
from seehear.serve.learning import LearnView
from seehear.serve.problems import Problem
from seehear.serve.schema import KEPT, MEDIA, Name, Responses, Second
from seehear.serve.state import ServerState, State

PAGE = Path(__file__).parent / "page"
_STATIC = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_JPEG: Responses = {200: {"content": {"image/jpeg": {}}, "description": "the picture"}}
_BODY = {
    "required": True,
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}
_REFUSED = (400, 401, 403, 404, 409, 411, 413, 416, 422, 503)


def create_app(
    library: str,
    config: ServeConfig = ServeConfig(),  # noqa: B008
    progress: Callable[[], Standing] | None = None,
    edited: Callable[[], None] | None = None,
) -> FastAPI:
    """The application over an existing library. `progress`: progress of this process's indexing, if it does any;
    `edited` wakes that work when the user has changed a text or label."""
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
        # Both pages would load a viewer from the network.
        docs_url=None,
        redoc_url=None,
        lifespan=living,
        # Nothing is sent anywhere, whatever the environment says.
        telemetry={"auto_configure": False},
        responses={code: {"model": schema.ProblemAnswer} for code in _REFUSED},
    )
    app.state.seehear = state  # routes get it through `ServerState`
    app.add_middleware(Guard, token=config.token)
    for kind in (Problem, SeehearError, RequestValidationError, HTTPException, ClientDisconnect):
        app.add_exception_handler(kind, _refusal)
    # Made here and not by the state, which the modules of these routes import.
    app.state.shelves, app.state.vocabulary = films.Shelves(state), suggest.LibraryVocabulary(state)
    for topic in (router, films.router, film.router, suggest.router, exports.router, own.router):
        app.include_router(topic)
    pages = {f"/{file.name}": file for file in PAGE.iterdir() if file.suffix in _STATIC}
    for address, file in (dict.fromkeys(VIEWS, PAGE / "index.html") | pages).items():
        app.add_route(address, partial(_static, file=file), include_in_schema=False)
    return app


router = APIRouter()


@router.get("/api/status", tags=["library"])
def status(state: ServerState) -> schema.Status:
    """Contents of the library, its runs, and what to do when nothing can be searched yet."""
    return state.status()


@router.get("/api/progress", tags=["library"])
def progress(state: ServerState) -> schema.ProgressView | None:
    """Progress of indexing the library; null while this server does none."""
    return state.standing()


@router.post("/api/search", tags=["search"])
def search(state: ServerState, query: schema.Query) -> schema.SearchAnswer:
    """The best moments for words, files, clips, or several of them at once: in all indexes together, or in one."""
    return state.search(query)


@router.post("/api/uploads", tags=["search"], openapi_extra={"requestBody": _BODY}, status_code=201)
async def upload(state: ServerState, request: Request, run: Name = "") -> schema.UploadView:
    """A sound, picture or video to search with: the request's body is the file, which is encoded and deleted before
    this answers. The id stands for its vectors, in searches of the same run, or of all indexes together if none is
    named."""
    # Opening and encoding block: in the thread pool, other requests are answered meanwhile.
    opened = await run_in_threadpool(state.opened, run)
    path = await state.uploads.receive(request.stream(), request.headers.get("content-length"))
    try:
        made = await run_in_threadpool(state.uploads.encode, path, opened)
    finally:
        # After a refusal too: nothing that was sent is kept.
        path.unlink()
    kind: Any = made.facts.kind
    return schema.UploadView(id=made.id, run=run, kind=kind, seconds=made.seconds, modalities=made.modalities)


@router.get("/api/clip", tags=["library"])
def clip(state: ServerState, id: Name) -> schema.ClipView:
    """One clip with its texts and labels."""
    return state.views([state.clip(id).id])[0]


@router.post("/api/clips", tags=["library"])
def clips(state: ServerState, wanted: schema.ClipList) -> schema.ClipsAnswer:
    """Several clips with their texts and labels; unknown ids are left out."""
    return schema.ClipsAnswer(clips=state.views(wanted.ids))


@router.get("/api/map", tags=["library"])
def drawn(state: ServerState, run: Name = "", method: Literal["pca", "tsne"] = "pca") -> schema.MapView:
    """Every clip in two dimensions, computed once for each run and method."""
    return state.map(run, method)


# FastAPI, unlike Starlette, adds no HEAD to a GET route.
@router.head("/api/media", include_in_schema=False)
@router.get("/api/media", tags=["media"], responses=MEDIA, response_class=FileResponse)
def media(state: ServerState, clip: Name, of: Literal["video", "audio"] = "video") -> FileResponse:
    """The file of a clip, whole or by ranges of bytes. `start` and `end` of the clip are seconds in it."""
    path = state.file(state.clip(clip), of)
    kind = TYPES.get(path.suffix.lower(), "application/octet-stream")
    # no-cache: the file may be replaced, so browsers revalidate their copy.
    return FileResponse(path, media_type=kind, headers={"cache-control": "private, no-cache"})


@router.get("/api/poster", tags=["media"], responses=_JPEG, response_class=FileResponse)
def poster(state: ServerState, clip: Name, at: Second | None = None) -> FileResponse:
    """A frame of a clip as a small JPEG: the middle one, or the one at a second."""
    return FileResponse(state.poster(state.clip(clip), at), media_type="image/jpeg", headers=KEPT)


@router.get("/api/peaks", tags=["media"])
def peaks(state: ServerState, clip: Name) -> schema.Peaks:
    """The waveform of a clip, for drawing."""
    return state.peaks(state.clip(clip))


@router.head("/api/preview", include_in_schema=False)
@router.get("/api/preview", tags=["media"], responses=MEDIA, response_class=FileResponse)
def preview(state: ServerState, clip: Name, start: Second | None = None, end: Second | None = None) -> FileResponse:
    """A clip, or from `start` to `end` of its file, as MP4 that begins at 0: for files that browsers do not play,
    and sound in a file of its own."""
    return FileResponse(state.preview(state.clip(clip), start, end), media_type="video/mp4", headers=KEPT)


@router.get("/api/learn", tags=["learning"])
def learn(state: ServerState) -> LearnView:
    """Data to learn from, cost and progress of training, and the result of the last one."""
    return state.learning.view()


@router.post("/api/learn", tags=["learning"], status_code=202)
def start(state: ServerState) -> LearnView:
    """Starts or resumes training in the background. A better model joins the search automatically."""
    state.learning.start()
    return state.learning.view()


@router.delete("/api/learn", tags=["learning"], status_code=202)
def stop(state: ServerState) -> LearnView:
    """Stops after the current step; everything computed so far is kept."""
    state.learning.stop()
    return state.learning.view()


async def _static(request: Request, *, file: Path) -> Response:
    content, etag = _compressed(file)
    # Revalidated by ETag each time, so that a new version of the page is used at once.
    headers = {"cache-control": "no-cache", "etag": etag, "vary": "accept-encoding"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.read_bytes(), media_type=_STATIC[file.suffix], headers=headers)
    return Response(content, media_type=_STATIC[file.suffix], headers=headers | {"content-encoding": "gzip"})


@lru_cache
def _compressed(file: Path) -> tuple[bytes, str]:
    """(gzipped content, ETag) of a file of the page."""
    # No time in the header: the same bytes in every process.
    content = file.read_bytes()
    return gzip.compress(content, mtime=0), f'"{hashlib.sha256(content).hexdigest()[:16]}"'


async def _refusal(_: Request, error: Exception) -> Response:
    """Every error as a `ProblemAnswer`."""
    match error:
        case Problem():
            return JSONResponse(error.plain(), status_code=error.status)
        case HTTPException():
            problem = Problem(error.status_code, "request", str(error.detail))
            return JSONResponse(problem.plain(), status_code=problem.status, headers=error.headers)
        case RequestValidationError():
            first = error.errors()[0]
            problem = Problem(422, "request", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        case ClientDisconnect():
            # Nobody is left to read an answer.
            return Response(status_code=400)
        case _:
            problem = Problem(422, "query", str(error))
    return JSONResponse(problem.plain(), status_code=problem.status)


# -- running, in this thread or in one of its own ----------------------------------------------------------------------


def serve(library: str, config: ServeConfig, *, ready: Callable[[str], None]) -> None:
    """Serves until interrupted. Calls `ready` with the address once connections are accepted."""
    server, listening, address = _server(library, config)
    # Commands on this machine find the server by the announcement, and ask it instead of loading models.
    with announced(library, Server(address=address, token=bool(config.token))):
        ready(address + (f"?token={quote(config.token, safe='')}" if config.token else ""))
        server.run(sockets=[listening])


@contextmanager
def serving(
    library: str, config: ServeConfig, progress: Callable[[], Standing], edited: Callable[[], None] | None = None
) -> Iterator[str]:
    """Serves in another thread, beside the work that `progress` reports and `edited` wakes. Yields the address, without
    a token."""
    server, listening, address = _server(library, config, progress, edited)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        with announced(library, Server(address=address, token=bool(config.token), follows=True)):
            yield address
    finally:
        # Set by hand: uvicorn handles signals in the main thread only.
        server.should_exit = True
        thread.join()


def _server(
    library: str,
    config: ServeConfig,
    progress: Callable[[], Standing] | None = None,
    edited: Callable[[], None] | None = None,
) -> tuple[uvicorn.Server, socket.socket, str]:
    # Bound before the models load, so that a taken port is reported at once.
    listening = listen(config.host, config.port)
    app = create_app(library, config, progress, edited)
    host = f"[{config.host}]" if ":" in config.host else config.host
    # Two seconds for open answers: a request whose body never ends would keep the server from stopping.
    options = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(options)

    def wanted(record: logging.LogRecord) -> bool:
        # While it stops, uvicorn logs a traceback for every answer that it aborts.
        error = record.exc_info[1] if record.exc_info else None
        return not server.should_exit or not (error is None or isinstance(error, asyncio.CancelledError))

    logging.getLogger("uvicorn.error").addFilter(wanted)
    return server, listening, f"http://{host}:{listening.getsockname()[1]}/"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only if the protocol is named; otherwise answers would wait 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Without it the port of a server that was just stopped stays taken for a minute.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise SeehearError(f"cannot listen on {host} port {port} ({error.strerror}): try another --port") from error
    return listening
