"""Training on the library's recordings: estimated cost, work in the background, result.

`seehear train` chooses the recipe, and keeps the model only if it is better; then the model is indexed and joins the
search. Each training has a folder `learned/DATE` in the library, and its messages in `DATE.log`. All state is read from
there, so that it survives the server. Training stops with the server and can be resumed later.
"""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from seehear.errors import SeehearError
from seehear.library.locking import is_learning
from seehear.library.tables import LibraryTables
from seehear.progress import Interrupted, clock
from seehear.runs.run import FEWEST_TRAINING, Choice, choose
from seehear.search.index import indexes, input_tables
from seehear.serve.files import DiskCache
from seehear.serve.maps import clips_in_order
from seehear.serve.problems import Problem
from seehear.serve.runs import Runs
from seehear.serve.upkeep import Commands
from seehear.serve.verdicts import CostView, VerdictView, cost_view, is_better, verdict_view
from seehear.space.saved import verdict_of
from seehear.train.config import read_metrics
from seehear.train.files import has_model

_STAMP = "%Y-%m-%d-%H%M%S"
# Arguments of `seehear plan`: enough to tell minutes from hours.
_TRIED = ("--seconds", "30", "--steps-measured", "5")
_BUSY = "is being written by another process"
_BUSY_NOW = "this machine is too busy now"
AGAIN = 5.0  # seconds between attempts to write the index
_MUCH = 1.2  # growth of the library after which the cost is estimated again
Stage = Literal["", "learning", "indexing", "stopping"]


class LearningView(BaseModel):
    step: str
    done: int
    total: int | None
    seconds_left: float | None = Field(description="upper bound: training ends early when nothing improves")
    line: str = Field(description="all of the above as one line for the user")


class LearnView(BaseModel):
    state: Literal["ready", "few", "working", "stopping", "stopped", "elsewhere"] = Field(
        description="few: too little to learn from; stopped: POST resumes; elsewhere: another process learns"
    )
    why: str = Field(description="training data, or why training is not possible")
    needed: str = Field(description="data that is still needed; '' if there is enough")
    cost: CostView | None = Field(description="null during estimation, and if training is not possible")
    unknown: str = Field(description="why the cost cannot be estimated; '' otherwise")
    working: LearningView | None
    problem: str = Field(description="why the last training failed; '' if it did not")
    verdict: VerdictView | None = Field(description="result of the last completed training")


@dataclass(frozen=True)
class _Learned:
    """One training of this server, with its files."""

    folder: Path

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    @property
    def data(self) -> Path:
        """File with the versions of the library's tables at the start."""
        return self.folder.with_suffix(".json")

    @property
    def index(self) -> str:
        return f"learned-{self.folder.name}"

    @property
    def made(self) -> str:
        return datetime.strptime(self.folder.name, _STAMP).astimezone().isoformat()

    @property
    def trained(self) -> bool:
        return has_model(self.folder / "model")

    def better(self) -> bool:
        return self.trained and is_better(verdict_of(self.folder))


