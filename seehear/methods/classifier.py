"""A tower of a pre-trained model, and a linear map behind it to the classes of labelled clips; both learn.

    mixup       x = lam x_i + (1 - lam) x_j,  y = lam y_i + (1 - lam) y_j,  lam ~ Beta(a, a) for each clip
    logits      W dropout(norm(f)) + b,  f the tower's features;  norm is an option;  W = V U of low rank
    one class   -sum_c t_c ln softmax(logits)_c,  t = (1 - s) y + s / C
    several     sum_c or mean_c of BCE(logits_c, y_c), optionally times w_i = sum_c (y_ic / n_i) / m_c for clip i,
                n_i = sum_c y_ic labels of a clip, m_c = sum_i y_ic clips of a class in the batch
    rates       d^(L + 1 - l) for layer l of L; patches and positions are layer 0

A clip that lacks one of the tower's modalities, or could not be read, is left out of the loss. Without a model the
input is features (VATT's probe of low rank).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError, check_range, unknown
from seehear.losses.contrastive import zero_of
from seehear.methods.base import TOWERS, Method, config_from, make_method, modalities_of, tower_features
from seehear.nn.latents import permutation
from seehear.nn.random import Randomness, dropout
from seehear.nn.transformer import glorot
from seehear.types import Batch, Encoded, Float, StepOutput, Tensor

# Modules before the first block, by the names that methods give them: layer 0 of the rates.
_FRONT = re.compile(r"token|patch|position|aggregate")


@dataclass(frozen=True, kw_only=True)
class Learning:
    """Training options of a tower and the map behind it."""

    dropout: float = 0.0
    """Dropout of the last map's input."""
    norm: bool = False
    """LayerNorm before the map (MAViL)."""
    rank: int = 0
    """Rank of the map, as a product of two; 0: one map."""
    init_std: float | None = None
    """Standard deviation of the last map's initial weights, normal; None: Glorot's uniform ones."""
    prior_bias: bool = False
    """Initial biases of -ln(C - 1): every class is rare before training."""
    smoothing: float = 0.0
    """s of the smoothed targets of one class, (1 - s) y + s / C."""
    weighted: bool = False
    """Clips with several labels count w_i = sum_c (y_ic / n_i) / m_c: a label that repeats in a batch counts once."""
    sum_classes: bool = False
    """The loss of several labels is a sum over classes (VATT), not their mean."""
    mixup: float = 0.0
    """Chance that a clip is mixed with another of its batch, inputs and labels alike."""
    mixup_beta: float = 5.0
    """The share of either is drawn from Beta(b, b)."""
    mask_time: int = 0
    """SpecAug: largest number of consecutive frames of a spectrogram that are hidden."""
    mask_bands: int = 0
    """SpecAug: largest number of consecutive bands that are hidden."""
    layer_decay: float = 1.0
    """Learning rate of a layer relative to the one behind it; patches and positions are layer 0."""
    tower_lr: float = 1.0
    """Learning rate of the tower relative to the map behind it; 0 freezes the tower."""
    keep: float = 1.0
    """Share of the tokens that a training step reads, in a model with DropToken."""
    drop_path: float = 0.0
    """Stochastic depth: probability for the last block's branches; lower for earlier blocks."""
    l2: float = 0.0
    """Weight of the squared norm of the last map in the loss."""

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
    """Width of the features."""
    several: bool = False
    """A clip may have several of the classes, or none."""
    tower: str = "video"
    """One of `TOWERS`."""
    method: str = ""
    """Method of the tower's model; empty: a batch holds `features`."""
    model: dict[str, Any] = field(default_factory=dict)
    """Settings of the tower's model."""
    left_out: tuple[str, ...] = ()
    """Modules of the model that the tower does not use."""
    learning: Learning = Learning()
    """Training options."""

    def __post_init__(self) -> None:
        for name in ("classes", "left_out"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.tower not in TOWERS:
            raise unknown("tower", self.tower, TOWERS)
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise SeehearError(f"a classifier needs two different classes at least; got {self.classes}")


class Classifier(Method):
    name = "classifier"
    reads_media = True
    config: ClassifierConfig

    def __init__(self, config: ClassifierConfig, model: Method | None = None):
        """`model` is the one that the config names, with all its modules; those of `left_out` are removed from it."""
        super().__init__()
        self.config, learning = config, config.learning
        # Only mixup needs whole batches, and the even number of rows that assembling asks for.
        self.assembles = learning.mixup > 0  # type: ignore[misc]
        self.spaces = {}
        self.model = model
        if model is not None:
            for name in config.left_out:
                parent, _, child = model.current_name(name).rpartition(".")
                holder = model.get_submodule(parent)
                if isinstance(holder, nn.ModuleDict):
                    del holder[child]
                else:
                    setattr(holder, child, None)
        # 1e-6 is the epsilon of MAE's ViTs; torch's default is 1e-5.
        self.norm = nn.LayerNorm(config.width, eps=1e-6) if learning.norm else nn.Identity()
        self.inner = glorot(nn.Linear(config.width, learning.rank)) if learning.rank else nn.Identity()
        self.last = glorot(nn.Linear(learning.rank or config.width, len(config.classes)))
        if learning.init_std is not None:
            nn.init.normal_(self.last.weight, std=learning.init_std)
        if learning.prior_bias:
            # The sigmoid of -ln(C - 1) is 1 / C: the chance of a class before anything is learned (VATT's code).
            nn.init.constant_(self.last.bias, -math.log(max(len(config.classes) - 1, 1)))
        if model is not None and learning.tower_lr == 0:
            model.requires_grad_(False)
        if (learning.mask_time or learning.mask_bands) and self._spectrogram() is None:
            raise SeehearError("mask_time and mask_bands hide parts of a spectrogram: this tower makes none")
        # Blocks of the deepest Transformer.
        names = [] if model is None else [name for name, _ in model.named_modules()]
        numbers = [int(match[1]) for name in names if (match := re.search(r"\.(?:blocks|layers)\.(\d+)$", name))]
        self._layers = max(numbers, default=-1) + 1

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Classifier:
        read = config_from(ClassifierConfig, config)
        return cls(read, make_method(read.method, read.model) if read.method else None)

    def current_name(self, saved: str) -> str:
        head, _, name = saved.partition(".")
        return f"model.{self.model.current_name(name)}" if head == "model" and self.model is not None else saved

    def lr_multiplier(self, parameter: str) -> float:
        if not parameter.startswith("model."):
            return 1.0
        learning = self.config.learning
        # Behind the last block, or in the fusion of two towers.
        layer = self._layers + 1
        if ".fusion." not in parameter:
            if block := re.search(r"\.(?:blocks|layers)\.(\d+)\.", parameter):
                layer = min(int(block[1]), self._layers - 1) + 1
            elif _FRONT.search(parameter):
                layer = 0
        # As in Audio-MAE: layer 0 is decayed L + 1 times, what lies behind the last block not at all.
        return learning.tower_lr * learning.layer_decay ** (self._layers + 1 - layer)

    def assemble(self, batch: Batch, *, rng: Randomness) -> Batch:
        """Mixup of frames, samples or features, with the labels."""
        learning, names = self.config.learning, self._inputs()
        if not learning.mixup:
            return batch
        present_BM = torch.stack([batch[f"has_{m}"] for m in names], dim=1).cpu()
        _, partner = permutation(present_BM, rng.shared("mixup/partner"))
        # Beta(a, a) as a ratio of gammas: torch's Beta takes no generator.
        gammas = torch.full((2, len(partner)), learning.mixup_beta)
        gammas = torch._standard_gamma(gammas, generator=rng.shared("mixup/share"))
        lam_B = gammas[0] / gammas.sum(dim=0)
        lam_B[rng.uniform("mixup/chance").cpu() >= learning.mixup] = 1.0
        mixed = dict(batch)
        for name in (*names, "label"):
            x = batch[name]
            lam = lam_B.to(x.device).view(-1, *[1] * (x.dim() - 1))
            y = lam * x + (1 - lam) * x[partner.to(x.device)]
            # Frames stay bytes: models scale bytes, and take floats as they are.
            mixed[name] = y.round().to(x.dtype) if x.dtype == torch.uint8 else y
        return mixed

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        present_B = torch.stack([batch[f"has_{m}"] for m in self._inputs()]).all(dim=0)
        return Encoded({"f": self.tower(batch, rng=rng)}, {"f": present_B}, {"label": batch["label"]})

    def tower(self, batch: Batch, *, rng: Randomness | None = None) -> Float[Tensor, "b d"]:
        if self.model is None:
            return batch["features"]
        with self._masking(rng):
            return tower_features(self.model, self.config.tower, batch, rng=rng)

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        learning, f_BD, present_B = self.config.learning, encoded.features["f"], encoded.present["f"]
        # bf16 would keep three digits of the logits.
        with torch.autocast(f_BD.device.type, enabled=False):
            logits_BC = self.classify(f_BD.float(), rng=rng)[present_B]
            label_BC = encoded.context["label"][present_B].to(logits_BC)
            if self.config.several:
                loss_BC = F.binary_cross_entropy_with_logits(logits_BC, label_BC, reduction="none")
                loss_B = loss_BC.sum(dim=1) if learning.sum_classes else loss_BC.mean(dim=1)
                loss_B = loss_B * label_weights(label_BC) if learning.weighted else loss_B
            else:
                loss_B = -(smoothed(label_BC, learning.smoothing) * logits_BC.log_softmax(dim=1)).sum(dim=1)
            # No clip has the tower's modalities: a zero that a gradient still goes back through.
            loss = loss_B.mean() if len(loss_B) else zero_of([logits_BC])
            if learning.l2:
                loss = loss + learning.l2 * self.last.weight.square().sum()
        if self.config.several or not len(loss_B):
            return StepOutput(loss)
        right = (logits_BC.argmax(1) == label_BC.argmax(1)).float().mean()
        return StepOutput(loss, {"top1": right.detach()})

    def classify(self, f_BD: Float[Tensor, "b d"], *, rng: Randomness | None = None) -> Float[Tensor, "b c"]:
        """Logits (B, C) of features."""
        u = self.inner(self.norm(f_BD))
        return self.last(dropout(u, self.config.learning.dropout, rng, "dropout"))

    def _inputs(self) -> tuple[str, ...]:
        return ("features",) if self.model is None else modalities_of(self.config.tower)

    # -- SpecAug -----------------------------------------------------------------------------------------------------

    def _spectrogram(self) -> nn.Module | None:
        """The module of the tower that turns samples into a spectrogram, which methods call `mel`."""
        return getattr(self.model, "mel", None) if "audio" in modalities_of(self.config.tower) else None

    @contextmanager
    def _masking(self, rng: Randomness | None) -> Iterator[None]:
        """A context in which the tower's spectrograms are masked; without `rng` they are not."""
        learning, module = self.config.learning, self._spectrogram()
        if rng is None or module is None or not (learning.mask_time or learning.mask_bands):
            yield
            return
        draws_B4 = rng.uniform("specaug", 4)

        def hide(_: nn.Module, __: Any, x_BSF: Tensor) -> Tensor:
            return masked(x_BSF, draws_B4, time=learning.mask_time, bands=learning.mask_bands)

        # A hook: methods need not know of an augmentation of fine-tuning.
        hook = module.register_forward_hook(hide)
        try:
            yield
        finally:
            hook.remove()


def smoothed(label_BC: Float[Tensor, "b c"], s: float) -> Float[Tensor, "b c"]:
    return (1 - s) * label_BC + s / label_BC.shape[1]


def label_weights(label_BC: Float[Tensor, "b c"]) -> Float[Tensor, " b"]:
    """w_i = sum_c (y_ic / n_i) / m_c; 0 for a clip without a label."""
    per_clip, per_class = label_BC.sum(dim=1, keepdim=True), label_BC.sum(dim=0, keepdim=True)
    # Clamped: a clip or a class without labels would divide by zero.
    share_BC = torch.where(label_BC > 0, label_BC / per_clip.clamp(min=1e-12) / per_class.clamp(min=1e-12), 0.0)
    return share_BC.sum(dim=1)


def masked(x_BSF: Tensor, draws_B4: Tensor, *, time: int, bands: int) -> Tensor:
    """SpecAug: one run of frames and one of bands of each clip are zero. Draws in [0, 1) decide the two lengths, up to
    `time` and `bands`, and then the two starts."""
    hidden = torch.zeros(x_BSF.shape, dtype=torch.bool, device=x_BSF.device)
    for axis, most in ((1, time), (2, bands)):
        size = x_BSF.shape[axis]
        # + 1 in both lines: the longest run is drawn too, and a run may reach the end.
        length_B = (draws_B4[:, axis - 1] * (min(most, size) + 1)).long().to(x_BSF.device)
        start_B = (draws_B4[:, axis + 1].to(x_BSF.device) * (size - length_B + 1)).long()
        place = torch.arange(size, device=x_BSF.device)
        run_BN = (place >= start_B[:, None]) & (place < (start_B + length_B)[:, None])
        hidden |= run_BN[:, :, None] if axis == 1 else run_BN[:, None, :]
    # Zeros in the levels as `mel` gives them, before they are standardised: Audio-MAE fills its holes so.
    return x_BSF.masked_fill(hidden, 0.0)


def unneeded(model: Method, tower: str, batch: Batch) -> tuple[str, ...]:
    """Topmost modules that neither run nor lend their weights when the tower reads a batch."""
    called: set[str] = set()
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: called.add(name))
        for name, module in model.named_modules()
    ]
    try:
        learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        # A module may lend its weights without being called itself (a tied map): its gradient shows it.
        total = tower_features(model, tower, batch).sum()
        gradients = torch.autograd.grad(total, list(learning.values()), allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    used = called | {name for name, gradient in zip(learning, gradients, strict=True) if gradient is not None}
    left: list[str] = []
    for name, module in model.named_modules():
        # Parents come before their children: what lies in a module that is left out is not named again.
        inside = any(name.startswith(f"{other}.") for other in left)
        needed = any(one == name or one.startswith(f"{name}.") for one in used)
        if name and not inside and not needed and any(True for _ in module.parameters()):
            left.append(name)
    return tuple(left)
