"""Report of an evaluated run: `report.html` beside its `evaluation.json`.

Numbers come from the JSON. The run's log, the library, vectors of the evaluated split, pictures and sounds are read
when the page is made; it states which of them are missing and shows the rest.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup

from seehear.datasets.protocol_run import encoders_here
from seehear.errors import SeehearError, check_range, read_json
from seehear.evaluation.embedded import Embedded, embed_latents
from seehear.evaluation.report import HTML_NAME, JSON_NAME, QUERIES_NAME, EvaluationReport
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.tables import Clip, LibraryTables, one_of, quote
from seehear.methods.base import Method
from seehear.nn.flops import count_flops
from seehear.nn.random import Randomness
from seehear.progress import clock, counted
from seehear.report.examples import Example, example_card, examples
from seehear.report.health import health_section
from seehear.report.media import Excerpts, read_excerpts
from seehear.report.numbers import confusion_section, direction, other_sections, retrieval_section, shape_section
from seehear.report.page import Section, curve, page, part, render
from seehear.runs.bench import space_names
from seehear.runs.evaluate import data_revision, same_encoders, trained_on
from seehear.space import SharedSpace, model_folder, read_config
from seehear.train.config import read_metrics
from seehear.train.files import write_text
from seehear.train.optim import gradients
from seehear.types import Modality

FILES = {JSON_NAME: "all numbers", QUERIES_NAME: "every query"}
"""Files of an evaluation, and their contents."""
NONE = Markup()
_MEGABYTE = 1_000_000
# Megabytes reserved for everything but pictures and sounds: ten times the usual size
_REST = 1.0
_CURVES = 6
_ROWS = 512  # largest batch for counting the operations of a step


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    examples: int = 5
    """Number of example queries per direction, from the best rank to the worst."""
    megabytes: float = 5.0
    """Largest size of the page; further pictures and sounds are left out."""
    workers: int = 1
    """Number of processes that read pictures and sounds."""

    def __post_init__(self) -> None:
        check_range(self, "[0, inf)", "workers")
        if self.examples < 0 or not self.megabytes >= 2 * _REST:
            raise SeehearError(f"a report has 0 examples or more, and {2 * _REST:g} megabytes at least")


def write_report(
    run: str | Path,
    library: LibraryTables | str | Path | None = None,
    options: ReportOptions | None = None,
    *,
    out: str | Path | None = None,
) -> Path:
    """Writes the page of an evaluated run beside its numbers, in `out` or the run's folder, and returns its path. The
    default library is the one it was evaluated on."""
    run, options = Path(run), options or ReportOptions()
    folder = run if out is None else Path(out)
    text = run_page(run, EvaluationReport.load(folder), library, options, folder)
    write_text(folder / HTML_NAME, text)
    return folder / HTML_NAME


def run_page(
    run: Path,
    report: EvaluationReport,
    library: LibraryTables | str | Path | None,
    options: ReportOptions,
    folder: Path | None = None,
) -> str:
    """The page of a report whose numbers are in `folder`, by default the run's."""
    opened, own, warnings = open_evaluated(run, report, library)
    shown = training = NONE
    if opened is not None:
        warnings += opened.warnings
        shown = example_section(opened, opened.vectors, report, options)
        training = _training_section(run, opened.space.method, opened.data)
    verdict, folder = report.about.get("verdict", ""), folder or run
    # Relative: a page below the run's folder links back to the run's settings, wherever the run is moved to.
    files = FILES | {os.path.relpath(run / "config.json", folder): "all settings"}
    sections = [
        Section("examples", "Examples", shown),
        Section("retrieval", "What training added", retrieval_section(report, own, training=verdict)),
        Section("others", "Classes, labels, correspondence", other_sections(report, own), folded=True),
        *closing_sections(run, report, own, opened, training),
    ]
    method = own[0].partition("/")[0]
    return page(
        f"{run.name}{'' if run.name == method else f' ({method})'} on the {report.split} clips",
        lead(run, folder, report, warnings, {"files": part("parts.html", "links", files)}),
        sections,
    )


# -- data beside the numbers -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Opened:
    """Library, model and clips of an evaluation."""

    library: LibraryTables
    space: SharedSpace
    data: LatentData
    """Clips of the evaluated split."""
    warnings: tuple[str, ...]

    @cached_property
    def vectors(self) -> dict[str, dict[Modality, Embedded]]:
        """Vectors by the space's name in the report."""
        method = self.space.method
        return {name: embed_latents(self.space, self.data, space=s) for s, name in space_names(method).items()}

    def clips(self, names: Sequence[str]) -> dict[str, Clip]:
        """Clips by id, of the existing ones."""
        return {clip.id: clip for clip in self.library.clips(one_of("id", dict.fromkeys(names)))} if names else {}


