"""`plan`, `train`, `evaluate`, `report`, `compare`, `leakage`: training a model and measuring it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from seehear import distributed
from seehear.commands.parsing import Flat, OnDevice, Printed, command_line
from seehear.datasets.protocol_run import Fusion, ProtocolReport, evaluate_protocol
from seehear.errors import SeehearError, check_range, unknown
from seehear.evaluation.report import JSON_NAME, compare_runs
from seehear.evaluation.report import EvaluationReport as Evaluated
from seehear.evaluation.results import MAIN
from seehear.library.tables import SPLITS, LibraryTables
from seehear.library.workers import cores
from seehear.progress import counted, say
from seehear.report.protocol import write_protocol
from seehear.report.run import ReportOptions, write_report
from seehear.runs.config import recipe, recipes
from seehear.runs.evaluate import EvaluateOptions, evaluate_run, evaluation_folder, trained_on
from seehear.runs.run import Run, choose, train_run
from seehear.space import model_folder, read_config
from seehear.space.saved import verdict_of
from seehear.studies.leakage import check_leakage
from seehear.studies.plan import PlanOptions, plan


@dataclass(frozen=True, kw_only=True)
class _Train(Printed):
    """Train one shared space on a library, and compare it with the closed form and the frozen spaces on the validation
    clips.

    Without a recipe one is chosen: `fusemix` where clips have your own texts, `fusemix.bind` where they have picture
    and sound, none where there is too little data; the run then keeps the best of the three, which may be the frozen
    space. With a recipe the run keeps the trained model. `fusemix` and `mcn` use the settings that validated best,
    `.paper` the published ones; `seehear train lib RECIPE --help` lists the options with their values. torchrun trains
    on several processes. An existing run is never overwritten: --resume continues it.

    Example: seehear train lib
    """

    library: Positional[str]
    recipe: Positional[str] = ""
    """On latents: fusemix (= fusemix.base), fusemix.bind, fusemix.paper, mcn (= mcn.base), mcn.tiny, mcn.paper. On
    media: fusemix.tuned; vatt, also .small, .base, .medium, .paper, and vatt-ma.medium; mavil or diffmavil, also .small
    and .base, diffmavil.lean and mavil.stage2; the name alone is the tiny model, for a laptop. Chosen by default."""
    out: Path | None = None
    """Folder of the run; runs/RECIPE by default."""
    resume: bool = False
    """Continue the run in that folder."""

    def run(self) -> None:
        library = LibraryTables.open(self.library)
        options: Run[Any, Any] | None = getattr(self, "options", None)  # added by `train` where a recipe is named
        name = self.recipe
        if options is None:
            # Too little data is an answer and no error: it is printed, and the status is 0.
            choice = choose(library)
            if not choice.recipe:
                plain = {"folder": None, "verdict": {"words": choice.why}}
                text = f"{choice.why}\nnext: {shlex.join(['seehear', 'index', library.uri])}"
                return self.show(plain if self.json else text)
            say(f"{choice.why}: {choice.recipe}")
            name, options = choice.recipe, recipe(choice.recipe)
        folder = self.out or Path("runs") / name
        command = command_line(self)
        # A named recipe is an experiment: its model is kept even if the closed form is better.
        result = train_run(library, options, folder, resume=self.resume, command=command, keep_best=not self.recipe)
        # Under torchrun, one process prints.
        if distributed.rank() != 0:
            return
        verdict = verdict_of(folder)
        if self.json:
            paths = {"folder": str(folder), "model": str(folder / "model")}
            self.show(asdict(result) | paths | {"verdict": verdict})
        else:
            words = f"{verdict['words']}\n" if verdict else ""
            print(f"{words}model: {folder / 'model'}\nnext: {_next_commands(library, folder)}")


def train(words: Sequence[str]) -> type[_Train]:
    """Command class with the options of the recipe among the words: the second word, or after options any recipe's
    name. The recipe decides the defaults of all other options, so it is looked for before parsing."""
    name = words[1] if len(words) > 1 and not any(w.startswith("-") for w in words[:2]) else ""
    name = name or next((word for word in words if word in recipes()), "")
    if not name:
        return _Train
    # tyro reads the defaults of a class before it parses the words: a recipe with other defaults is another class.
    default = recipe(name)
    kind: Any = type(default)
    # `Run` is generic: its two parameters give tyro the options of this recipe's data and method.
    options = ("options", Annotated[kind[type(default.data), type(default.method)], Flat], field(default=default))
    made = make_dataclass("Train", [options], bases=(_Train,), frozen=True, kw_only=True)
    # The text of --help, which `make_dataclass` would replace by a signature.
    made.__doc__ = _Train.__doc__
    return made


def _next_commands(library: LibraryTables, folder: Path) -> str:
    """Next commands: `index`, and `evaluate` where the library has the clips it needs."""
    modalities = read_config(model_folder(folder))["encoders"] or ("video", "audio", "text")
    has = ["array_length(texts) > 0" if m == "text" else f"has_{m}" for m in modalities]
    # One modality is ranked by another: clips with a single one are of no use to `evaluate`.
    pairs = " OR ".join(f"({one} AND {other})" for one, other in combinations(has, 2))
    # Quoted: the line is there to be pasted into a shell.
    index = shlex.join(["seehear", "index", library.uri, str(folder)])
    # Two at least: in a gallery of one clip every query is right.
    if pairs and library.table("clips").count_rows(f"split = 'test' AND ({pairs})") >= 2:
        return f"{shlex.join(['seehear', 'evaluate', str(folder)])}; {index}"
    return f"{index} (evaluate needs two clips of the split test with two modalities of the run)"


@dataclass(frozen=True, kw_only=True)
class Plan(Printed):
    """Estimate the cost of each recipe on a library and this machine before training.

    A few training steps on the library's own clips, in a separate process and not kept, give parameters, floating-point
    operations, memory and hours of the whole run, and the reason where a recipe does not fit. All recipes share about a
    minute (--seconds). Scaled and estimated times are marked, and so are recipes that were not measured. Ctrl-C prints
    the results so far.

    Example: seehear plan lib --recipes fusemix vatt.tiny
    """

    library: Positional[str]
    options: Annotated[PlanOptions, Flat] = field(default_factory=PlanOptions)

    def run(self) -> None:
        self.show(plan(LibraryTables.open(self.library), self.options))


@dataclass(frozen=True, kw_only=True)
class Evaluate(OnDevice, Printed):
    """Evaluate a run on held-out clips, beside chance, the frozen encoders and the closed forms.

    Retrieval for every ordered pair of modalities and for fused queries, and classification by class names where clips
    have labels, with 95 % intervals over source recordings. Prints the verdict; report.html in the run's folder has all
    numbers and examples with pictures and sound, evaluation.json the numbers alone. Another library or split is written
    to RUN/evaluations/LIBRARY-SPLIT.

    --protocol measures the run as papers do (docs/protocols.md), beside their numbers, into RUN/protocols/NAME.

    Example: seehear evaluate runs/fusemix
    """

    run_folder: Positional[Path]
    library: str | None = None
    """Library, if not the one of the training."""
    out: Path | None = None
    """Folder of the numbers and the page, if not the run's. Not with --protocol."""
    protocol: str = ""
    """Name (msrvtt-1kA, youcook2-clips, crosstask, ...); the library is the imported set."""
    fusion: Fusion = "sum"
    """Video and sound of a clip under a protocol: sum of the vectors that the method compares, or mean of unit
    vectors."""
    options: Annotated[EvaluateOptions, Flat] = field(default_factory=EvaluateOptions)
    html: bool = True
    """Write report.html too, one file that needs no network; --no-html leaves it out."""
    page: Annotated[ReportOptions, Flat] = field(default_factory=ReportOptions)
    details: bool = False
    """Print all tables, as the page has them."""

    def run(self) -> None:
        command = command_line(self)
        if self.protocol:
            # Papers' measures stand beside each other, under the name of their protocol.
            if self.out:
                raise SeehearError("--protocol writes to protocols/NAME in the run's folder: leave --out out")
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
        self.show(found if self.json or self.details else found.summary())


