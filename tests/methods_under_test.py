"""Every method the tests of the loop run on: one line a method brings overfitting, exact resume, gradient caching and
processes (`tests/train/`)."""

from __future__ import annotations

from collections.abc import Callable

from seehear.data.loader import TrainingData
from seehear.methods.base import Method
from tests.toy import Data, Mixing, Toy

METHODS: dict[str, tuple[Callable[[], Method], Callable[[int], TrainingData]]] = {
    "toy": (Toy, Data),
    "mixing": (Mixing, Data),
}
"""name -> (make the method, make the data of so many clips)."""
