"""Contribution of each modality, pair, term of the loss and shared space.

Every row is trained with the same steps and seeds on the same clips, those with all modalities, and measured on the
same held-out clips (`measures`). Answers are differences between rows (`modality_report.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from seehear.errors import SeehearError
from seehear.evaluation.classify import Labelled, linear_probe
from seehear.evaluation.embedded import Embedded, embed_latents, fuse, smallest_space, within
from seehear.evaluation.geometry import agreement
from seehear.evaluation.retrieval import retrieval
from seehear.inputs.contexts import contexts
from seehear.inputs.latents import LatentData, encoders_of, load_latents
from seehear.library.tables import SPLITS, LibraryTables
from seehear.nn.kmeans import assign, kmeans, starting_points
from seehear.nn.random import seed_of
from seehear.nn.unit import unit
from seehear.npz import open_npz
from seehear.progress import say
from seehear.recipes import fusemix
from seehear.runs.config import LatentInputs, LatentsConfig, Run
from seehear.runs.evaluate import data_revision, same_encoders
from seehear.runs.scores import directions
from seehear.studies.grid import Cell, cell_key, run_grid
from seehear.studies.modality_report import (
    Answered,
    Design,
    Findings,
    designs,
    latents_run,
    possible,
    run_of,
    write_report,
)
from seehear.studies.table import Study, require_figures
from seehear.studies.trained import about_data, finished, remove_run
from seehear.types import MODALITIES, Modality

CLOSED = "closed form"
"""Method of the rows without training: the closed form that is best on validation."""


@dataclass(frozen=True, kw_only=True)
class ModalityOptions:
    methods: tuple[str, ...] = ("mcn.tiny",)
    """Recipes by name, separated by spaces or commas. The best closed form is always included."""
    seeds: int = 3
    """Number of runs of each row."""
    encoders: dict[Modality, tuple[str, ...]] = field(default_factory=dict)
    """Encoders by modality; empty: all that the recipe reads, as in `seehear train`."""
    test_on: str = ""
    """Library whose test split is used instead, zero-shot."""
    redo: bool = False
    """Measure again what the folder holds of other data or settings."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", tuple(n for name in self.methods for n in name.split(",") if n))
        if self.seeds < 1:
            raise SeehearError(f"seeds: a row needs one seed at least; got {self.seeds}")


@dataclass(frozen=True)
class _MethodInputs:
    """The study's clips as one method reads them."""

    reads: tuple[Modality, ...]
    """Modalities that the library has in a form that the method reads; fewer than two: no latents."""
    trained: LatentInputs | None = None
    tested: LatentData | None = None


def study_modalities(library: LibraryTables, folder: str | Path, options: ModalityOptions) -> Study:
    """Measures missing cells; writes `study.json`, `table.md` and the figure."""
    other = LibraryTables.open(options.test_on) if options.test_on else None
    runs: dict[str, Run[LatentsConfig, Any] | None] = {CLOSED: None}
    runs |= {name: latents_run(name) for name in options.methods}
    chosen = {name: _encoders(library, run, options) for name, run in runs.items()}
    data: dict[str, LatentData] = {}
    for name, encoders in chosen.items():
        # One copy in memory serves both.
        same = next((n for n in data if chosen[n] == encoders), None)
        if same or len(encoders) > 1:
            data[name] = data[same] if same else load_latents(library, encoders=encoders)
    if not data:
        # Raises, and names the missing modality.
        load_latents(library, encoders=options.encoders or None, sequences=True)
    tested = dict(data)
    if other:
        for name, own in data.items():
            tested[name] = load_latents(other, encoders={m: [e["name"] for e in es] for m, es in own.encoders.items()})
            same_encoders(tested[name], own.encoders, other)
    # The same clips for every row: else a modality would seem to help where it only brings other clips.
    data = _complete(data, ("train",) if other else SPLITS)
    tested = _complete(tested, ("test",)) if other else data
    one_label = {clip.id: clip.labels[0] for clip in (other or library).clips("array_length(labels) = 1")}
    inputs = {name: _MethodInputs(tuple(encoders)) for name, encoders in chosen.items()}
    for name, own in data.items():
        made, run = None, runs[name]
        if run is not None and run.data.contexts.clips_per_video:
            # Computed once, from the study's clips only: every row draws the same neighbours.
            train = own.split("train")
            made = contexts(library, train, run.data.contexts, at_least=len(own.modalities))
        inputs[name] = _MethodInputs(own.modalities, LatentInputs(own, contexts=made), tested[name])
    return _study(inputs, one_label, folder, options)


