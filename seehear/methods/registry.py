"""The methods by name, for the space, the recipes and the command line.

A class is imported on use: a search loads only the method of its run.
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
    """Methods of 'seehear train', with presets in `seehear.recipes.NAME`. The others learn from a finished run, or do
    not learn."""
    return [name for name in METHODS if name not in _NOT_TRAINED]


def method_class(name: str) -> type[Method]:
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    module, _, attribute = METHODS[name].partition(".")
    kind: type[Method] = getattr(importlib.import_module(f"seehear.methods.{module}"), attribute)
    return kind


def make_method(name: str, settings: Mapping[str, Any]) -> Method:
    """An untrained method from its name and the plain values of its configuration."""
    return method_class(name).from_config(settings)
