"""What a run is: a method's configuration, data, optimiser, training. Recipes are functions that return one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from seehear.methods.base import MethodConfig
from seehear.runs.data import DataConfig
from seehear.train.config import TrainConfig
from seehear.train.optim import OptimConfig

Data = TypeVar("Data", bound=DataConfig)
Settings = TypeVar("Settings", bound=MethodConfig)


@dataclass(frozen=True, kw_only=True)
class Run(Generic[Data, Settings]):
    recipe: str
    """The name it goes by."""
    method: Settings
    """The method and its settings; what depends on the data is filled in."""
    data: Data
    """What it learns from."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