class LibraryLearning:
    """Training of a server from its library: choice, cost, background work and verdict."""

    def __init__(self, runs: Runs, cache: DiskCache):
        self.runs, self.cache = runs, cache
        self.uri = runs.uri
        # A library in object storage has no folder: its trained models stay on this machine.
        self.home = cache.folder / "learned" if "://" in self.uri else Path(self.uri).resolve() / "learned"
        self.stage: Stage = ""
        self.problem = ""
        self._lock = threading.Lock()
        # Two: stopping a training must not stop an estimate.
        self._commands, self._estimating = Commands(), Commands()
        self._thread: threading.Thread | None = None
        self._chosen: tuple[str, Choice] | None = None
        self._costs: dict[str, CostView | str | None] = {}

    # -- views -------------------------------------------------------------------------------------------------------

    def view(self) -> LearnView:
        # One snapshot for the whole view: its parts must agree.
        library = self.runs.library
        choice, cost = self.choice(library), None
        working, verdict = None, self._verdict(library)
        state: Any = "ready" if choice.recipe else "few"
        if self.stage:
            state, working = "stopping" if self.stage == "stopping" else "working", self._working()
        elif is_learning(self.uri):
            state, working = "elsewhere", self._working()
        elif (last := self.last()) and self._goes_on(library, last):
            state = "stopped"
        if choice.recipe and not self.stage:
            cost = self.cost(library, choice.recipe)
        # `prepare` sets a fifth of the clips aside.
        fewest = round(1.3 * FEWEST_TRAINING, -1)
        needed = f"{fewest:.0f} clips with picture and sound, or with words of your own"
        return LearnView(
            state=state,
            why=choice.why,
            needed="" if choice.recipe else needed,
            cost=cost if isinstance(cost, CostView) else None,
            working=working,
            unknown=cost if isinstance(cost, str) else "",
            problem=self.problem,
            verdict=verdict,
        )

    def choice(self, library: LibraryTables) -> Choice:
        """The recipe for this library, or why there is none."""
        key = _key(library)
        # Cached: the choice counts clips by what they have, and the page asks for it every second.
        if self._chosen is None or self._chosen[0] != key:
            self._chosen = key, choose(library)
        return self._chosen[1]

    def learnings(self) -> list[_Learned]:
        """All trainings started so far, the newest first."""
        # Names are dates, so that they sort by age.
        return [_Learned(path.with_suffix("")) for path in sorted(self.home.glob("*.json"), reverse=True)]

    def last(self) -> _Learned | None:
        return next(iter(self.learnings()), None)

    def _verdict(self, library: LibraryTables) -> VerdictView | None:
        last = next((one for one in self.learnings() if one.trained), None)
        if last is None:
            return None
        verdict, index = verdict_of(last.folder), last.index if last.index in indexes(library) else ""
        # Only the clips of the examples are read.
        names = [e["clip"] for key in ("better", "worse") for e in verdict.get(key, [])]
        clips = {clip.id: clip for clip in clips_in_order(library, names) if clip is not None}
        return verdict_view(verdict, made=last.made, index=index, clips=clips)

    def _goes_on(self, library: LibraryTables, last: _Learned) -> bool:
        """Whether the next start resumes the last training: it was stopped, and the library is unchanged."""
        # Trained and better, but stopped before its index was written.
        if last.trained:
            return last.better() and last.index not in indexes(library)
        started = (last.folder / "config.json").is_file()
        return started and last.data.read_text(encoding="utf-8") == _key(library)

    # -- cost --------------------------------------------------------------------------------------------------------

    def cost(self, library: LibraryTables, name: str) -> CostView | str | None:
        """Estimated cost, or why it cannot be estimated; None while it is being estimated in the background. The
        estimate is repeated when the library has grown by a fifth."""
        sizes = [library.table(table).count_rows() for table in input_tables(library)]
        # Rounded logarithms to the base `_MUCH`: a new key for every fifth more.
        key = f"{name} {[round(math.log(1 + rows, _MUCH)) for rows in sizes]}"
        with self._lock:
            # One estimate at a time: two would slow, and so mislead, each other.
            if key not in self._costs and None not in self._costs.values():
                self._costs[key] = None
                threading.Thread(target=self._estimate, args=(key, name), daemon=True).start()
            return self._costs.get(key)

    def _estimate(self, key: str, name: str) -> None:
        words = ["--quiet", "plan", self.uri, "--recipes", name, *_TRIED, "--json"]

        def make() -> Any:
            planned = json.loads(self._estimating.run(words))["recipes"][0]
            # Not cached: there may be more memory, or time, another day.
            if planned["why_not"]:
                raise SeehearError(_BUSY_NOW if planned["unmeasured"] else planned["why_not"])
            return planned

        try:
            self._costs[key] = cost_view(self.cache.value("cost of learning", self.uri, key, make=make), name)
        except Interrupted:
            # A stopped estimate is no answer: the next view starts it again.
            del self._costs[key]
        except (SeehearError, ValueError, LookupError) as error:
            self._costs[key] = str(error)

    # -- the work ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts or resumes training in the background. Raises `Problem` (409) if that is impossible now."""
        library = self.runs.library
        with self._lock:
            if self.stage:
                raise Problem(409, "learning", "it is learning already")
            if is_learning(self.uri):
                raise Problem(409, "learning", "another process is learning from this library", "wait until it ends")
            choice = self.choice(library)
            if not choice.recipe:
                raise Problem(409, "too_few", choice.why)
            # New commands: stopped ones refuse all later calls.
            self.stage, self.problem, self._commands = "learning", "", Commands()
            self._thread = threading.Thread(target=self._learn, args=(library,), daemon=True)
            self._thread.start()

    def _learn(self, library: LibraryTables) -> None:
        try:
            one = self.last()
            resume = one is not None and self._goes_on(library, one)
            if one is None or not resume:
                one = _Learned(self.home / datetime.now().strftime(_STAMP))
                self.home.mkdir(parents=True, exist_ok=True)
                # Written before training begins: a training is found again, after a crash too, by this file.
                one.data.write_text(_key(library), encoding="utf-8")
            if not one.trained:
                words = ["train", self.uri, "--out", str(one.folder), "--json", *(["--resume"] if resume else [])]
                self._commands.run(words, one.log)
            if one.better():
                # A stop that came while the training ended stays one: the index is then written by the next start.
                with self._lock:
                    if self.stage != "stopping":
                        self.stage = "indexing"
                self._index(one)
        except Interrupted:
            # The view reports it as stopped.
            pass
        except (SeehearError, OSError) as error:
            self.problem = str(error)
        finally:
            self.stage = ""

    def _index(self, one: _Learned) -> None:
        """Indexes the library with the trained model; waits while another process writes an index."""
        while True:
            try:
                self._commands.run(["index", self.uri, str(one.folder), "--name", one.index], one.log)
                return
            except Interrupted:
                raise
            except SeehearError as error:
                if _BUSY not in str(error):
                    raise
                time.sleep(AGAIN)

    def stop(self) -> None:
        """Stops the work; everything computed so far is kept."""
        with self._lock:
            if not self.stage:
                raise Problem(409, "not_learning", "nothing is being learned here")
            self.stage = "stopping"
        self._commands.stop()

    def close(self) -> None:
        self._estimating.close()
        self._commands.close()
        # `_index` may sleep for `AGAIN` seconds between two attempts.
        if self._thread is not None:
            self._thread.join(AGAIN + 1)

    def _working(self) -> LearningView | None:
        """Progress of the last training, read from its files."""
        if self.stage == "indexing":
            line = "indexing with the trained model"
            return LearningView(step="indexing", done=0, total=None, seconds_left=None, line=line)
        last, metrics = self.last(), None
        done, total, left = 0, None, None
        if last and not last.trained and (file := last.folder / "metrics.jsonl").is_file():
            # Entries of evaluations lack the number of steps.
            metrics = next((entry for entry in reversed(read_metrics(file)) if "steps" in entry), None)
        if last and last.trained:
            line = "comparing it with the search so far"
        elif not metrics:
            line = "reading the training data"
        else:
            done, total, left = (metrics[name] for name in ("step", "steps", "seconds_left"))
            line = f"learning, {done:,} of {total:,} steps" + (f", at most {clock(left)} left" if left else "")
        if self.stage == "stopping":
            line = "stopping after this step"
        return LearningView(step="learning", done=done, total=total, seconds_left=left, line=line)


def _key(library: LibraryTables) -> str:
    """Versions of the tables that training reads, as text."""
    return json.dumps({name: int(library.table(name).version) for name in input_tables(library)})
