"""Running the application, in this thread or in one of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

import uvicorn

from seehear.errors import SeehearError
from seehear.folders.standing import Standing
from seehear.library.locking import Server, announced
from seehear.serve.app import create_app
from seehear.serve.config import ServeConfig


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