def _encoders(
    library: LibraryTables, run: Run[LatentsConfig, Any] | None, options: ModalityOptions
) -> dict[Modality, list[str]]:
    """Names of the encoders of a method, by modality; `run` None: the closed forms, which read vectors."""
    about, sequences = library.encoders(), run is not None and run.method.reads_sequences
    asked = options.encoders or (run.data.encoders if run else {})
    names = {m: list(asked.get(m, ())) if asked else encoders_of(about, m, sequences=sequences) for m in MODALITIES}
    read = {m: [n for n in own if sequences or not about.get(n, {}).get("shape")] for m, own in names.items()}
    return {m: own for m, own in read.items() if own}


def study_of(data: LatentData, labels: Sequence[str], folder: str | Path, options: ModalityOptions) -> Study:
    """The study of latents in memory; `labels` has one per clip, '' for none."""
    for name in options.methods:
        if latents_run(name).data.contexts.clips_per_video:
            raise SeehearError(
                f"{name} makes training clips of neighbours (--data.contexts), which needs a library: latents in "
                "memory have no times"
            )
    label_of = dict(zip(data.ids.tolist(), labels, strict=True))
    whole = _complete({CLOSED: data}, SPLITS)[CLOSED]
    own = _MethodInputs(whole.modalities, LatentInputs(whole), whole)
    return _study(dict.fromkeys((CLOSED, *options.methods), own), label_of, folder, options)


def _study(
    inputs: Mapping[str, _MethodInputs], label_of: Mapping[str, str], folder: str | Path, options: ModalityOptions
) -> Study:
    require_figures()
    folder = Path(folder)
    modalities = tuple(m for m in MODALITIES if any(m in own.reads for own in inputs.values()))
    rows, runs = designs(modalities), {name: latents_run(name) for name in options.methods}
    cells: list[Cell] = [{"method": CLOSED, "design": d.name, "seed": 0} for d in rows if d.plain]
    for name, run in runs.items():
        # Seeds of a row together: a stopped study has complete rows.
        able = [d.name for d in rows if possible(d, run)]
        cells += [{"method": name, "design": d, "seed": s} for d in able for s in range(options.seeds)]
    if options.test_on:
        # Named after the other library, so that several tests can share one folder.
        cells = [{**cell, "tested on": options.test_on} for cell in cells]
    read = [(own.trained, own.tested) for own in inputs.values() if own.trained and own.tested]
    # Facts are those of the method with the most modalities.
    trained, tested = max(read, key=lambda pair: len(pair[1].modalities))
    about = about_data(trained.clips) | {"recipes": {name: asdict(run) for name, run in runs.items()}}
    about["latents"] = {name: about_data(own.trained.clips)["encoders"] for name, own in inputs.items() if own.trained}
    if options.test_on:
        about["data"] |= {"test": len(tested.split("test")), "tested on": data_revision(tested)}
    labels = [label_of.get(i, "") for i in tested.ids.tolist()]
    measure = partial(_measure, inputs, labels, {d.name: d for d in rows}, folder, len(modalities))
    results = run_grid(folder, cells, measure, about=about, redo=options.redo)
    queries = {cell_key(r.cell): _read(folder, r.cell) for r in results if not r.error}
    return write_report(folder, Findings(results, queries, tested.groups.numpy()), rows, about=about)


