"""The protocol between a method and the training loop.

One step, for every method (`train/loop.py`):

    before_step(progress)             schedules that encoding depends on (a masking ratio)
    batch   = assemble(batch)         only if `assembles`: the whole global batch, no gradient (FuseMix's mixing)
    encoded = encode(batch)           heavy, per sample: may be run on micro-batches and repeated
    encoded = gather over processes   one mechanism for cross-process negatives
    out     = objective(encoded)      light, the whole batch: heads, batch statistics and every loss across samples
    backward, clip, update
    after_step(out)                   teacher, queue, centroids: all of them buffers

The cut between `encode` and `objective` is what makes exact gradient caching possible: encode micro-batches without
graph, take the objective's gradient with respect to the features, encode each micro-batch again with that gradient.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Self, TypeVar, get_type_hints

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError, unknown
from seehear.nn.random import Randomness, seed_of
from seehear.types import MODALITIES, Batch, Encoded, Float, Modality, StepOutput, Tensor

Config = TypeVar("Config")
AnyRun = TypeVar("AnyRun")
AnyMethod = TypeVar("AnyMethod", bound="Method")


def config_from(kind: type[Config], values: Mapping[str, Any], name: str = "") -> Config:
    """A frozen dataclass from the plain values of `dataclasses.asdict`, or from JSON of them. Raises `SeehearError` for
    an option that it does not have, nor had in an earlier version (`removed`)."""
    name, hints = name or kind.__name__.removesuffix("Config"), get_type_hints(kind)
    known, made = [f.name for f in fields(kind)], {}  # type: ignore[arg-type]
    for option, value in values.items():
        if option in getattr(kind, "removed", ()):
            continue
        # Refused, not ignored: a misspelt option would train with its default, unnoticed.
        if option not in known:
            raise unknown(f"{name} option", option, known)
        # JSON gives dataclasses inside dataclasses as mappings.
        inner = is_dataclass(hints[option]) and isinstance(value, Mapping)
        made[option] = config_from(hints[option], value, name) if inner else value
    return kind(**made)


class MethodConfig:
    """Settings of a method: its subclasses are frozen dataclasses of plain values."""

    name: ClassVar[str]
    """Name of the method in `registry.METHODS`."""
    reads_sequences: ClassVar[bool] = False
    """Whether words and spectrograms are read as sequences where a library has them, and not as single vectors."""
    removed: ClassVar[tuple[str, ...]] = ()
    """Options of earlier versions that only concerned training: a model saved with any of them embeds as before."""

    rounds: int = 1
    """Successive trainings of a run; the model of each is the `teacher` of the next, which starts anew."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Modalities that the method can read."""
        return MODALITIES

    @property
    def starts_closed(self) -> bool:
        """Whether the untrained model is a closed form."""
        return False

    def scheduled(self, run: AnyRun) -> AnyRun:
        """The run (`runs.config.Run`) with the options filled in that follow from these settings."""
        return run


def seeded(kind: type[AnyMethod], config: Any, seed: int) -> AnyMethod:
    """An untrained method whose weights are a function of the seed; torch's global generator is not advanced."""
    # Modules draw their weights from torch's global generator. Forked, they do not depend on what was drawn before.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "weights"))
        return kind(config)


class _Affine(nn.Module):
    """(z - mean) @ weight"""

    mean: Tensor
    weight: Tensor

    def __init__(self, mean_E: Tensor, weight_EK: Tensor):
        super().__init__()
        # Closed forms are float64, batches are not. Cloned: `float()` of a float32 tensor is that tensor itself.
        self.register_buffer("mean", mean_E.float().clone())
        self.register_buffer("weight", weight_EK.float().clone())

    def forward(self, z_NE: Tensor) -> Tensor:
        return (z_NE - self.mean) @ self.weight


