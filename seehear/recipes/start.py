"""A run as it starts: what training and an estimate of what it costs (`estimate`) have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from seehear.data.latents import LatentData
from seehear.data.loader import TrainingData
from seehear.data.raw import RawMedia
from seehear.errors import SeehearError
from seehear.methods.base import Method
from seehear.train.loop import Validate

Clips = TypeVar("Clips", LatentData, RawMedia)
Data = TypeVar("Data", bound=TrainingData)


@dataclass(frozen=True, kw_only=True)
class Prepared(Generic[Data]):
    method: Method
    """As training starts."""
    data: Data
    """What it learns from."""
    clips: int
    """Of the split 'train'."""
    validation: int
    """Clips of the split 'val'."""
    score: Validate | None
    """By a draw of those; None where there are too few."""


def train_and_validation(clips: Clips) -> tuple[Clips, Clips]:
    """Of both splits the clips with two modalities or more."""
    train, validation = clips.split("train").joined(), clips.split("val").joined()
    if len(train) < 2:
        raise SeehearError(f"training needs two clips of the split 'train' with two modalities; there are {len(train)}")
    return train, validation
