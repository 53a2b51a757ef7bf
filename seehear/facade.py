"""A library in Python: one method for each command.

    from seehear import Library

    library = Library("lib")
    library.prepare("~/recordings")
    library.transcribe(); library.ocr(); library.encode(); library.index()

    for hit in library.search("a dog barks", k=5):
        print(hit.file, hit.start, hit.end, hit.why)

`Library("lib").update("~/recordings")` does all of it, as `seehear find` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seehear.library.tables import LibraryTables as Tables

if TYPE_CHECKING:
    import pyarrow as pa

    from seehear.library.summary import PrepareReport
    from seehear.search.answer import Answer
    from seehear.search.filters import Filters
    from seehear.search.moments import MomentSearch
    from seehear.space import SharedSpace

Path_ = str | Path


class Library:
    """A searchable set of media, in one folder or on object storage; the media are not copied.

    uri: folder or address of the library, which need not exist yet.
    device: device of the models: 'auto', 'cpu', 'cuda' or 'mps'.

    Methods raise `SeehearError` with a line on what to do. Those that read media resume after an interruption.
    """

    def __init__(self, uri: Path_, *, device: str = "auto"):
        self.uri, self.device = str(uri), device
        self._searching: tuple[Any, MomentSearch] | None = None

    @classmethod
    def open(cls, uri: Path_, *, device: str = "auto") -> Library:
        """An existing library; raises `SeehearError` for a missing one."""
        Tables.open(uri)
        return cls(uri, device=device)

    @property
    def tables(self) -> Tables:
        """The tables and rows of the library (`seehear.library.tables`)."""
        return Tables.open(self.uri)

    def update(self, folder: Path_, *, preset: str = "", seconds: float | None = None) -> bool:
        """Makes new and changed files of a folder searchable: clips, speech, text on screen, vectors, indexes. Stops
        after `seconds`, and the next call resumes; returns whether all is done."""
        # Imports are inside the methods: `from seehear import Library` loads neither torch nor the database.
        from seehear.folders.find import bring_up_to_date

        return bring_up_to_date(_home(folder), self.uri, preset=preset, device=self.device, seconds=seconds)

    def prepare(self, *inputs: Path_, **options: Any) -> PrepareReport:
        """Reads clips from folders or manifests. `options`: fields of `seehear.library.clips.PrepareOptions`."""
        from seehear.library.clips import PrepareOptions
        from seehear.library.prepare import prepare

        return prepare([_home(path) for path in inputs], self.uri, PrepareOptions(**options))

    def transcribe(self, *, model: str = "", language: str = "", translate: bool = False, **options: Any) -> Any:
        """Transcribes speech, with times. `options`: `workers`, `engine`."""
        from seehear.library.engines import EngineOptions
        from seehear.library.transcribe import transcribe

        work = EngineOptions(**options)
        return transcribe(self.tables, model=model, language=language, translate=translate, options=work)

    def ocr(self, **options: Any) -> Any:
        """Reads text shown in films and pictures. `options`: `workers`, `engine`."""
        from seehear.library.engines import EngineOptions
        from seehear.library.ocr import ocr

        return ocr(self.tables, EngineOptions(**options))

    def encode(self, *encoders: str, preset: str = "", where: str | None = None, **options: Any) -> Any:
        """Encodes the clips by frozen encoders: those of a preset ('light', 'strong', 'best'), or by name. `where`: an
        SQL condition over the clips. `options`: `workers`, `batch_size`, `engine`, `models`."""
        from seehear.library.encode import encode_library
        from seehear.library.engines import EngineOptions

        work = EngineOptions(**options)
        return encode_library(self.tables, encoders or None, work, preset=preset, where=where, device=self.device)

    def index(self, run: Path_ | None = None, *, name: str = "") -> Any:
        """Indexes the library for search: in its frozen spaces, or in the space of a trained run."""
        from seehear.folders.indexes import index_frozen, index_run

        if run is None:
            return index_frozen(self.tables, device=self.device)
        return index_run(self.tables, _home(run), name=name, device=self.device)

    def train(self, recipe: str = "", *, out: Path_ | None = None, resume: bool = False) -> SharedSpace | None:
        """Trains on the library by a recipe ('fusemix', 'mcn', 'vatt', 'mavil', ...), and writes a run. Without a
        recipe, trains one that suits the library and keeps the best model on validation clips; returns None for too
        little data. `out`: folder of the run; runs/RECIPE by default."""
        from seehear.runs.config import recipe as preset
        from seehear.runs.run import choose, train_run
        from seehear.space import SharedSpace

        name = recipe or choose(self.tables).recipe
        if not name:
            return None
        folder = _home(out) if out is not None else Path("runs") / name
        # Kept with the run, and shown by its report, as a command line is.
        command = f"Library({self.uri!r}).train({recipe!r})"
        train_run(self.tables, preset(name), folder, resume=resume, command=command, keep_best=not recipe)
        return SharedSpace.from_pretrained(folder, device=self.device)

    def search(
        self,
        query: Any,
        *,
        k: int = 10,
        kinds: Sequence[str] = (),
        filters: Filters | None = None,
        fulltext: bool = True,
    ) -> Answer:
        """The k best moments, best first: a sequence of `Moment`s, with the confidence of the first in `words`.

        query: words, {"audio": path}, {"image": path}, {"video": path}, {"clip": id}, or a list of these, optionally
            with a "weight" each.
        kinds: kinds of match: seen, heard, spoken, screen, text; all by default.
        """
        from seehear.folders.find import open_library
        from seehear.search.index import indexes, versions

        # Opened again only after a change of the library or of an index.
        tables = self.tables
        state = versions(tables), {name: about.get("changed") for name, about in indexes(tables).items()}
        if self._searching is None or self._searching[0] != state:
            self._searching = state, open_library(tables, device=self.device)
        return self._searching[1].search(query, k=k, kinds=kinds, filters=filters, fulltext=fulltext)

    def clips(self, where: str | None = None) -> pa.Table:
        """The clips as an Arrow table (`.to_pandas()`): id, source, start and end in seconds, texts, labels, split.
        `where`: an SQL condition, such as "split = 'test'"."""
        query = self.tables.table("clips").search()
        # No limit: LanceDB's queries may stop at ten rows by default.
        return (query.where(where) if where else query).limit(None).to_arrow()

    def to_parquet(self, folder: Path_) -> dict[str, int]:
        """Writes clips, media files and current vectors as Parquet; returns the number of rows of each file by path."""
        from seehear.folders.export import write_parquet

        return write_parquet(self.tables, _home(folder))

    def __len__(self) -> int:
        return self.tables.count_clips()

    def __repr__(self) -> str:
        return f"Library({self.uri!r})"


def _home(path: Path_) -> Path:
    # A shell expands ~, Python does not.
    return Path(path).expanduser()
