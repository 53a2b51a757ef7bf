"""`index`, `search` and `serve`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional

from seehear.commands.parsing import Flat, OnDevice, Printed, ask_server
from seehear.errors import SeehearError, check_range, require, unknown
from seehear.library.tables import LibraryTables
from seehear.progress import Interrupted, say
from seehear.search.answer import Answer
from seehear.search.behind import behind
from seehear.search.filters import Filters
from seehear.search.index import indexes
from seehear.serve.config import ServeConfig

if TYPE_CHECKING:
    from seehear.search.moments import MomentSearch


@dataclass(frozen=True, kw_only=True)
class Index(OnDevice, Printed):
    """Make a library searchable: vectors of its clips, full text, and the calibration of scores. A second call adds
    only new clips.

    Without a run nothing has to be trained: joint encoders (the packaged word tower, CLIP, CLAP) let words find what is
    seen and heard, texts are found by meaning and by their words, and sounds and pictures find similar ones.

    Example: seehear index lib
    """

    library: Positional[str]
    run_folder: Positional[Path | None] = None
    """Trained run to index."""
    name: str = ""
    """Name of the index of a run; the name of its folder by default."""

    def run(self) -> None:
        from seehear.folders.indexes import index_frozen, index_run

        library = LibraryTables.open(self.library)
        if self.run_folder is None:
            if self.name:
                raise SeehearError("--name is for the index of a run: add the run's folder, or leave --name out")
            self.show(index_frozen(library, device=self.device))
        else:
            self.show(index_run(library, self.run_folder, name=self.name, device=self.device))
        if not self.json:
            print(f'next: seehear search {self.library} "what to look for"; seehear serve {self.library}')


@dataclass(frozen=True, kw_only=True)
class QueryOptions(OnDevice, Printed):
    """Options of a query and of its answers."""

    audio: tuple[Path, ...] = ()
    """Sounds: finds similar sounds, and pictures that go with them."""
    image: tuple[Path, ...] = ()
    """Pictures to search by."""
    video: tuple[Path, ...] = ()
    """Films to search by."""
    like: tuple[str, ...] = ()
    """Ids of clips to search by."""
    k: int = 10
    """Number of moments to list."""
    kinds: tuple[Literal["seen", "heard", "spoken", "screen", "text"], ...] = ()
    """Kinds of match to allow; all by default. text: captions of your own."""
    fulltext: bool = True
    """Full-text search of spoken and written words too; --no-fulltext leaves it out."""
    save: Path | None = None
    """Folder to save each moment in as a file: films as MP4, not encoded again where possible, sounds and pictures in
    their own format."""
    edl: Path | None = None
    """New file that lists the moments, for an editor (.edl, .otio), a player (.m3u) or as a table (.csv)."""
    filters: Annotated[Filters, Flat] = field(default_factory=Filters)

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "k")
        if self.save is not None or self.edl is not None:
            from seehear.folders.export import check_outputs

            check_outputs(self.save, self.edl)

    def parts(self, words: str) -> list[Any]:
        parts: list[Any] = [words] if words else []
        for kind in ("audio", "image", "video"):
            for path in getattr(self, kind):
                # Imported here: a query by words alone does without libav.
                from seehear.media.files import probe

                if not path.is_file():
                    raise SeehearError(f"no file {path}")
                # Opened before a folder is indexed or a model loaded, which takes minutes.
                info = probe(path)
                if kind == "image" and not info.is_picture:
                    use = "--video" if info.has_video else "--audio"
                    raise SeehearError(f"--image {path} is no picture: use {use}")
                if kind == "audio" and not info.has_audio:
                    raise SeehearError(f"{path} has no sound")
                parts.append({kind: str(path)})
        return parts + [{"clip": name} for name in self.like]

    def for_server(self, words: str) -> dict[str, Any] | None:
        """Body of the request to a server; None for queries it does not take: by files, and with SQL."""
        parts: list[dict[str, str]] = [{"text": words}] if words else []
        parts += [{"clip": name} for name in self.like]
        # `pop` also takes both fields out of the body: a server refuses a request with fields that it does not know.
        filters = asdict(self.filters)
        if not parts or self.audio or self.image or self.video or filters.pop("where") or filters.pop("meta"):
            return None
        return {"parts": parts, "k": self.k, "kinds": self.kinds, "fulltext": self.fulltext, "filters": filters}

    def tell(self, uri: str, answer: Answer, behind: Iterable[str]) -> None:
        """Prints an answer, the verdict first, or as JSON (docs/search.md), and saves its moments as files or in a
        list, if an option asks for it. `behind`: what each index lacks."""
        # One line for each command: lines differ in their counts, and name the command after ': run'.
        for line in {line.partition(": run")[2]: line for line in behind if line}.values():
            say(line)
        if self.json:
            self.show(answer)
        elif not answer.hits:
            print("nothing found: no clip passes the filters")
        elif answer.words == "nothing close":
            print(f"Nothing close to '{answer.query}'; the nearest are:")
        for number, hit in enumerate([] if self.json else answer.hits, start=1):
            text = f"  {_short(hit.text)}" if hit.text else ""
            print(f"{number:3}  {hit.kind:6}  {hit.words:13}  {_place(hit.file, hit)}{text}")
            for place in hit.also:
                print(f"     also {place}")
        if self.save is None and self.edl is None:
            return
        from seehear.folders.export import listed, save_clips, write_list

        moments = listed(LibraryTables.open(uri), answer.hits)
        if self.edl is not None:
            write_list(self.edl, moments, title=answer.query)
        if self.save is not None:
            save_clips(self.save, moments)

    def answer(self, searcher: MomentSearch, words: str) -> Answer:
        return searcher.search(
            self.parts(words), k=self.k, kinds=self.kinds, filters=self.filters, fulltext=self.fulltext
        )


@dataclass(frozen=True, kw_only=True)
class Search(QueryOptions):
    """Find moments by words, by a sound, a picture, a video or a clip of the library, or by several at once: what is
    seen, heard, spoken or written there.

    Searches every index of the library; with --index one alone, ranked by the cosines of its space.

    Example: seehear search lib "in the rain" --image street.jpg --kinds seen
    """

    library: Positional[str]
    words: Positional[str] = ""
    """Words to search for."""
    index: str = ""
    """Index of one run to search alone, ranked by cosine."""
    modalities: tuple[str, ...] = ()
    """With --index: modalities of a clip that may match: video, audio, text. All by default."""
    hybrid: bool = False
    """With --index: join the ranking with full-text search."""
    remove_gap: bool = False
    """With --index: subtract the mean of each modality from its vectors, where one modality crowds out the others."""

    def run(self) -> None:
        if self.index:
            # Its hits are clips ranked by cosine, and no moments, which these two write.
            if self.save or self.edl:
                raise SeehearError("--save and --edl do not go with --index: leave one of them out")
            return self._one_index(LibraryTables.open(self.library))
        if self.modalities or self.hybrid or self.remove_gap:
            raise SeehearError("--modalities, --hybrid and --remove-gap need one index: add --index NAME")
        # A server has models and vectors in memory: it answers sooner than they are loaded.
        query = self.for_server(self.words)
        if query and (served := ask_server(self.library, query)):
            return self.tell(self.library, served.answer, served.behind)
        library = LibraryTables.open(self.library)
        # Imported after the server was asked: its answer needs none of the models' packages.
        from seehear.folders.find import open_library

        searcher = open_library(library, device=self.device)
        answer = self.answer(searcher, self.words)
        self.tell(self.library, answer, [behind(library, index.name) for index in searcher.indexes])

    def _one_index(self, library: LibraryTables) -> None:
        from seehear.search.query import Searcher
        from seehear.space import SharedSpace, model_of

        found, name = indexes(library), self.index
        if name not in found:
            raise unknown("index", name, found)
        space = SharedSpace.from_pretrained(model_of(library.uri, name, found[name]), device=self.device)
        hits = Searcher(library, space, name, remove_gap=self.remove_gap).search(
            self.parts(self.words),
            k=self.k,
            modalities=self.modalities,
            filters=self.filters,
            hybrid=self.hybrid,
        )
        if line := behind(library, name):
            say(line)
        if self.json:
            self.show(hits)
        elif not hits:
            print("nothing found: the filters leave no clip")
        # The cosine and no confidence in words: scores of one space are not calibrated.
        for number, hit in enumerate([] if self.json else hits, start=1):
            print(f"{number:3}  {hit.score:.3f}  {hit.modality:5}  {_place(hit.path, hit)}  {_short(hit.text)}")


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Search a library on a page in the browser: by words, by a dropped sound, picture or video, by more like this.

    Listens on this machine only; for others set --host, and a token in a file (--token-file) or in SEEHEAR_TOKEN.
    Ctrl-C stops it.

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
            # First: a wrong name is reported before the models' packages are imported.
            LibraryTables.open(self.library)
            from seehear.serve.app import serve

            serve(self.library, self.config, ready=self._ready)
        except KeyboardInterrupt:
            # Ctrl-C is the usual end of a server: one line, no traceback.
            raise Interrupted("stopped") from None

    def _ready(self, address: str) -> None:
        say(f"{self.library} is at {address}  (Ctrl-C stops it)")
        if self.open:
            import webbrowser

            webbrowser.open(address)


@dataclass(frozen=True, kw_only=True)
class Mcp(OnDevice):
    """Serve a library to an assistant over the Model Context Protocol (standard input and output): search, films,
    transcripts, frames. The assistant starts this command, from its settings:

        {"mcpServers": {"seehear": {"command": "seehear", "args": ["mcp", "/home/me/lib"]}}}

    Example: seehear mcp lib
    """

    library: Positional[str]

    def run(self) -> None:
        require("mcp", "mcp")
        require("fastapi", "serve")
        LibraryTables.open(self.library)
        from seehear.serve.assistant import assistant

        server, close = assistant(self.library, ServeConfig(device=self.device))
        try:
            server.run()
        except KeyboardInterrupt:
            raise Interrupted("stopped") from None
        finally:
            close()


def _place(path: str, hit: Any) -> str:
    if not path:
        return "(text)"
    # A picture has no times: both are 0.
    return path if hit.start == hit.end == 0 else f"{path} {hit.start:.1f}-{hit.end:.1f} s"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:79] + "…"
