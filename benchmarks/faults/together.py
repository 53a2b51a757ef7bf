"""Two processes on one library: each does its work, or says in one line that the other one is at it."""

from __future__ import annotations

from benchmarks.faults.stages import Reference
from tests.faults.outcome import Command, Ended, Outcome, outcome, run

_BUSY = "is being written by another process"


def together(reference: Reference, *, times: int) -> list[Outcome]:
    return [
        _same(reference, "prepare", times),
        _same(reference, "encode", times),
        _same(reference, "index", times),
        _two_encoders(reference, times),
        _while_encoding(reference, times),
        _train_and_index(reference, times),
    ]


def _both(one: list[str], other: list[str]) -> tuple[Ended, Ended]:
    first, second = Command(one), Command(other)
    return first.ended(), second.ended()


def _same(reference: Reference, stage: str, times: int) -> Outcome:
    with outcome(f"{stage} twice at once") as found:
        for _ in range(times):
            reference.work.copy_of(reference.before[stage])
            ended = _both(reference.work.words(stage), reference.work.words(stage))
            found.tried += 1
            found.numbers["refused"] = found.numbers.get("refused", 0) + _check(found, *ended)
            found.check(any(one.status == 0 for one in ended), "neither did it")
            _compare(found, reference, stage)
    return found


def _two_encoders(reference: Reference, times: int) -> Outcome:
    """They write other tables: both may go on."""
    with outcome("two encoders at once") as found:
        for _ in range(times):
            reference.work.copy_of(reference.before["encode"])
            words = reference.work.words("encode")
            at = words.index("--encoders")
            one = [*words[: at + 1], "grey", "letters", *words[at + 4 :]]
            other = [*words[: at + 1], "logmel", *words[at + 4 :]]
            ended = _both(one, other)
            found.tried += 1
            found.check([e.status for e in ended] == [0, 0], f"{[e.complaint for e in ended if e.status]}")
            _compare(found, reference, "encode")
    return found


def _while_encoding(reference: Reference, times: int) -> Outcome:
    with outcome("prepare and encode at once") as found:
        for _ in range(times):
            reference.work.copy_of(reference.before["encode"])
            ended = _both(reference.work.words("encode"), reference.work.words("prepare"))
            found.tried += 1
            found.numbers["refused"] = found.numbers.get("refused", 0) + _check(found, *ended)
            again = run(reference.work.words("encode"))
            found.check(again.status == 0, f"afterwards: {again.complaint}")
            _compare(found, reference, "encode")
    return found


def _train_and_index(reference: Reference, times: int) -> Outcome:
    """One reads what the other one adds to: neither minds."""
    with outcome("train and index at once") as found:
        for n in range(times):
            reference.work.copy_of(reference.before["index"])
            another = reference.work.words("train")
            another[another.index("--out") + 1] += f" {n}"
            ended = _both(another, reference.work.words("index"))
            found.tried += 1
            found.check([e.status for e in ended] == [0, 0], f"{[e.complaint for e in ended if e.status]}")
            _compare(found, reference, "index")
    return found


def _check(found: Outcome, *ended: Ended) -> int:
    """How many were refused."""
    refused = [one for one in ended if one.status == 2 and _BUSY in one.complaint]
    for one in ended:
        found.check(one.status == 0 or one in refused, f"status {one.status}: {one.complaint}")
    return len(refused)


def _compare(found: Outcome, reference: Reference, stage: str) -> None:
    wrong = reference.differences(stage)
    found.check(not wrong, f"differs from one alone: {', '.join(wrong)}")