class Method(nn.Module):
    """Base class of all methods. All state is in parameters and buffers: config and state dict rebuild the model."""

    name: ClassVar[str]
    assembles: ClassVar[bool] = False
    """Whether `assemble` needs the whole global batch before it is cut into micro-batches. The batch then has an even
    number of rows, so that its halves can be combined."""
    reads_media: ClassVar[bool] = False
    """Whether a batch holds frames, samples and word numbers (`inputs/raw`) instead of latents of frozen encoders."""
    compares_unit: ClassVar[bool] = True
    """Whether the losses compare unit vectors; if not, they compare the vectors of `place`."""
    shortest: ClassVar[float] = 1e-12
    """Smallest norm that `embed` divides by."""
    config_type: ClassVar[type]
    """Class of `config`."""

    config: Any
    """A frozen dataclass of plain values."""
    spaces: dict[str, tuple[Modality, ...]]
    """Modalities of each shared space; a single space is called 'joint'."""

    def __init__(self, config: Any = None):
        super().__init__()
        # By space and modality; empty unless training added one.
        self.last_layer = nn.ModuleDict()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """An untrained method from its configuration as plain values (`dataclasses.asdict`)."""
        return cls(config_from(cls.config_type, config))

    def current_name(self, saved: str) -> str:
        """Current name of a tensor that a saved model calls `saved`; it differs for models of older versions."""
        return saved

    def lr_multiplier(self, parameter: str) -> float:
        """The learning rate of a parameter, by its name, relative to that of the run."""
        return 1.0

    def before_step(self, progress: float) -> None:
        """Called before the step, without gradient: sets the schedules that `encode` needs. `progress` in [0, 1)."""

    def assemble(self, batch: Batch, *, rng: Randomness) -> Batch:
        """Combines rows of the whole batch, without gradient. May return fewer rows."""
        return batch

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        """Per-sample features: row i depends on row i of the batch only. `rng` None: no randomness."""
        raise NotImplementedError

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        """The loss of the whole batch, the same on every process. `progress` in [0, 1) drives schedules."""
        raise NotImplementedError

    def after_step(self, out: StepOutput, progress: float) -> None:
        """Called after the update, without gradient: updates teachers, queues, centroids."""

    # -- use ---------------------------------------------------------------------------------------------------------

    def features(self, m: Modality, x: Tensor, *, rng: Randomness | None = None) -> Tensor:
        """(B, D) before any head: the input of a probe or classifier. Latents are their own features; media are
        (B, T, H, W, C) frames, (B, S) samples or (B, K, L) word numbers of K sentences, the clip's own first."""
        return x

    def fused(
        self, batch: Batch, modalities: Sequence[Modality], *, rng: Randomness | None = None
    ) -> dict[Modality, Tensor]:
        """Features (B, D) by modality, after fusion in models that fuse modalities."""
        return {m: self.features(m, batch[m], rng=rng) for m in modalities}

    def place(self, features: Mapping[Modality, Tensor], space: str | None = None) -> dict[Modality, Tensor]:
        """{modality: (N, E)} vectors of features (N, D) in a space, not normalised; `space` None means the method's
        first. Without heads the features are the vectors."""
        return {m: x for m, x in features.items() if m in self.spaces[self.space_name(space)]}

    @torch.no_grad()
    def raw(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]:
        """{modality: (B, E)} vectors, not normalised, for the modalities of the space that the batch holds."""
        space = self.space_name(space)
        placed = self.place({m: self.features(m, batch[m]) for m in self.spaces[space] if m in batch}, space)
        return {m: self.finished(m, z_BE, space) for m, z_BE in placed.items()}

    def embed(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]:
        """{modality: (B, E)} unit vectors for the modalities of the space that the batch holds: no masking, no
        randomness. Rows of an absent modality are arbitrary; the caller masks them."""
        return {m: F.normalize(z_BE, dim=-1, eps=self.shortest) for m, z_BE in self.raw(batch, space).items()}

    @torch.no_grad()
    def place_windows(self, m: Modality, x_NWD: Tensor, space: str | None = None) -> Tensor:
        """(N, E) vectors of clips, not normalised: the mean over their W windows."""
        # Averaged before anything is normalised, as VATT averages the windows of a film.
        z_NE = self.place({m: x_NWD.flatten(0, 1)}, space)[m]
        return self.finished(m, z_NE.unflatten(0, x_NWD.shape[:2]).mean(1), space)

    # -- a closed form behind the trained model (`runs/scores.py`) ----------------------------------------------

    def finished(self, m: Modality, z_NE: Tensor, space: str | None = None) -> Tensor:
        """Vectors of `place` through the last layer, where the space has one; its input is normalised first."""
        if (space := self.space_name(space)) not in self.last_layer:
            return z_NE
        layers = self.last_layer[space]
        assert isinstance(layers, nn.ModuleDict)
        # The layer's buffers are float32; vectors made under autocast are not.
        unit_NE: Tensor = layers[m](F.normalize(z_NE.float(), dim=-1, eps=self.shortest))
        return unit_NE

    def set_last_layer(self, space: str, mean: Mapping[Modality, Tensor], weight: Mapping[Modality, Tensor]) -> None:
        """Set the last layer of a space: `mean` (E,) and `weight` (E, K) by modality."""
        self.last_layer[space] = nn.ModuleDict({m: _Affine(mean[m], weight[m]) for m in weight})
        # A model may be on its device already.
        if (parameter := next(iter(self.parameters()), None)) is not None:
            self.last_layer[space].to(parameter.device)

    def own_state(self) -> dict[str, Tensor]:
        """The state dict without the last layer: another model of these settings can load it."""
        return {name: x for name, x in self.state_dict().items() if not name.startswith("last_layer.")}

    @property
    def last_sizes(self) -> dict[str, dict[Modality, tuple[int, int]]]:
        """Sizes of the last layers by space and modality; `set_last_sizes` needs them before a state dict is loaded."""
        sizes: dict[str, dict[Modality, tuple[int, int]]] = {}
        for name, tensor in self.last_layer.state_dict().items():
            if name.endswith(".weight"):
                space, m, _ = name.split(".")
                sizes.setdefault(space, {})[m] = tensor.shape[0], tensor.shape[1]
        return sizes

    def set_last_sizes(self, sizes: Mapping[str, Mapping[Modality, Sequence[int]]]) -> None:
        for space, own in sizes.items():
            # Zeros until the state dict is loaded over them: only the shapes count here.
            weight = {m: torch.zeros(rows, columns) for m, (rows, columns) in own.items()}
            self.set_last_layer(self.space_name(space), {m: x[:, 0] for m, x in weight.items()}, weight)

    def space_name(self, space: str | None) -> str:
        """`space`, or the first space for None. Raises `SeehearError` for a space that the method does not have."""
        if space is not None and space not in self.spaces:
            raise unknown("space", space, self.spaces)
        return space or next(iter(self.spaces))


