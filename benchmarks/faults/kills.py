"""Commands ended by `kill -9` at random moments, and by the SIGTERM of a scheduler; the same command then goes on, and
ends with what an undisturbed one leaves behind, bit for bit.

Half of the kills come when a random time has passed, the other half right before a random write (`child.py`): time
alone would mostly hit the seconds that Python takes to import its packages.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.faults.stages import STAGES, Reference
from tests.faults.outcome import Command, Outcome, must, outcome, run

_ROW = 4
"""Kills one after the other, at most, before a command is left to end."""
_MOST_TRIES = 4
"""A random moment may come after the end; so many tries for each kill that is wanted."""


def kills(reference: Reference, stage: str, *, times: int, seed: int) -> Outcome:
    chance = random.Random(f"{seed} {stage}")
    with outcome(f"kill -9 of {stage}, resumed") as found:
        moments: Counter[str] = Counter()
        tries = 0
        while found.tried < times and tries < _MOST_TRIES * times:
            reference.work.copy_of(reference.before[stage])
            again = False
            for _ in range(min(chance.randint(1, _ROW), times - found.tried)):
                tries += 1
                how = ("time", "write")[tries % 2]
                if killed(reference, stage, how, chance, again=again):
                    found.tried += 1
                    moments[how] += 1
                again = True
            done = run(reference.work.words(stage, again=again))
            found.check(done.status == 0, f"after a kill: status {done.status}: {done.complaint}")
            wrong = reference.differences(stage)
            found.check(not wrong, f"differs after {found.tried} kills: {', '.join(wrong)}")
        found.check(found.tried == times, f"only {found.tried} of {times} kills came before the end")
        found.numbers = dict(moments)
    return found


def killed(reference: Reference, stage: str, how: str, chance: random.Random, *, again: bool) -> bool:
    """Whether the kill came before the command had ended by itself."""
    words = reference.work.words(stage, again=again)
    if how == "write":
        at = chance.randint(1, reference.writes[stage])
        return run(words, {"FAULTS_KILL_AT": str(at)}).status == -signal.SIGKILL
    command = Command(words)
    if not command.wait(chance.uniform(0.05, 1.0) * reference.seconds[stage]):
        command.send(signal.SIGKILL)
    return command.ended().status == -signal.SIGKILL


def terms(reference: Reference, *, each: int, seed: int) -> list[Outcome]:
    """SIGTERM: a command that can save says so in one line and status 130; the others end at once. All go on."""
    chance = random.Random(f"{seed} term")
    with outcome("SIGTERM of each stage, resumed") as found:
        statuses: Counter[str] = Counter()
        for stage in STAGES * each:
            reference.work.copy_of(reference.before[stage])
            command = Command(reference.work.words(stage))
            if not command.wait(chance.uniform(0.1, 0.9) * reference.seconds[stage]):
                command.send(signal.SIGTERM)
            stopped = command.ended()
            found.tried += 1
            found.check(
                stopped.status in (0, -signal.SIGTERM) or stopped.is_clear,
                f"{stage}: status {stopped.status} after SIGTERM: {stopped.complaint}",
            )
            statuses[f"{stage} {stopped.status}"] += 1
            if stopped.status:
                done = run(reference.work.words(stage, again=True))
                found.check(done.status == 0, f"{stage} after SIGTERM: status {done.status}: {done.complaint}")
            wrong = reference.differences(stage)
            found.check(not wrong, f"{stage} differs after SIGTERM: {', '.join(wrong)}")
        found.numbers = {"status": dict(statuses)}
    return [found]


_SAVING = {"FAULTS_ONLY_IN": "save_model"}


def studies(reference: Reference, *, times: int, seed: int) -> list[Outcome]:
    """A study's cell killed inside `save_model`: before each write there, and `times` times at a random moment."""
    chance = random.Random(f"{seed} studies")
    work, out = reference.work, reference.work.folder / "study"
    words = ["study", "encoders", str(work.library), "--encoders", "logmel", "letters", "--check", "--seeds", "1"]
    words += ["--neighbours", "2", "--out", str(out)]
    with outcome("kill -9 of a study inside save_model, resumed") as found:
        counted, mark = reference.folder / "writes of a study", reference.folder / "mark of a study"
        work.copy_of(reference.folder / "finished")
        must(words, _SAVING | {"FAULTS_WRITES": str(counted)})
        writes, right = int(counted.read_text()), _cells(out)
        found.check(writes > 0, "nothing was written in save_model")
        moments: Counter[str] = Counter()
        for at in [*range(1, writes + 1), *[0] * times]:
            work.copy_of(reference.folder / "finished")
            mark.unlink(missing_ok=True)
            if at:
                status = Command(words, _SAVING | {"FAULTS_KILL_AT": str(at)}, group=True).ended().status
            else:
                status = _killed_after(mark, words, chance.uniform(0.0, 0.05))
            moments[("random moment", "write")[at > 0] if status == -signal.SIGKILL else "too late"] += 1
            found.tried += 1
            done = run(words)
            where = f"write {at} of {writes}" if at else "a random moment"
            found.check(done.status == 0, f"{where}: status {done.status}: {done.complaint}")
            found.check(
                _cells(out) == right, f"{where}: the cells are not those of an undisturbed study: {_failed(out)}"
            )
            found.memory_mb = max(found.memory_mb, done.memory >> 20)
        found.numbers = dict(moments)
        shutil.rmtree(work.folder)
    return [found]


def _killed_after(mark: Path, words: list[str], seconds: float) -> int:
    """The status of a command whose group is killed so long after its first write inside `save_model`."""
    command = Command(words, _SAVING | {"FAULTS_MARK": str(mark)}, group=True)
    while not mark.exists() and not command.wait(0.0005):
        pass
    if not command.wait(seconds):
        command.kill_group()
    return command.ended().status


def _cells(study: Path) -> dict[str, Any]:
    """Finished cells by name, without the seconds they took."""
    read = {path.name: json.loads(path.read_text()) for path in sorted(study.glob("*/cells/*.json"))}
    return {name: {k: v for k, v in cell.items() if k != "seconds"} for name, cell in read.items()}


def _failed(study: Path) -> str:
    """Why the first cell that has none of its numbers failed."""
    errors = [json.loads(path.read_text()).get("error", "") for path in study.glob("*/failed/*.json")]
    return (errors or ["other numbers"])[0][:300]
