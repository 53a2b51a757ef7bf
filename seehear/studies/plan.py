"""Cost of each recipe on this library and this machine, estimated in about a minute.

Every recipe is tried in its own process (`estimate.py`), so that its memory is measured alone, it can be killed at any
time, and running out of memory ends only itself. All recipes share the time; the large ones get what small ones leave.
"""

from __future__ import annotations

import io
import multiprocessing
import platform
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from seehear.errors import SeehearError
from seehear.library.tables import LibraryTables
from seehear.library.workers import cores
from seehear.progress import StopRequest, counted, progress, say, set_quiet, stop_requests
from seehear.runs.config import Run, recipe, recipes
from seehear.runs.run import Choice, choose
from seehear.studies.estimate import CostEstimate, estimates

# Seconds for the first process to import the shared modules.
_START = 60.0
# Seconds of grace before a process is killed; estimates sent by then count.
LATE = 5.0
# Equal shares of the remaining time for one recipe: most need less than one, or are refused at once.
_SHARES = 4.0
_MORE = "use more --seconds, or fewer --recipes"
_LATER = f"not measured, the time was over: {_MORE}"
# Modules that every estimate imports. Not lancedb: its thread does not survive a fork.
_IMPORTED = ("seehear.studies.estimate", "torch._dynamo", "sympy", "pandas")
# Seconds: the first listed recipe that takes no longer is recommended.
_AT_ONCE = 600.0
# A killed process leaves its semaphores behind, which Python's resource tracker would warn about.
_NO_SEMAPHORES = "ignore:resource_tracker:UserWarning"
_DAY = 86_400.0
_UNITS = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("days", _DAY), ("months", 30.44 * _DAY), ("years", 365.25 * _DAY))


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    recipes: tuple[str, ...] = ()
    """Names of recipes; all when not given."""
    steps_measured: int = 20
    """Steps of the real loop on the library's clips; fewer if the time is short."""
    seconds: float = 50.0
    """Time for all recipes together; the rest is scaled from measurements or left out."""
    cache: Path | None = None
    """Folder for decoded clips, as --data.cache of 'seehear train': only the first pass decodes."""

    def __post_init__(self) -> None:
        if self.steps_measured < 1 or not self.seconds > 0:
            raise SeehearError("--steps-measured and --seconds must be positive")


@dataclass(frozen=True, kw_only=True)
class CostPlan:
    library: str
    machine: str
    recipes: list[CostEstimate] = field(default_factory=list)
    stopped: bool = False
    """True if it was interrupted before every recipe was tried."""
    choice: Choice = field(default_factory=lambda: Choice("", ""))
    """Recipe that 'seehear train' uses by default."""

    def __str__(self) -> str:
        parts = [_table(self.recipes)] if any(e.how for e in self.recipes) else []
        reasons: dict[str, list[str]] = {}
        for e in self.recipes:
            if e.why_not:
                reasons.setdefault(e.why_not, []).append(e.recipe)
        parts += [f"{', '.join(names)}: {why}" for why, names in reasons.items()]
        then = f"next: seehear {'train' if self.choice.recipe else 'index'} {self.library}"
        return "\n".join([self.recommendation(), "", *parts, then])

    def plain(self) -> dict[str, Any]:
        found = {**asdict(self), "recommendation": self.recommendation()}
        found["recipes"] = [{**asdict(e), "fits": e.fits} for e in self.recipes]
        return found

    def recommendation(self) -> str:
        return " ".join(_words(self))