# -- features of a tower -----------------------------------------------------------------------------------------------

TOWERS = ("video", "audio", "video+audio")
"""Towers by name; the last is both side by side, or the fused features of a model that fuses them."""


def modalities_of(tower: str) -> tuple[Modality, ...]:
    return tuple(tower.split("+"))


def tower_features(method: Method, tower: str, batch: Batch, *, rng: Randomness | None = None) -> Float[Tensor, "b d"]:
    """Features of a batch with one view a row; several modalities are fused by `Method.fused` and concatenated."""
    modalities = modalities_of(tower)
    if len(modalities) == 1:
        return method.features(modalities[0], batch[modalities[0]], rng=rng)
    fused = method.fused(batch, modalities, rng=rng)
    return torch.cat([fused[m] for m in modalities], dim=1)


# -- a space without training ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FrozenConfig(MethodConfig):
    name: ClassVar[str] = "frozen"

    widths: Mapping[Modality, int]
    """Width of each tower's latents; all are equal."""

    def __post_init__(self) -> None:
        if len(set(self.widths.values())) != 1:
            widths = ", ".join(f"{m} {width}" for m, width in self.widths.items()) or "none"
            raise SeehearError(f"frozen: towers of one space have one width; got {widths}")

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return tuple(self.widths)


class Frozen(Method):
    """The space of a joint encoder: latents of towers that were trained together (SigLIP, CLAP, PE-AV, a packaged word
    tower), whose cosines are comparable. A single encoder is a space with one modality. `features` and `place` are the
    identity, `embed` normalises."""

    name: ClassVar[str] = "frozen"
    config_type: ClassVar[type] = FrozenConfig
    config: FrozenConfig

    def __init__(self, config: FrozenConfig):
        super().__init__()
        self.config = config
        self.spaces = {"joint": config.modalities}

    def features(self, m: Modality, x: Tensor, *, rng: Randomness | None = None) -> Tensor:
        # Libraries store float16, in which a cosine over hundreds of numbers keeps too few digits.
        return x.float()


# -- methods by name ---------------------------------------------------------------------------------------------------

METHODS: dict[str, str] = {
    "fusemix": "fusemix.FuseMix",
    "mcn": "mcn.MCN",
    "vatt": "vatt.VATT",
    "mavil": "mavil.MAViL",
    "diffmavil": "diffmavil.DiffMAViL",
    "classifier": "classifier.Classifier",
    "painter": "painter.Painter",
    "frozen": "base.Frozen",
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
    # Imported on use: a search loads only the method of its run.
    module, _, attribute = METHODS[name].partition(".")
    kind: type[Method] = getattr(importlib.import_module(f"seehear.methods.{module}"), attribute)
    return kind


def make_method(name: str, settings: Mapping[str, Any]) -> Method:
    """An untrained method from its name and the plain values of its configuration."""
    return method_class(name).from_config(settings)