def _complete(data: Mapping[str, LatentData], splits: Sequence[str]) -> dict[str, LatentData]:
    """The clips with every modality of every method, the same for all rows."""
    whole = {name: own.joined(at_least=len(own.modalities)) for name, own in data.items()}
    shared = set.intersection(*(set(own.ids.tolist()) for own in whole.values()))
    whole = {name: own.take(np.isin(own.ids, list(shared))) for name, own in whole.items()}
    widest = max(data.values(), key=lambda own: len(own.modalities))
    if left := len(widest) - len(shared):
        say(f"{left:,} of {len(widest):,} clips lack a modality and are left out: every row uses the same clips")
    held = next(iter(whole.values()))
    for split in splits:
        if (have := len(held.split(split))) < 2:
            needed, where = ", ".join(widest.modalities), "every split" if len(splits) > 1 else f"split {split!r}"
            raise SeehearError(f"the study needs two clips with {needed} in {where}; {split} has {have}")
    return whole


def _measure(
    inputs: Mapping[str, _MethodInputs],
    labels: Sequence[str],
    rows: Mapping[str, Design],
    folder: Path,
    of: int,
    cell: Cell,
) -> dict[str, float]:
    """Numbers of the cell. Writes the scores of its queries to `queries`, for intervals over recordings."""
    design, own = rows[str(cell["design"])], inputs[str(cell["method"])]
    if missing := [m for m in design.modalities if m not in own.reads]:
        raise SeehearError(
            f"{cell['method']} reads vectors, and the library has {' and '.join(missing)} only as words or frames: "
            "encode them with an encoder of vectors, too"
        )
    assert own.tested is not None
    vectors = _embedded(own, design, cell, folder, of=of)
    found = measures(vectors, own.tested.splits, labels, seed=int(cell["seed"] or 0))
    arrays = {f"{name}/{what}": a for name, scored in found.queries.items() for what, a in vars(scored).items()}
    path = folder / "queries" / f"{cell_key(cell)}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Before the cell is written: a cell without its scores could not be reported.
    np.savez(path, **arrays)
    # The weights have done their work, and a study has many of them.
    if cell["method"] != CLOSED:
        remove_run(folder / "runs" / cell_key(cell))
    return found.values


def _embedded(own: _MethodInputs, design: Design, cell: Cell, folder: Path, *, of: int) -> Vectors:
    """The tested clips in every space of the cell's model, which is trained unless it is a closed form."""
    assert own.trained is not None
    assert own.tested is not None
    part, tested = own.trained.clips.only(design.modalities), own.tested.only(design.modalities)
    if cell["method"] == CLOSED:
        return {"joint": embed_latents(fusemix.start_of(fusemix.base().method, part), tested)}
    made = own.trained.contexts and own.trained.contexts.only(design.modalities)
    run = run_of(design, latents_run(str(cell["method"])), of=of, seed=int(cell["seed"] or 0))
    model = finished(LatentInputs(part, contexts=made), run, folder / "runs" / cell_key(cell))
    return {space: embed_latents(model, tested, space=space) for space in model.spaces}


def _read(folder: Path, cell: Cell) -> dict[str, Answered]:
    path = folder / "queries" / f"{cell_key(cell)}.npz"
    try:
        with open_npz(path) as arrays:
            names = {name.rpartition("/")[0] for name in arrays.files}
            return {name: Answered(arrays[f"{name}/scores"], arrays[f"{name}/clips"]) for name in sorted(names)}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        cell_file = folder / "cells" / f"{cell_key(cell)}.json"
        raise SeehearError(f"{path} cannot be read: remove {cell_file}, and it is measured again") from error


# ----------------------------------------------------------------------------------------------------------------------
# Measures of a row, from the vectors of all clips in every space of a model.

Vectors = Mapping[str, Mapping[Modality, Embedded]]
"""By space, by modality; owners are row numbers of the clips."""
_METRICS = ("R@1", "R@5", "R@10", "median_rank")
_FUSED = "text->video+audio"


@dataclass(frozen=True)
class _RowMeasures:
    values: dict[str, float]
    queries: dict[str, Answered]
    """Scores by measure, for measures that are means over queries."""


def measures(vectors: Vectors, splits: np.ndarray, labels: Sequence[str], *, seed: int) -> _RowMeasures:
    """Retrieval among the test clips and, with two labels or more ('' is none), probes of each modality and clusters.
    Fitted on train, chosen on val, measured on test."""
    found = _RowMeasures({}, {})
    inside = splits == "test"
    _retrieved(found, {space: within(own, inside) for space, own in vectors.items()}, np.flatnonzero(inside))
    if len({label for label in labels if label}) > 1:
        _probed(found, vectors, splits, labels)
        found.values.update(_clustered(vectors, splits, labels, seed))
    return found


