"""What a run is: a method's configuration, data, optimiser, training. Recipes are functions that return one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from seehear.data.contexts import ContextConfig
from seehear.data.raw import RawConfig
from seehear.data.raw.text import VocabularyConfig
from seehear.methods.fusemix import FuseMixConfig
from seehear.methods.mavil_config import MAViLConfig
from seehear.methods.mcn import MCNConfig
from seehear.methods.vatt_config import VATTConfig
from seehear.train.loop import TrainConfig
from seehear.train.optim import OptimConfig
from seehear.types import Modality

MethodConfig = TypeVar("MethodConfig", FuseMixConfig, MCNConfig)
MediaMethodConfig = TypeVar("MediaMethodConfig", bound=VATTConfig | MAViLConfig)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    encoders: dict[Modality, tuple[str, ...]] = field(default_factory=dict)
    """Names of the encoders by modality, several of one side by side. Empty: all that the library has latents of, but
    sequences (words, spectrograms) only for a method that reads them, and then alone of their modality."""
    contexts: ContextConfig = field(default_factory=lambda: ContextConfig(clips_per_video=0))
    """Training clips made of a recording's clips and their neighbours, as MCN has them; without, and for validation
    always, the library's clips are taken as they are."""
    where: str | None = None
    """Only the clips that meet this SQL condition over the library's columns."""
    validate_at_most: int = 2000
    """Clips of the validation split that are scored, a fixed draw where there are more."""
    resident: bool = True
    """Keep the latents on the device."""


@dataclass(frozen=True, kw_only=True)
class Run(Generic[MethodConfig]):
    recipe: str
    """The name it goes by."""
    method: MethodConfig
    """The method and its settings; what depends on the data is filled in."""
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class MediaDataConfig:
    where: str | None = None
    """Only the clips that meet this SQL condition over the library's columns."""
    validate_at_most: int = 1000
    """Clips of the validation split that are scored, a fixed draw where there are more."""
    windows: int = 1
    """Windows of a clip, evenly spaced, that its vector is the mean of: in validation, and of the trained model."""
    crops: int = 1
    """Squares of each window along the longer side of the picture, likewise."""
    cache: Path | None = None
    """A folder for decoded clips, shared by all runs; without one every epoch decodes the media anew."""
    cache_gb: float = 20.0
    """So much of it at most."""


@dataclass(frozen=True, kw_only=True)
class MediaRun(Generic[MediaMethodConfig]):
    """Of a method that reads media themselves, and not latents of frozen encoders."""

    recipe: str
    """The name it goes by."""
    method: MediaMethodConfig
    """The method and its settings; sizes of clips and of the vocabulary are filled in."""
    raw: RawConfig
    """What of a clip is shown."""
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    """How words become numbers."""
    data: MediaDataConfig = field(default_factory=MediaDataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
