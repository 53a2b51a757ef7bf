"""Hypothesis settings of all tests, and their order on request: `pytest --shuffle SEED`."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every machine, however busy it is. Random fuzzing is `make faults`.
settings.register_profile(
    "seehear", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("seehear")


@pytest.fixture(scope="module")
def few_phrases() -> Iterator[None]:
    """Sixty background phrases instead of 1,000, for tests that read no confidence: encoding them takes seconds."""
    from seehear.search import background

    phrases = background.background_phrases()[::17]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background, "background_phrases", lambda: phrases)
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="random order of files, and of the tests in each")


def pytest_collection_finish() -> None:
    """What was imported stays to the end: the garbage collector need not go through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file's tests stay together: its fixtures are made once. Workers of xdist draw the same order."""
    seed = config.getoption("--shuffle")
    if seed is None:
        return
    generator = random.Random(seed)
    rank = {path: generator.random() for path in sorted({item.path for item in items})}
    generator.shuffle(items)
    items.sort(key=lambda item: rank[item.path])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadfile, a file's tests go to one process, and all of the server's: they share a library."""
    from xdist.scheduler import LoadFileScheduling

    class ByFixtures(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "serve" if "tests/serve/" in nodeid else super()._split_scope(nodeid)

    return ByFixtures(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def impatient() -> Iterator[None]:
    """A second writer is refused at once, not after three seconds. Processes that tests start wait as usual."""
    from seehear.library import locking

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locking, "PATIENCE", 0.0)
        yield