@dataclass(frozen=True, kw_only=True)
class Report(Printed):
    """Write report.html of an evaluated run again: with more examples, or after its media were restored.

    Numbers come from evaluation.json; pictures, sounds and the summary of the data are read anew.

    Example: seehear report runs/fusemix --examples 12
    """

    run_folder: Positional[Path]
    library: str | None = None
    """Library, if it has moved since the evaluation."""
    out: Path | None = None
    """Folder of the evaluation, if not the run's: runs/fusemix/evaluations/other."""
    page: Annotated[ReportOptions, Flat] = field(default_factory=ReportOptions)

    def run(self) -> None:
        path = write_report(self.run_folder, self.library, self.page, out=self.out)
        self.show({"report": str(path)} if self.json else path)


@dataclass(frozen=True, kw_only=True)
class Compare(Printed):
    """Compare two evaluated runs query by query: the second minus the first, with intervals and p values.

    Both must have been evaluated on the same library ('seehear evaluate'). Queries are paired and whole recordings
    resampled, which detects smaller differences than two separate intervals.

    Example: seehear compare runs/old runs/new
    """

    first: Positional[Path]
    second: Positional[Path]
    model_first: str = ""
    """Model in the first report, such as 'cca'; the run's own by default."""
    model_second: str = ""
    """The same for the second."""

    def run(self) -> None:
        found = compare_runs(
            self.first, self.second, model_a=self.model_first or None, model_b=self.model_second or None
        )
        if self.json:
            self.show({t: {n: asdict(c) for n, c in own.items()} for t, own in found.items()})
            return
        # Each task counts once, by its main measure.
        compared = [own[name] for own in found.values() for name in MAIN.values() if name in own]
        # With s = -1 the bounds trade places: both products are above 0 only if the interval leaves 0 out.
        ahead, behind = (sum(s * c.low > 0 < s * c.high for c in compared) for s in (1, -1))
        print(
            f"{self.second} minus {self.first}, the same queries: ahead in {ahead} of "
            f"{counted(len(compared), 'task')}, behind in {behind}; "
            f"{len(compared) - ahead - behind} cannot be told apart (95 % intervals)"
        )
        # The main measure of each task, and R@1 and R@10 of retrieval.
        for task, own in found.items():
            for name in [n for n in (*dict.fromkeys(MAIN.values()), "R@1", "R@10") if n in own]:
                print(f"{task:24} {name:8} {own[name]}")


@dataclass(frozen=True, kw_only=True)
class Leakage(Printed):
    """Find held-out clips that are also training clips: by file, recording, words and latents, and with --media by
    picture and sound.

    Example: seehear leakage lib --media
    """

    library: Positional[str]
    split: str = "test"
    """Held-out split."""
    media: bool = False
    """Decode every clip and compare pictures and sounds too: finds copies with other names and encodings."""
    threshold: float = 0.95
    """Cosine of centred frozen latents from which two clips count as the same."""
    workers: int = field(default_factory=cores)
    """Processes that decode."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        check_range(self, "[-1, 1]", "threshold")
        check_range(self, "[0, inf)", "workers")

    def run(self) -> None:
        report: Any = check_leakage(
            self.library, split=self.split, media=self.media, threshold=self.threshold, workers=self.workers
        )
        self.show(report)
