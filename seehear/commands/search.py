"""`index`, `search` and `serve`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from seehear.commands.parsing import Flat, show
from seehear.data.library import Library
from seehear.errors import SeehearError, check_range, require, unknown
from seehear.progress import say
from seehear.search.filters import Filters
from seehear.serve.config import ServeConfig
from seehear.stopping import Interrupted


@dataclass(frozen=True, kw_only=True)
class Index:
    """Put a run's vectors of all clips into the library: what search reads. A second run adds only what is new.

    Example: seehear index lib runs/fusemix
    """

    library: Positional[str]
    run_folder: Positional[Path]
    name: str = ""
    """What the index is called; the name of the run's folder when not given."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> None:
        from seehear.search.index import build_index
        from seehear.space import SharedSpace

        space = SharedSpace.from_pretrained(self.run_folder, device=self.device)
        name = self.name or self.run_folder.resolve().name
        library = Library.open(self.library)
        space.encode_library(library)
        report = build_index(library, space, name=name, model=str(self.run_folder.resolve()))
        show(report, as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Search:
    """Find clips by words, by a sound, a picture, a video or a clip of the library, or by several at once.

    Example: seehear search lib "in the rain" --image street.jpg --modalities video --hybrid
    """

    library: Positional[str]
    words: Positional[str] = ""
    """What to look for."""
    audio: tuple[Path, ...] = ()
    image: tuple[Path, ...] = ()
    video: tuple[Path, ...] = ()
    like: tuple[str, ...] = ()
    """Ids of clips: more like these."""
    k: int = 10
    """How many clips to list."""
    modalities: tuple[str, ...] = ()
    """What of a clip may match: video, audio, text. All by default."""
    hybrid: bool = False
    """Also by the words of the clips' texts (full text), the two rankings joined."""
    remove_gap: bool = False
    """Take the mean of each modality out of its vectors: for galleries where one modality crowds out the others."""
    index: str = ""
    """Which index, where the library has several; the last one made when not given."""
    filters: Annotated[Filters, Flat] = field(default_factory=Filters)
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print the hits as JSON."""

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "k")

    def run(self) -> None:
        from seehear.search.behind import behind
        from seehear.search.query import Searcher
        from seehear.space import SharedSpace

        library = Library.open(self.library)
        name, model = _index(library, self.index)
        space = SharedSpace.from_pretrained(model, device=self.device)
        searcher = Searcher(library, space, name, remove_gap=self.remove_gap)
        hits = searcher.search(
            self._parts(), k=self.k, modalities=self.modalities, filters=self.filters, hybrid=self.hybrid
        )
        if line := behind(library, name):
            say(line)
        if self.json:
            show(hits, as_json=True)
        elif not hits:
            print("nothing found: the filters leave no clip")
        for number, hit in enumerate([] if self.json else hits, start=1):
            print(f"{number:3}  {hit.score:.3f}  {hit.modality:5}  {_place(hit)}  {_short(hit.text)}")

    def _parts(self) -> list[Any]:
        parts: list[Any] = [self.words] if self.words else []
        for kind in ("audio", "image", "video"):
            for path in getattr(self, kind):
                if not path.is_file():
                    raise SeehearError(f"no file {path}")
                parts.append({kind: str(path)})
        return parts + [{"clip": name} for name in self.like]


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


def _index(library: Library, name: str) -> tuple[str, str]:
    """Name and model folder of an index: the one asked for, else the newest."""
    from seehear.search.index import indexes

    found = indexes(library)
    if name and name not in found:
        raise unknown("index", name, found)
    if not found:
        raise SeehearError(f"{library.uri} has no index: run 'seehear index {library.uri} RUN'")
    name = name or max(found, key=lambda n: found[n].get("made", ""))
    model = found[name].get("model", "")
    if not model or not Path(model).is_dir():
        raise SeehearError(
            f"the model of index {name} is no longer at {model!r}: run 'seehear index {library.uri} RUN'"
        )
    return name, model


def _place(hit: Any) -> str:
    if not hit.path:
        return "(text)"
    return hit.path if hit.start == hit.end == 0 else f"{hit.path} {hit.start:.1f}-{hit.end:.1f} s"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:79] + "…"
