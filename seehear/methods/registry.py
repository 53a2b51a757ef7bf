"""The methods by name: the one list that the space, the recipes and the command line read.

A class is imported when it is asked for: a search loads the method of its run and no other.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from seehear.errors import unknown
from seehear.methods.base import Method

METHODS: dict[str, str] = {
    "fusemix": "fusemix.FuseMix",
    "mcn": "mcn.MCN",
    "vatt": "vatt.VATT",
    "mavil": "mavil.MAViL",
    "diffmavil": "diffmavil.DiffMAViL",
    "classifier": "classifier.Classifier",
    "painter": "painter.Painter",
    "frozen": "frozen.Frozen",
}
"""Name in a model's config.json -> class in `seehear.methods`."""
_NOT_TRAINED = ("classifier", "painter", "frozen")


def trained() -> list[str]:
    """The methods that 'seehear train' trains: each has its presets in `seehear.recipes.NAME`. The others learn for a
    run that is there, or not at all."""
    return [name for name in METHODS if name not in _NOT_TRAINED]


def method_class(name: str) -> type[Method]:
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    module, _, attribute = METHODS[name].partition(".")
    found: type[Method] = getattr(importlib.import_module(f"seehear.methods.{module}"), attribute)
    return found


def make_method(name: str, settings: Mapping[str, Any]) -> Method:
    """An untrained method from its name and the plain values of its configuration."""
    return method_class(name).from_config(settings)