def plan(library: LibraryTables, options: PlanOptions) -> CostPlan:
    """The plan of all recipes; Ctrl-C ends it with the estimates so far."""
    runs = {run.recipe: run for run in (recipe(name) for name in options.recipes or recipes())}
    if options.cache is not None:
        runs = {name: replace(run, data=run.data.cached_in(options.cache)) for name, run in runs.items()}
    choice = choose(library)
    taken = recipe(choice.recipe).recipe if choice.recipe else ""
    # The default recipe first: it must be measured.
    order = sorted(runs, key=lambda name: name != taken)
    found: dict[str, CostEstimate] = {}
    with stop_requests() as stop, progress("planning", len(runs), "recipes") as shown:
        server = _server(stop)
        until = time.monotonic() + options.seconds
        for name in order:
            left = until - time.monotonic()
            share = left if name == taken else min(left, _SHARES * left / (len(runs) - len(found)))
            # An alias is not measured twice.
            same = [e for e in found.values() if replace(runs[e.recipe], recipe=name) == runs[name]]
            if same:
                one = replace(same[0], recipe=name)
            else:
                one = _tried(library.uri, runs[name], options.steps_measured, share, stop, server)
            if stop:
                break
            found[name] = one
            say(f"{one.recipe}: {one.why_not or f'{duration(one.seconds)}, {one.how}'}")
            shown.advance()
    tried = [found[name] for name in runs if name in found]
    return CostPlan(library=library.uri, machine=machine(), recipes=tried, stopped=bool(stop), choice=choice)


def machine() -> str:
    """Name of the device."""
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
    if torch.backends.mps.is_available():
        return f"{platform.processor() or 'Apple'} with its GPU"
    usable, threads = cores(), torch.get_num_threads()
    used = f", {threads} used" if threads < usable else ""
    return f"CPU, {counted(usable, 'core')}{used}"


def duration(seconds: float) -> str:
    """40 -> '40 s', 5400 -> '1.5 h', 1e7 -> '3.8 months'."""
    name, unit = next((n, u) for n, u in reversed(_UNITS) if seconds >= 1.5 * u or u == 1.0)
    count = seconds / unit
    return f"{count:,.0f} {name}" if count >= 10 or unit <= 60 else f"{count:.1f} {name}"


