"""Settings of a classifier that starts from a tower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from seehear.errors import SeehearError, check_range, unknown
from seehear.types import Modality

TOWERS = ("video", "audio", "video+audio")
"""What one can start from; the last: both side by side, or what a model that fuses them makes of them."""


def modalities_of(tower: str) -> tuple[Modality, ...]:
    return tuple(tower.split("+"))


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How a tower and the map behind it learn."""

    dropout: float = 0.0
    """Of what the last map reads."""
    norm: bool = False
    """LayerNorm before the map (MAViL)."""
    rank: int = 0
    """The map as a product of two, through so many numbers; 0: one map."""
    init_std: float | None = None
    """Of the last map's weights at the start, normal; None: uniform by width in and out (Glorot)."""
    prior_bias: bool = False
    """Biases start at -ln(C - 1): every class is rare before anything is learnt."""
    smoothing: float = 0.0
    """Of targets of one class: (1 - s) y + s / C."""
    weighted: bool = False
    """Clips with several labels count w_i = sum_c (y_ic / n_i) / m_c: a label that repeats in a batch counts once."""
    sum_classes: bool = False
    """The loss of several labels is a sum over classes (VATT), not their mean."""
    mixup: float = 0.0
    """Chance that a clip is mixed with another of its batch, inputs and labels alike."""
    mixup_beta: float = 5.0
    """The share of either is drawn from Beta(b, b)."""
    mask_time: int = 0
    """SpecAug: up to so many frames in a row of a spectrogram are hidden, at a place that is drawn."""
    mask_bands: int = 0
    """The same for its bands."""
    layer_decay: float = 1.0
    """The rate of a layer is that of the one behind it times this; patches and positions count as layer 0."""
    tower_lr: float = 1.0
    """Rate of the tower relative to the map behind it. 0: the tower stays as it is."""
    keep: float = 1.0
    """DropToken of a model that has it: the part of the tokens that a training step looks at."""
    drop_path: float = 0.0
    """How often the last block's branches are left out for a clip; earlier ones less."""
    l2: float = 0.0
    """Added to the loss: this times the squared norm of the last map."""

    def __post_init__(self) -> None:
        check_range(self, "[0, 1)", "dropout", "smoothing", "drop_path")
        check_range(self, "[0, 1]", "mixup")
        check_range(self, "(0, 1]", "layer_decay", "keep")
        check_range(self, "[0, inf)", "rank", "init_std", "mask_time", "mask_bands", "tower_lr", "l2")
        check_range(self, "(0, inf)", "mixup_beta")


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    classes: tuple[str, ...]
    """Names, in the order of the logits."""
    width: int
    """Of the features."""
    several: bool = False
    """A clip may have several of the classes, or none."""
    tower: str = "video"
    """One of `TOWERS`."""
    method: str = ""
    """The model that the tower is of; '': features come as they are, in a batch's 'features'."""
    model: dict[str, Any] = field(default_factory=dict)
    """Its settings."""
    left_out: tuple[str, ...] = ()
    """Modules of the model that the tower has no use for."""
    learning: Learning = Learning()
    """How it learns, or learnt."""

    def __post_init__(self) -> None:
        for name in ("classes", "left_out"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.tower not in TOWERS:
            raise unknown("tower", self.tower, TOWERS)
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise SeehearError(f"a classifier tells two different classes apart at least; got {self.classes}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClassifierConfig:
        """What `dataclasses.asdict`, or JSON made from it, gave."""
        for kind, given in ((cls, values), (Learning, values.get("learning", {}))):
            known = [f.name for f in fields(kind)]
            for name in given:
                if name not in known:
                    raise unknown("classifier option", name, known)
        return cls(**{**values, "learning": Learning(**values.get("learning", {}))})
