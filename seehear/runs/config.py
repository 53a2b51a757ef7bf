"""Configuration of a run: method, data, optimiser, training. Recipes are functions that return one."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any, Generic, TypeVar

from seehear.errors import unknown
from seehear.methods.base import MethodConfig, trained
from seehear.runs.data import DataConfig
from seehear.train.config import TrainConfig
from seehear.train.optim import OptimConfig

Data = TypeVar("Data", bound=DataConfig)
Settings = TypeVar("Settings", bound=MethodConfig)


@dataclass(frozen=True, kw_only=True)
class Run(Generic[Data, Settings]):
    recipe: str
    """Name of the recipe."""
    method: Settings
    """Method settings; those that depend on the data are filled in."""
    data: Data
    """Training data."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def presets(method: str) -> ModuleType:
    """`seehear.recipes.METHOD`: its `PRESETS`, runs by name with the default first, and its `build`."""
    return importlib.import_module(f"seehear.recipes.{method}")


@cache
def recipes() -> dict[str, Callable[[], Run[Any, Any]]]:
    """All runs by name: 'fusemix.base', and 'fusemix' for the first preset of a method. A preset with a dot in its name
    is a variant with that full name: 'vatt-ma.medium'."""
    found = {}
    for method in trained():
        made: dict[str, Callable[[], Run[Any, Any]]] = presets(method).PRESETS
        found[method] = next(iter(made.values()))
        found |= {name if "." in name else f"{method}.{name}": make for name, make in made.items()}
    return found


def recipe(name: str) -> Run[Any, Any]:
    if name not in recipes():
        raise unknown("recipe", name, recipes())
    return recipes()[name]()