def _server(stop: StopRequest) -> Any:
    """Context whose processes start with everything imported; ready on return, so that no recipe's time goes into
    imports. On Windows, which cannot fork, it does."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    if _NO_SEMAPHORES not in sys.warnoptions:
        sys.warnoptions.append(_NO_SEMAPHORES)
    server = multiprocessing.get_context("forkserver")
    # A fork of a process without threads is safe, and starts with everything imported.
    server.set_forkserver_preload(list(_IMPORTED))
    first = server.Process(target=set_quiet, args=(True,))
    first.start()
    until = time.monotonic() + _START
    while first.is_alive() and not stop and time.monotonic() < until:
        first.join(0.2)
    first.kill()
    first.join()
    return server


def _tried(uri: str, run: Run[Any, Any], steps: int, seconds: float, stop: StopRequest, server: Any) -> CostEstimate:
    """The last and best estimate of a process that tries the run until its time is up."""
    best = CostEstimate(recipe=run.recipe)
    if seconds <= 0:
        return replace(best, why_not=_LATER, unmeasured=True)
    ours, theirs = server.Pipe(duplex=False)
    child = server.Process(target=_work, args=(uri, run, steps, seconds, theirs), name=f"plan {run.recipe}")
    child.start()
    # Only the child may hold this end: `recv` then ends with the process.
    theirs.close()
    until = time.monotonic() + seconds + LATE
    try:
        while not stop and time.monotonic() < until:
            if ours.poll(0.2):
                message = ours.recv()
                best = message if isinstance(message, CostEstimate) else replace(best, why_not=message)
    except EOFError:
        # The process is done.
        pass
    finally:
        # A process that has sent its last estimate gets time to end by itself: its exit status says why.
        child.join(0 if stop or time.monotonic() > until else 5)
        ended = child.exitcode
        child.kill()
        child.join()
        ours.close()
    if best.why_not or best.how:
        return best
    # By a signal: without one of ours, that is the system's, short of memory.
    if ended is not None and ended < 0:
        return replace(best, why_not="its process was killed, most likely for lack of memory")
    if ended:
        return replace(best, why_not="its process failed: see the error above")
    return replace(best, why_not=f"not a step in {duration(seconds)}: {_MORE}", unmeasured=True)


def _work(uri: str, run: Run[Any, Any], steps: int, seconds: float, theirs: Connection) -> None:
    """Body of the process: sends estimates as they improve, or the reason why there are none."""
    # Ctrl-C reaches all processes of the terminal; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_quiet(True)
    try:
        for one in estimates(LibraryTables.open(uri), run, steps=steps, seconds=seconds):
            theirs.send(one)
    except SeehearError as error:
        theirs.send(str(error))
    except torch.OutOfMemoryError:
        theirs.send("a batch does not fit into the memory of the device: a smaller --train.micro-batch may")


def _table(found: Sequence[CostEstimate]) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table("recipe", box=None, pad_edge=False)
    for name in ("parameters", "steps", "clips a step", "FLOP a step", "FLOP in all", "memory", "a step", "in all"):
        table.add_column(name, justify="right")
    table.add_column("time is")
    for e in sorted((e for e in found if e.how), key=lambda e: e.seconds):
        steps = counted(e.measured_steps, "step")
        basis = {
            "estimated": f"estimated: a forward pass of {e.measured_rows} clips",
            "scaled": f"scaled from {steps} of {e.measured_rows} clips",
            "measured": f"measured, {steps}",
        }
        table.add_row(
            e.recipe,
            f"{e.parameters / 1e6:,.1f} M",
            f"{e.steps:,}",
            f"{e.rows:,.0f}",
            f"{e.flops_step:.1e}",
            f"{e.flops:.1e}",
            f"{e.bytes / 1e9:.1f} GB",
            f"{1000 * e.step_seconds:,.0f} ms" if e.step_seconds < 1.5 else duration(e.step_seconds),
            duration(e.seconds),
            basis[e.how],
        )
    out = io.StringIO()
    Console(file=out, width=140, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _words(plan: CostPlan) -> Iterator[str]:
    able = sorted((e for e in plan.recipes if e.fits), key=lambda e: e.seconds)
    soon, late = [e for e in able if e.seconds < _DAY], [e for e in able if e.seconds >= _DAY]
    taken = recipe(plan.choice.recipe).recipe if plan.choice.recipe else ""
    if soon:
        quick = next((e for e in plan.recipes if e in soon and e.seconds < _AT_ONCE), soon[0])
        first = next((e for e in soon if e.recipe == taken), quick)
        soon = [first, *(e for e in soon if e is not first)]
        yield f"On this machine ({plan.machine}) start with {first.recipe}: {duration(first.seconds)}."
    elif late:
        yield f"On this machine ({plan.machine}) nothing is done within a day."
    elif any(e.unmeasured for e in plan.recipes):
        yield f"Nothing was measured in the time on this machine ({plan.machine}): give it more --seconds."
    else:
        yield f"Nothing can be trained on {plan.library} on this machine as it is: the lines below say why."
    if soon[1:]:
        yield "Then " + ", ".join(f"{e.recipe}: {duration(e.seconds)}" for e in soon[1:]) + "."
    if late:
        yield ", ".join(f"{e.recipe} would take {duration(e.seconds)}" for e in late) + "."
    for e in plan.recipes:
        if e.how and not e.why_not and not e.fits:
            yield (
                f"{e.recipe} needs {e.bytes / 1e9:.0f} GB of memory, and {e.free_bytes / 1e9:.0f} are free: a smaller "
                "--train.micro-batch or --train.batch-size may fit."
            )
    reading = [e.recipe for e in soon if e.waiting > 0.3]
    if reading:
        waits = "waits" if len(reading) == 1 else "wait"
        yield f"{', '.join(reading)} {waits} for clips to be decoded: --data.cache FOLDER keeps them."
    if plan.choice.why:
        yield f"Without a recipe 'seehear train' {f'takes {taken}' if taken else 'trains nothing'}: {plan.choice.why}."
    if plan.stopped:
        yield "(Interrupted: recipes that were not tried are not listed.)"
