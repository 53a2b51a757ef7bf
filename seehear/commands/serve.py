"""`serve`: the library as a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional

from seehear.commands.parsing import Flat
from seehear.data.library import Library
from seehear.errors import SeehearError, require
from seehear.progress import Interrupted, say
from seehear.serve.config import ServeConfig


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Search a library on a page in the browser: by words, by a dropped sound, picture or video, by more like this.

    Listens on this machine alone; for others give --host, and a token in a file (--token-file)
    or in the environment variable SEEHEAR_TOKEN. Ctrl-C ends it.

    Example: seehear serve lib --port 8710
    """

    library: Positional[str]
    open: bool = False
    """Open the page in the browser."""
    config: Annotated[ServeConfig, Flat] = field(default_factory=ServeConfig)

    def run(self) -> None:
        for package in ("fastapi", "uvicorn"):
            require(package, "serve")
        if self.open and self.config.token:
            # A browser is started with the address, token and all, and every user sees the arguments of a process.
            raise SeehearError("--open would show the token in the process list: open the printed address yourself")
        try:
            Library.open(self.library)
            from seehear.serve.server import serve

            serve(self.library, self.config, ready=self._ready)
        except KeyboardInterrupt:
            raise Interrupted("stopped") from None

    def _ready(self, address: str) -> None:
        say(f"{self.library} is at {address}  (Ctrl-C ends it)")
        if self.open:
            import webbrowser

            webbrowser.open(address)
