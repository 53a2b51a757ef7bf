"""Every method the tests of the loop run on: one line a method brings overfitting, exact resume, gradient caching and
processes (`tests/train/`)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from seehear.data.loader import TrainingData
from seehear.methods.base import Method
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from tests.toy import Data, Mixing, Toy


def _fusemix() -> Method:
    torch.manual_seed(0)
    return FuseMix(
        FuseMixConfig(widths={"video": 12, "text": 12}, dim=8, depth=1, expansion=2, dropout=0.2, mix="permutation")
    )


METHODS: dict[str, tuple[Callable[[], Method], Callable[[int], TrainingData]]] = {
    "toy": (Toy, Data),
    "mixing": (Mixing, Data),
    "fusemix": (_fusemix, Data),
}
"""name -> (make the method, make the data of so many clips)."""
