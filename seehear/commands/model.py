"""`plan`, `train`, and how good a model is: `evaluate`, `report`, `compare`, `leakage`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from seehear import distributed
from seehear.commands.parsing import Flat, command_line, show
from seehear.datasets.protocol_run import Fusion, ProtocolReport, evaluate_protocol
from seehear.errors import SeehearError, check_range, unknown
from seehear.evaluation.report import JSON_NAME, compare_runs
from seehear.evaluation.report import EvaluationReport as Evaluated
from seehear.evaluation.results import MAIN
from seehear.library.tables import SPLITS, Library
from seehear.library.workers import cores
from seehear.progress import counted, say
from seehear.report.protocol import write_protocol
from seehear.report.run import ReportOptions, write_report
from seehear.runs.choose import Choice, choose
from seehear.runs.config import recipe, recipes
from seehear.runs.evaluate import EvaluateOptions, evaluate_run, evaluation_folder, trained_on
from seehear.runs.run import Run, train_run
from seehear.space import model_folder, read_config
from seehear.space.saved import verdict_of
from seehear.studies.leakage import check_leakage
from seehear.studies.plan import PlanOptions, plan


@dataclass(frozen=True, kw_only=True)
class _Train:
    """Learn one shared space from a library, and say whether that was worth it: the trained model, the closed form and
    the frozen spaces are compared on the validation clips.

    Without a recipe it chooses: `fusemix` where clips have words of your own, `fusemix.bind` where they have picture
    and sound, nothing where there is too little to learn from; and the run holds what is best, if need be the frozen
    space. With a recipe the run holds the trained model. `fusemix` and `mcn` are what is best on validation, `.paper`
    is what was published; their options, with their values as defaults, are listed by `seehear train lib RECIPE
    --help`. With torchrun it trains on several processes. A run folder that holds a run is never overwritten: --resume
    goes on with it.

    Example: seehear train lib
    """

    library: Positional[str]
    recipe: Positional[str] = ""
    """On latents: fusemix (that is fusemix.base), fusemix.bind, fusemix.paper, mcn (mcn.base), mcn.tiny, mcn.paper. On
    the media themselves: fusemix.tuned; vatt, also .small, .base, .medium and .paper, and vatt-ma.medium; mavil or
    diffmavil, also .small and .base, diffmavil.lean and mavil.stage2; the name alone is the tiny one, for a laptop.
    Without: what suits the library."""
    out: Path | None = None
    """Folder of the run; runs/RECIPE when not given."""
    resume: bool = False
    """Go on with the run in that folder."""
    json: bool = False
    """Print what came out as JSON."""

    def run(self) -> None:
        library = Library.open(self.library)
        options: Run[Any, Any] | None = getattr(self, "options", None)  # added by `train` where a recipe is named
        name = self.recipe
        if options is None:
            choice = choose(library)
            if not choice.recipe:
                return self._nothing(library, choice)
            say(f"{choice.why}: {choice.recipe}")
            name, options = choice.recipe, recipe(choice.recipe)
        folder = self.out or Path("runs") / name
        command = command_line(self)
        result = train_run(library, options, folder, resume=self.resume, command=command, keep_best=not self.recipe)
        if distributed.rank() != 0:
            return
        verdict = verdict_of(folder)
        if self.json:
            plain = asdict(result) | {"folder": str(folder), "model": str(folder / "model"), "verdict": verdict}
            show(plain, as_json=True)
        else:
            words = f"{verdict['words']}\n" if verdict else ""
            print(f"{words}model: {folder / 'model'}\nnext: {_next_commands(library, folder)}")

    def _nothing(self, library: Library, choice: Choice) -> None:
        if self.json:
            show({"folder": None, "verdict": {"words": choice.why}}, as_json=True)
        else:
            print(f"{choice.why}\nnext: {shlex.join(['seehear', 'index', library.uri])}")


def train(words: Sequence[str]) -> type[_Train]:
    """The recipe's name decides the defaults of all other options, so it is looked for first: the second word, or
    behind options any word that is one. Without a recipe there are no options of one."""
    name = words[1] if len(words) > 1 and not any(w.startswith("-") for w in words[:2]) else ""
    name = name or next((word for word in words if word in recipes()), "")
    if not name:
        return _Train
    default = recipe(name)
    kind: Any = type(default)
    options = ("options", Annotated[kind[type(default.data), type(default.method)], Flat], field(default=default))
    made = make_dataclass("Train", [options], bases=(_Train,), frozen=True, kw_only=True)
    made.__doc__ = _Train.__doc__
    return made


def _next_commands(library: Library, folder: Path) -> str:
    """`evaluate` only where the library has the clips that it needs, and `index`."""
    modalities = read_config(model_folder(folder))["encoders"] or ("video", "audio", "text")
    has = ["array_length(texts) > 0" if m == "text" else f"has_{m}" for m in modalities]
    pairs = " OR ".join(f"({one} AND {other})" for one, other in combinations(has, 2))
    index = shlex.join(["seehear", "index", library.uri, str(folder)])
    if pairs and library.table("clips").count_rows(f"split = 'test' AND ({pairs})") >= 2:
        return f"{shlex.join(['seehear', 'evaluate', str(folder)])}; {index}"
    return f"{index} (evaluate needs two clips of the split test with two modalities of the run)"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Estimate the cost of each recipe on a library and this machine before training.

    A few steps of the real training on the library's own clips, in a process of their own and never kept: parameters,
    floating-point operations, memory and hours of the whole run, and why a recipe does not fit. All recipes share about
    a minute (--seconds). Times that are scaled or estimated say so, and recipes that were not measured too. Ctrl-C ends
    it with what is known by then.

    Example: seehear plan lib --recipes fusemix vatt.tiny
    """

    library: Positional[str]
    options: Annotated[PlanOptions, Flat] = field(default_factory=PlanOptions)
    json: bool = False
    """Print as JSON."""

    def run(self) -> None:
        show(plan(Library.open(self.library), self.options), as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a run on held-out clips, beside chance, the frozen encoders and the closed forms.

    Retrieval for every ordered pair of modalities and for fused queries, and classification by class names where clips
    have labels, with 95 % intervals over source recordings. Printed are the verdict in two or three sentences and where
    the page is; report.html in the run's folder has all numbers, with examples to see and hear, and evaluation.json the
    numbers alone. Another library or split has a folder of its own,
    RUN/evaluations/LIBRARY-SPLIT: it never overwrites them.

    With --protocol the run is measured as papers are (docs/protocols.md), and their numbers stand beside it; its files
    are in protocols/NAME in the run's folder.

    Example: seehear evaluate runs/fusemix
    """

    run_folder: Positional[Path]
    library: str | None = None
    """Another library than the one it was trained on."""
    out: Path | None = None
    """Another folder for the numbers and the page. Not with --protocol."""
    protocol: str = ""
    """msrvtt-1kA, youcook2-clips, crosstask, ...: of a library that was imported for it."""
    fusion: Fusion = "sum"
    """Under a protocol: video and sound of a clip as the sum of the vectors that the method compares, or as the mean of
    unit vectors."""
    options: Annotated[EvaluateOptions, Flat] = field(default_factory=EvaluateOptions)
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    html: bool = True
    """Also report.html, one file that opens without a network."""
    page: Annotated[ReportOptions, Flat] = field(default_factory=ReportOptions)
    details: bool = False
    """Print all tables, as the page has them."""
    json: bool = False
    """Print the numbers as JSON."""

    def run(self) -> None:
        command = command_line(self)
        if self.protocol:
            if self.out:
                raise SeehearError("--out and --protocol: leave one out, a protocol has its folder protocols/NAME")
            found = evaluate_protocol(
                self.run_folder, self.protocol, self.library, fusion=self.fusion, device=self.device, command=command
            )
            self._show(found)
            if self.html:
                say(f"report: {write_protocol(self.run_folder, found, self.page)}")
            return
        out = self.out or evaluation_folder(self.run_folder, self.library, self.options.split)
        report = evaluate_run(self.run_folder, self.library, self.options, device=self.device, command=command, out=out)
        self._show(report)
        if self.html:
            say(f"report: {write_report(self.run_folder, self.library, self.page, out=out)}")
        else:
            say(f"numbers: {out / JSON_NAME}")
        if not self.json:
            words = ["seehear", "index", self.library or trained_on(self.run_folder), str(self.run_folder)]
            say(f"next: {shlex.join(words)}")

    def _show(self, found: Evaluated | ProtocolReport) -> None:
        show(found if self.json or self.details else found.summary(), as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Make report.html of an evaluated run again: with more examples, or after its media came back.

    Numbers are those of evaluation.json; pictures, sounds and what is said of the data are read anew.

    Example: seehear report runs/fusemix --examples 12
    """

    run_folder: Positional[Path]
    library: str | None = None
    """Another place of the library than where it was evaluated."""
    out: Path | None = None
    """Folder of the evaluation, where it is not the run's: runs/fusemix/evaluations/other."""
    page: Annotated[ReportOptions, Flat] = field(default_factory=ReportOptions)
    json: bool = False
    """Print as JSON where it is."""

    def run(self) -> None:
        path = write_report(self.run_folder, self.library, self.page, out=self.out)
        show({"report": str(path)} if self.json else path, as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare two evaluated runs query by query: the second minus the first, with intervals and p values.

    Both must have been evaluated on the same library ('seehear evaluate'). Queries are paired, and whole recordings are
    resampled: far sharper than comparing two intervals.

    Example: seehear compare runs/old runs/new
    """

    first: Positional[Path]
    second: Positional[Path]
    model_first: str = ""
    """A model in the first report, 'cca' say; its run's own when not given."""
    model_second: str = ""
    """The same for the second."""
    json: bool = False
    """Print as JSON."""

    def run(self) -> None:
        found = compare_runs(
            self.first, self.second, model_a=self.model_first or None, model_b=self.model_second or None
        )
        if self.json:
            show({t: {n: asdict(c) for n, c in own.items()} for t, own in found.items()}, as_json=True)
            return
        compared = [own[name] for own in found.values() for name in MAIN.values() if name in own]
        ahead, behind = (sum(s * c.low > 0 < s * c.high for c in compared) for s in (1, -1))
        print(
            f"{self.second} minus {self.first}, the same queries: ahead in {ahead} of "
            f"{counted(len(compared), 'task')}, behind in {behind}; "
            f"{len(compared) - ahead - behind} cannot be told apart (95 % intervals)"
        )
        for task, own in found.items():  # the main measure of each task, and R@1 and R@10 of retrieval
            for name in [n for n in (*dict.fromkeys(MAIN.values()), "R@1", "R@10") if n in own]:
                print(f"{task:24} {name:8} {own[name]}")


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """Look for held-out clips among the training clips: by file, recording, words and latents, and with --media by
    picture and sound.

    Example: seehear leakage lib --media
    """

    library: Positional[str]
    split: str = "test"
    """Split whose clips are looked for."""
    media: bool = False
    """Also decode every clip and compare pictures and sounds: finds copies under other names and encodings."""
    threshold: float = 0.95
    """Cosine of frozen latents, their mean taken out, from which two clips count as the same."""
    workers: int = field(default_factory=cores)
    """Processes that decode."""
    json: bool = False
    """Print every pair as JSON."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        check_range(self, "[-1, 1]", "threshold")
        check_range(self, "[0, inf)", "workers")

    def run(self) -> None:
        report: Any = check_leakage(
            self.library, split=self.split, media=self.media, threshold=self.threshold, workers=self.workers
        )
        show(report, as_json=self.json)
