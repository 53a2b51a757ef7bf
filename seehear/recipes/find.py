"""Search without training: the frozen spaces of a library put into indexes, and all its indexes opened together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seehear.data.library import Library
from seehear.errors import SeehearError
from seehear.progress import say
from seehear.search.background import calibrate_index
from seehear.search.index import IndexReport, build_index, indexes
from seehear.search.moments import MomentSearch
from seehear.search.query import SearchSpace
from seehear.space import SharedSpace, model_of
from seehear.space.frozen import FROZEN, frozen_towers


@dataclass(frozen=True)
class IndexReports:
    indexes: tuple[IndexReport, ...]

    def __str__(self) -> str:
        return "\n".join(str(report) for report in self.indexes)


def index_run(library: Library, run: str | Path, *, name: str = "", device: str = "auto") -> IndexReport:
    """The vectors of a trained run."""
    folder = Path(run).resolve()
    space = SharedSpace.from_pretrained(folder, device=device)
    space.encode_library(library)
    name = name or folder.name
    report = build_index(library, space, name=name, model=str(folder))
    calibrate_index(library, space, name)
    return report


def index_frozen(library: Library, *, device: str = "auto") -> IndexReports:
    """The vectors of every frozen space, ready to be searched: no training."""
    if not library.count_clips():
        raise SeehearError(f"{library.uri} has no clips: run 'seehear prepare FOLDER --library {library.uri}'")
    reports = []
    towers = frozen_towers(library.encoders())
    for name in reversed(towers):  # joint ones last: the newest index is what opens first
        space = SharedSpace.from_pretrained(f"{FROZEN}{library.uri}#{name}", device=device)
        # Words find what is seen and heard in a joint space; what is said is compared by the encoder of texts.
        modalities = [m for m in towers[name] if m != "text"] or ["text"]
        try:
            report = build_index(library, space, name=f"frozen-{name}", model=f"{FROZEN}#{name}", modalities=modalities)
        except SeehearError as error:
            say(str(error))
            continue
        calibrate_index(library, space, report.name)
        reports.append(report)
    if not reports:
        raise SeehearError(f"{library.uri} has no latents: run 'seehear encode {library.uri}'")
    return IndexReports(tuple(reports))


def open_library(library: Library, *, device: str = "auto") -> MomentSearch:
    """Every index of a library that can be used as it is: all frozen ones and the newest of a run."""
    spaces = dict(_spaces(library, device))
    if not spaces:
        raise SeehearError(f"{library.uri} has no index: run 'seehear index {library.uri}'")
    return MomentSearch(library, spaces)


def _spaces(library: Library, device: str) -> Iterator[tuple[str, SearchSpace]]:
    found = indexes(library)
    frozen = [name for name in found if found[name].get("model", "").startswith(FROZEN)]
    runs = sorted(found.keys() - set(frozen), key=lambda n: found[n].get("made", ""))
    for name in [*frozen, *runs[-1:]]:
        again = f"run 'seehear index {library.uri}{'' if name in frozen else ' RUN'}'"
        if not (model := model_of(library.uri, found[name])):
            say(f"the model of index {name} is no longer at {found[name].get('model')!r}: {again}")
            continue
        try:
            space = SharedSpace.from_pretrained(model, device=device)
        except SeehearError as error:
            say(f"index {name} is left out: {error}")
            continue
        if space.fingerprint != found[name]["maker"]:
            say(f"index {name} was made by another model: {again}")
            continue
        yield name, space
