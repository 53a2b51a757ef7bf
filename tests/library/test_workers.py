"""Worker processes that crash, hang and raise cost their own item only."""

import os

import pytest

from seehear.commands.model import Leakage
from seehear.datasets.base import ImportOptions
from seehear.library.clips import PrepareOptions
from seehear.library.engines import Local
from seehear.library.workers import Isolated, WorkerDied, map_in_processes
from tests.inputs import tasks


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_item_comes_back_once(workers):
    done = dict(map_in_processes(tasks.square, range(20), workers=workers, time_limit=60))
    assert done == {n: n * n for n in range(20)}


def test_what_goes_wrong_is_the_result_of_its_item():
    items = ["good", "raise", "die", "good 2", "hang", "good 3"]
    done = dict(map_in_processes(tasks.behave, items, workers=2, time_limit=3.0))
    assert [done[name] for name in ("good", "good 2", "good 3")] == ["good", "good 2", "good 3"]
    assert isinstance(done["raise"], KeyError)
    assert isinstance(done["die"], WorkerDied)
    assert "crashed" in str(done["die"])
    assert isinstance(done["hang"], WorkerDied)
    assert "time limit" in str(done["hang"])


def test_items_are_asked_for_as_they_are_needed():
    asked = []

    def items():
        for n in range(100):
            asked.append(n)
            yield n

    results = map_in_processes(tasks.square, items(), workers=2, time_limit=60)
    next(results)
    assert len(asked) <= 5
    results.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_left_of_an_item_follows_it(workers):
    made = map_in_processes(tasks.halved, [8, 3, 1], workers=workers, time_limit=60, following=tasks.half_of_it)
    assert sorted(made) == [(1, 0), (2, 1), (3, 1), (4, 2), (8, 4)]


def test_an_isolated_function_goes_on_after_each_death():
    behave = Isolated(tasks.behave, 3.0)
    results = [behave(how) for how in ("good", "raise", "die", "hang", "good 2")]
    behave.close()
    assert (results[0], results[4]) == ("good", "good 2")
    assert [type(result) for result in results[1:4]] == [KeyError, WorkerDied, WorkerDied]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_all_defaults_are_the_cores_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        options = PrepareOptions(), ImportOptions(), Local(), Leakage(library="lib")
        assert [each.workers for each in options] == [1, 1, 1, 1]
    finally:
        os.sched_setaffinity(0, allowed)