def _retrieved(found: _RowMeasures, vectors: Vectors, clips: np.ndarray) -> None:
    """Adds every direction, in the smallest space that holds both, and text against video and audio together."""
    for query, gallery, q, g in directions(vectors, vectors):
        _scores(found, f"{query}->{gallery}", q, g, clips)
    if {"video", "audio", "text"} <= {m for own in vectors.values() for m in own}:
        _scores(found, _FUSED, *_fused(vectors), clips)


def _fused(vectors: Vectors) -> tuple[Embedded, Embedded]:
    """(text, video+audio): the mean direction in one space, or the sum of the cosines of two as one product."""
    if space := smallest_space(vectors, "video", "audio", "text"):
        return vectors[space]["text"], fuse([vectors[space]["video"], vectors[space]["audio"]])
    sides = [(m, smallest_space(vectors, m, "text")) for m in ("video", "audio")]
    pairs = [(vectors[space][m], vectors[space]["text"]) for m, space in sides if space]
    # Side by side, so that one inner product is the sum of two cosines.
    gallery, query = (np.concatenate([pair[i].vectors for pair in pairs], axis=1) for i in (0, 1))
    return Embedded(unit(query), pairs[0][1].owner), Embedded(unit(gallery), pairs[0][0].owner)


def _scores(found: _RowMeasures, name: str, query: Embedded, gallery: Embedded, clips: np.ndarray) -> None:
    result = retrieval(query.vectors, gallery.vectors, query.owner, gallery.owner)
    found.values.update({f"{name} {metric}": result.metrics[metric] for metric in _METRICS})
    found.queries[f"{name} R@10"] = Answered(result.per_query["R@10"], clips[query.owner[result.rows]])


def _probed(found: _RowMeasures, vectors: Vectors, splits: np.ndarray, labels: Sequence[str]) -> None:
    """Adds logistic regression on the vectors of video and of audio, in the smallest space that holds each."""
    for m in ("video", "audio"):
        if (space := smallest_space(vectors, m)) is None:
            continue
        own = vectors[space][m].one_each()
        # A clip without a label is neither right nor wrong.
        known = np.array([bool(labels[c]) for c in own.owner])
        rows = {split: np.flatnonzero((splits[own.owner] == split) & known) for split in ("train", "val", "test")}
        if all(len(some) for some in rows.values()):
            parts = [Labelled(own.vectors[some], [labels[c] for c in own.owner[some]]) for some in rows.values()]
            # Chosen on validation clips, as for every probe here.
            result = linear_probe(*parts)
            found.values[f"{m} probe"] = result.metrics["top1"]
            found.queries[f"{m} probe"] = Answered(result.per_query["top1"], own.owner[rows["test"]])


def _clustered(vectors: Vectors, splits: np.ndarray, labels: Sequence[str], seed: int) -> dict[str, float]:
    """Agreement of labels and clusters of the test clips: k-means on the training clips' fused vectors, k labels."""
    # The space with the most modalities.
    space = max(vectors, key=lambda name: len(vectors[name]))
    fused = fuse(list(vectors[space].values()))
    known = np.array([bool(labels[c]) for c in fused.owner])
    train = torch.from_numpy(fused.vectors[splits[fused.owner] == "train"])
    test = np.flatnonzero((splits[fused.owner] == "test") & known)
    kinds = len({label for label in labels if label})
    # Fewer clips than clusters have no k-means.
    if len(train) < kinds or not len(test):
        return {}
    # By the seed of the cell: its starting points vary with the rest of it.
    generator = torch.Generator().manual_seed(seed_of(seed, "clusters of the study"))
    centroids_KE = kmeans(train, starting_points(train, kinds, generator)).centroids_KE
    cluster = assign(torch.from_numpy(fused.vectors[test]), centroids_KE).numpy()
    found = agreement([labels[c] for c in fused.owner[test]], cluster)
    return {f"clusters {name}": value for name, value in found.items()}