def open_evaluated(
    run: Path, report: EvaluationReport, library: LibraryTables | str | Path | None = None
) -> tuple[_Opened | None, list[str], list[str]]:
    """(data of the evaluation, names of the run's spaces in the report, warnings of the report). If the data cannot be
    read, there are none, and one more warning."""
    try:
        if library is None:
            named = str(report.about.get("dataset_name", ""))
            # The library may have moved since: then the run knows where it was trained.
            library = named if "://" in named or Path(named).is_dir() else trained_on(run)
        opened = library if isinstance(library, LibraryTables) else LibraryTables.open(library)
        # The CPU: a report must not need the machine that trained.
        space = SharedSpace.from_pretrained(run, device="cpu")
        data = load_latents(opened, encoders=encoders_here(space, opened), where=f"split = {quote(report.split)}")
        same_encoders(data, space.encoders, opened)
    except SeehearError as error:
        return None, report.models()[:1], [*report.warnings, f"only the numbers could be shown: {error}"]
    warnings = []
    # A report that names no revision cannot be compared, and gets no warning.
    if report.about.get("model_revision", space.fingerprint) != space.fingerprint:
        warnings.append("the model is not the one that was evaluated: evaluate again")
    if report.about.get("dataset_revision", "") != data_revision(data):
        warnings.append("the library has changed since the evaluation: examples and numbers may differ, evaluate again")
    spaces = list(space_names(space.method).values())
    return _Opened(opened, space, data, tuple(warnings)), spaces, list(report.warnings)


# -- parts -------------------------------------------------------------------------------------------------------------


def lead(
    run: Path,
    folder: Path,
    report: EvaluationReport,
    warnings: Sequence[str],
    known: dict[str, Any],
    notes: Sequence[str] = (),
) -> Markup:
    """Verdict, warnings, notes and sources of a page. `folder`: that of the report's numbers; `known`: more sources."""
    about, numbers, evaluated = report.about, folder / JSON_NAME, None
    if numbers.is_file():
        # The time of the numbers and not of the page, which may be written again much later.
        evaluated = f"{datetime.fromtimestamp(numbers.stat().st_mtime, UTC):%Y-%m-%d %H:%M} UTC"
    clips = about.get("clips", {}).get(report.split)
    encoders = [f"{m} by {', '.join(e['name'] for e in infos)}" for m, infos in about.get("encoders", {}).items()]
    sources = {
        "run": str(run),
        "library": about.get("dataset_name"),
        "split": f"{report.split}, {counted(clips, 'clip')}" if clips is not None else report.split,
        "encoders": "; ".join(encoders),
        "evaluated": evaluated,
    } | known
    return render("lead.html", verdict=report.verdict(), warnings=warnings, about="", notes=notes, known=sources)


def closing_sections(
    run: Path, report: EvaluationReport, own: Sequence[str], opened: _Opened | None, training: Markup = NONE
) -> list[Section]:
    """Folded sections at the end of a page of numbers. Those whose data cannot be read are empty: a warning says so."""
    space = shape_section(report, opened.vectors) if opened else NONE
    data = health_section(opened.library, split=report.split) if opened else NONE
    return [
        Section("confusion", "Confusions", confusion_section(report, own), folded=True),
        Section("space", "The space", space, folded=True),
        Section("training", "Training", training, folded=True),
        Section("data", "The data", data, folded=True),
        Section("reproduce", "How to reproduce", _reproduce_section(run, report), folded=True),
    ]


def example_section(
    opened: _Opened,
    spaces: Mapping[str, Mapping[str, Embedded]],
    report: EvaluationReport,
    options: ReportOptions,
    *,
    scored: str = "cosine",
) -> Markup:
    """Example queries of every direction with vectors in `spaces`, in the first such space of the report."""
    ids: Any = opened.data.ids
    chosen: dict[str, list[Example]] = {}
    groups: dict[str, int] = {}
    for result in report.results:
        sides = result.task.split("->")
        vectors = spaces.get(result.model, {})
        if result.kind == "retrieval" and result.task not in chosen and len(sides) == 2 and set(sides) <= set(vectors):
            query, gallery = (vectors[m] for m in sides)
            chosen[result.task] = examples(result, query, gallery, ids, count=options.examples)
            groups[result.task] = result.counts["groups"]
    shown = [e for some in chosen.values() for e in some]
    if not shown:
        return NONE
    clips = opened.clips([item.clip for e in shown for item in (e.query, e.right, *e.first)])
    excerpts = read_excerpts(opened.library, clips, [k for e in shown for k in e.media], workers=options.workers)
    media = Excerpts(excerpts, budget=int((options.megabytes - _REST) * _MEGABYTE))
    # Searches by words first, as most users search; the budget for media is spent in this order.
    order = sorted(filter(chosen.get, chosen), key=lambda task: (not task.startswith("text->"), -groups[task]))
    directions = []
    for task in order:
        cards = [(e.found, example_card(e, clips, media, scored=scored)) for e in chosen[task]]
        directions.append((f"{direction(task)} ({len(cards)})", cards))
    return render(
        "examples.html", shown=options.examples, failed=media.failed, excerpts=len(excerpts), directions=directions
    )


