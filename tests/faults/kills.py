"""Commands ended by `kill -9` at random moments, and by the SIGTERM of a scheduler; the same command then goes on, and
ends with what an undisturbed one leaves behind, bit for bit.

Half of the kills come when a random time has passed, the other half right before a random write (`child.py`): time
alone would mostly hit the seconds that Python takes to import its packages.
"""

from __future__ import annotations

import random
import signal
from collections import Counter

from tests.faults.outcome import Command, Outcome, outcome, run
from tests.faults.stages import STAGES, Reference

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
