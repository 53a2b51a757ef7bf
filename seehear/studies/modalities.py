"""What does each modality, each pair, each term of the loss and each shared space add?

Every row is trained on the same clips, those that have all modalities, with the same steps and seeds, and is measured
on the same held-out clips (`modality_measures.py`). Answers are differences between rows, paired by seed
(`modality_report.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from seehear.errors import SeehearError
from seehear.evaluation.embedded import embed_latents
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.tables import Library
from seehear.npz import open_npz
from seehear.progress import say
from seehear.recipes import fusemix
from seehear.studies.designs import Design, designs, latents_run, possible, run_of
from seehear.studies.figure import require_figures
from seehear.studies.grid import Cell, cell_key, run_grid
from seehear.studies.modality_measures import Answered, Vectors, measures
from seehear.studies.modality_report import Findings, write_report
from seehear.studies.table import Study
from seehear.studies.trained import about_data, finished, remove_run
from seehear.types import Modality

CLOSED = "closed form"
"""The method of rows without training: the closed form that is best on validation."""


@dataclass(frozen=True, kw_only=True)
class ModalityOptions:
    methods: tuple[str, ...] = ("mcn.tiny",)
    """Recipes by name, between spaces or commas. The closed form that is best on validation is always beside them."""
    seeds: int = 3
    """So many runs of each row."""
    encoders: dict[Modality, tuple[str, ...]] = field(default_factory=dict)
    """Encoders by modality; empty: all that the library has latents of."""
    redo: bool = False
    """Measure again what is there of other data or settings."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", tuple(n for name in self.methods for n in name.split(",") if n))
        if self.seeds < 1:
            raise SeehearError(f"seeds: a row needs one seed at least; got {self.seeds}")


def study_modalities(library: Library, folder: str | Path, options: ModalityOptions | None = None) -> Study:
    """Measures what is not measured yet; writes `study.json`, `table.md` and the figure."""
    options = options or ModalityOptions()
    data = load_latents(library, encoders=options.encoders or None)
    one_label = {clip.id: clip.labels[0] for clip in library.clips("array_length(labels) = 1")}
    return study_of(data, [one_label.get(i, "") for i in data.ids.tolist()], folder, options)


def study_of(data: LatentData, labels: Sequence[str], folder: str | Path, options: ModalityOptions) -> Study:
    """The same of latents at hand; `labels` has one for each clip, '' where there is none."""
    require_figures()
    folder, label_of = Path(folder), dict(zip(data.ids.tolist(), labels, strict=True))
    data = complete(data)
    labels = [label_of[i] for i in data.ids.tolist()]
    rows, runs = designs(data.modalities), {name: latents_run(name) for name in options.methods}
    cells: list[Cell] = [{"method": CLOSED, "design": d.name, "seed": 0} for d in rows if d.plain]
    for name, run in runs.items():
        able = [d.name for d in rows if possible(d, run)]
        cells += [{"method": name, "design": d, "seed": s} for d in able for s in range(options.seeds)]
    about = about_data(data) | {"recipes": {name: asdict(run) for name, run in runs.items()}}
    measure = partial(_measure, data, labels, {d.name: d for d in rows}, folder)
    results = run_grid(folder, cells, measure, about=about, redo=options.redo)
    queries = {cell_key(r.cell): _read(folder, r.cell) for r in results if not r.error}
    return write_report(folder, Findings(results, queries, data.groups.numpy()), rows, about=about)


def complete(data: LatentData) -> LatentData:
    """The clips that have every modality: one list for all rows."""
    whole = data.joined(at_least=len(data.modalities))
    if left := len(data) - len(whole):
        say(f"{left:,} of {len(data):,} clips lack a modality and are left out: every row is of the same clips")
    for split in ("train", "val", "test"):
        if (have := len(whole.split(split))) < 2:
            needed = ", ".join(data.modalities)
            raise SeehearError(f"the study needs two clips with {needed} in every split; {split} has {have}")
    return whole


def _measure(
    data: LatentData, labels: Sequence[str], rows: Mapping[str, Design], folder: Path, cell: Cell
) -> dict[str, float]:
    """What each query scored is noted beside the cell, for intervals over recordings."""
    design, seed = rows[str(cell["design"])], int(cell["seed"] or 0)
    part = data.only(design.modalities)
    found = measures(_embedded(part, design, cell, folder, of=len(data.modalities)), part.splits, labels, seed=seed)
    arrays = {f"{name}/{what}": a for name, own in found.queries.items() for what, a in vars(own).items()}
    path = folder / "queries" / f"{cell_key(cell)}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    if cell["method"] != CLOSED:
        remove_run(folder / "runs" / cell_key(cell))
    return found.values


def _embedded(part: LatentData, design: Design, cell: Cell, folder: Path, *, of: int) -> Vectors:
    """The clips in every space of the cell's model, which is trained first where it must be."""
    seed = int(cell["seed"] or 0)
    if cell["method"] == CLOSED:
        return {"joint": embed_latents(fusemix.start_of(fusemix.base().method, part), part)}
    run_folder = folder / "runs" / cell_key(cell)
    run = run_of(design, latents_run(str(cell["method"])), of=of, seed=seed)
    model = finished(part, run, run_folder)
    return {space: embed_latents(model, part, space=space) for space in model.spaces}


def _read(folder: Path, cell: Cell) -> dict[str, Answered]:
    path = folder / "queries" / f"{cell_key(cell)}.npz"
    try:
        with open_npz(path) as arrays:
            names = {name.rpartition("/")[0] for name in arrays.files}
            return {name: Answered(arrays[f"{name}/scores"], arrays[f"{name}/clips"]) for name in sorted(names)}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        cell_file = folder / "cells" / f"{cell_key(cell)}.json"
        raise SeehearError(f"{path} cannot be read: remove {cell_file}, and it is measured again") from error