def _reproduce_section(run: Path, report: EvaluationReport) -> Markup:
    about = report.about
    config = run / "config.json"
    settings = read_json(config, "copy it again from where the run was trained") if config.is_file() else {}
    versions = [f"{name} {version}" for name, version in about.get("versions", {}).items()]
    machine = about.get("machine", {})
    known = {
        "versions": ", ".join(versions),
        "code": about.get("code_revision"),
        "data": about.get("dataset_revision"),
        "model": about.get("model_revision"),
        "seeds": f"training {settings.get('train', {}).get('seed', 'unknown')}, bootstrap {about.get('seed', 0)}",
        "machine": ", ".join(f"{name} {value}" for name, value in machine.items()),
    }
    library, name = settings.get("library") or "LIBRARY", settings.get("recipe", "")
    return render(
        "reproduce.html",
        evaluated=about.get("command", ""),
        # A run that was trained from Python has no line: the nearest command is shown.
        trained=settings.get("command") or f"seehear train {library} {name}" if settings else "",
        settings=json.dumps(settings, indent=1, ensure_ascii=False) if settings else "",
        known=known,
    )


# -- training ----------------------------------------------------------------------------------------------------------


def _training_section(run: Path, method: Method, data: LatentData) -> Markup:
    """Curves, speed and cost of a step, from `metrics.jsonl` and the model's notes as far as they exist."""
    entries = read_metrics(run / "metrics.jsonl") if (run / "metrics.jsonl").is_file() else []
    noted = read_config(model_folder(run)).get("training", {})
    best = noted.get("step")
    names = dict.fromkeys(k for entry in entries for k in entry if k == "val/score" or k.startswith("loss"))
    panels = []
    # The total loss and the score first; a method may log many terms.
    for name in sorted(names, key=lambda n: (n != "loss", n != "val/score", n))[:_CURVES]:
        points = [(e["step"], e[name]) for e in entries if e.get(name) is not None]
        if len(points) > 1:
            x, y = zip(*points, strict=True)
            if name == "val/score":
                title = "validation score, %"
                drawn = curve(x, y, label=title, show=lambda value: f"{100 * value:.1f}", marked=best)
            else:
                title = name.replace("/", ": ")
                drawn = curve(x, y, label=title)
            panels.append((title, drawn))
    return render("training.html", known=_facts(entries, noted, method, data), panels=panels)


def flops_of_step(method: Method, data: LatentData) -> tuple[int, int] | None:
    """(floating-point operations, rows) of a training step, forward and backward, on the given clips. None for a method
    with towers for media, which latents bypass, and for fewer than two clips with two modalities."""
    data = data.joined()
    # An even number of rows; 0 for a single clip.
    rows = min(_ROWS, len(data)) // 2 * 2
    if method.reads_media or type(method).encode is Method.encode or not rows:
        return None
    # A copy: counting runs a step, which changes buffers and gradients.
    learner = deepcopy(method).cpu().train().requires_grad_(True)
    batch = data.batch(torch.arange(rows))
    # Counting needs the operations and not their results: any seed and step do.
    rng = Randomness(0, 0, 0, rows, rows, torch.device("cpu"))
    return count_flops(lambda: gradients(learner, batch, progress=0.0, rng=rng)), rows


def _facts(entries: list[dict[str, Any]], noted: Mapping[str, Any], method: Method, data: LatentData) -> dict[str, str]:
    speeds = [e["rows_per_second"] for e in entries if e.get("rows_per_second")]
    counted = flops_of_step(method, data)
    step = max((e["step"] for e in entries if "loss" in e), default=0)
    facts = {
        "method": method.name,
        "parameters": f"{sum(p.numel() for p in method.parameters()):,}, beside its encoders",
        "training clips": f"{noted['clips']:,}" if "clips" in noted else "",
        "steps": f"{step:,}" + (f", weights of step {noted['step']:,}" if "step" in noted else "") if step else "",
        "time": clock(noted["seconds"]) if "seconds" in noted else "",
        "throughput": f"{statistics.median(speeds):,.0f} clips a second (median over the log)" if speeds else "",
    }
    if counted:
        flops, rows = counted
        facts["a step's operations"] = (
            f"{flops / 1e9:,.2f} GFLOP for {rows:,} clips, {flops / rows / 1e6:,.2f} MFLOP a clip, forward and backward"
        )
    return facts
