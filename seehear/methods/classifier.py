"""A tower of a pre-trained model, and a map behind it to the classes of labelled clips; both learn.

    logits      W dropout(norm(f)) + b,  f the tower's features;  norm only where asked for;  W = V U of low rank
    one class   -sum_c t_c ln softmax(logits)_c,  t = (1 - s) y + s / C
    several     sum_c or mean_c of BCE(logits_c, y_c), of clip i times w_i = sum_c (y_ic / n_i) / m_c where asked for,
                n_i = sum_c y_ic labels of a clip, m_c = sum_i y_ic clips of a class in the batch
    mixup       x = lam x_i + (1 - lam) x_j,  y = lam y_i + (1 - lam) y_j,  lam ~ Beta(a, a) for each clip
    rates       of layer l of L behind patches and positions (layer 0): d^(L + 1 - l)

What a clip lacks, or could not be read of it, leaves it out of the loss. Without a model it is a map of features that
are at hand: VATT's probe of low rank.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.losses.zero import zero_of
from seehear.methods.base import Method
from seehear.methods.classifier_config import TOWERS, ClassifierConfig, Learning, modalities_of
from seehear.methods.registry import make_method
from seehear.nn.mel import KaldiMel, LogMel
from seehear.nn.mixing import permutation
from seehear.nn.random import Randomness, dropout
from seehear.nn.transformer import glorot
from seehear.types import Batch, Encoded, Float, StepOutput, Tensor

__all__ = ["TOWERS", "Classifier", "ClassifierConfig", "Learning", "modalities_of", "tower_features"]


class Classifier(Method):
    name = "classifier"
    reads_media = True
    config: ClassifierConfig

    def __init__(self, config: ClassifierConfig, model: Method | None = None):
        """`model`: the one that the config names, with all its modules; those that are not needed are taken out."""
        super().__init__()
        self.config, learning = config, config.learning
        self.assembles = learning.mixup > 0  # type: ignore[misc]
        self.spaces = {}
        self.model = None if model is None else _without(model, [model.current_name(n) for n in config.left_out])
        self.norm = nn.LayerNorm(config.width, eps=1e-6) if learning.norm else nn.Identity()
        self.inner = glorot(nn.Linear(config.width, learning.rank)) if learning.rank else nn.Identity()
        self.last = glorot(nn.Linear(learning.rank or config.width, len(config.classes)))
        if learning.init_std is not None:
            nn.init.normal_(self.last.weight, std=learning.init_std)
        if learning.prior_bias:
            nn.init.constant_(self.last.bias, -math.log(max(len(config.classes) - 1, 1)))
        if model is not None and learning.tower_lr == 0:
            model.requires_grad_(False)
        if (learning.mask_time or learning.mask_bands) and self._spectrogram() is None:
            raise SeehearError("mask_time and mask_bands hide parts of a spectrogram: this tower makes none")
        self._layers = _depth(self.model)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Classifier:
        """Without a `method` it is a map of features that are at hand."""
        read = ClassifierConfig.from_dict(config)
        return cls(read, make_method(read.method, read.model) if read.method else None)

    def current_name(self, saved: str) -> str:
        head, _, name = saved.partition(".")
        return f"model.{self.model.current_name(name)}" if head == "model" and self.model is not None else saved

    def lr_multiplier(self, parameter: str) -> float:
        if not parameter.startswith("model."):
            return 1.0
        return self.config.learning.tower_lr * self.config.learning.layer_decay ** (
            self._layers + 1 - self._layer(parameter)
        )

    def _layer(self, parameter: str) -> int:
        """0 for patches, positions and what stands in front of the first block; L + 1 for all behind the last one, and
        for what joins two towers."""
        if ".fusion." in parameter:
            return self._layers + 1
        block = re.search(r"\.(?:blocks|layers)\.(\d+)\.", parameter)
        if block is not None:
            return min(int(block[1]), self._layers - 1) + 1
        return 0 if _FRONT.search(parameter) else self._layers + 1

    def assemble(self, batch: Batch, *, rng: Randomness) -> Batch:
        """Mixup of frames, samples or features, with the labels."""
        learning, names = self.config.learning, self._inputs()
        if not learning.mixup:
            return batch
        here_BM = torch.stack([_has(batch, m) for m in names], dim=1).cpu()
        _, partner = permutation(here_BM, rng.shared("mixup/partner"))
        share_B = _beta(learning.mixup_beta, rng.shared("mixup/share"), len(partner))
        share_B[rng.uniform("mixup/chance").cpu() >= learning.mixup] = 1.0
        mixed = dict(batch)
        for name in (*names, "label"):
            x = batch[name]
            share = share_B.to(x.device).view(-1, *[1] * (x.dim() - 1))
            y = share * x + (1 - share) * x[partner.to(x.device)]
            mixed[name] = y.round().to(x.dtype) if x.dtype == torch.uint8 else y
        return mixed

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        present_B = torch.stack([_has(batch, m) for m in self._inputs()]).all(dim=0)
        return Encoded({"f": self.tower(batch, rng=rng)}, {"f": present_B}, {"label": batch["label"]})

    def tower(self, batch: Batch, *, rng: Randomness | None = None) -> Float[Tensor, "b d"]:
        if self.model is None:
            return batch["features"]
        with self._masking(rng):
            return tower_features(self.model, self.config.tower, batch, rng=rng)

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        f_BD, here_B, label_BC = encoded.features["f"], encoded.present["f"], encoded.context["label"]
        with torch.autocast(f_BD.device.type, enabled=False):
            logits_BC = self.classify(f_BD.float(), rng=rng)[here_B]
            label_BC = label_BC[here_B].to(logits_BC)
            loss_B = self._losses(logits_BC, label_BC)
            loss = loss_B.mean() if len(loss_B) else zero_of([logits_BC])
            if self.config.learning.l2:
                loss = loss + self.config.learning.l2 * self.last.weight.square().sum()
        if self.config.several or not len(loss_B):
            return StepOutput(loss)
        right = (logits_BC.argmax(1) == label_BC.argmax(1)).float().mean()
        return StepOutput(loss, {"top1": right.detach()})

    def classify(self, f_BD: Float[Tensor, "b d"], *, rng: Randomness | None = None) -> Float[Tensor, "b c"]:
        """Logits of features."""
        u = self.inner(self.norm(f_BD))
        return self.last(dropout(u, self.config.learning.dropout, rng, "dropout"))

    def _losses(self, logits_BC: Tensor, label_BC: Tensor) -> Float[Tensor, " b"]:
        learning = self.config.learning
        if not self.config.several:
            return -(smoothed(label_BC, learning.smoothing) * logits_BC.log_softmax(dim=1)).sum(dim=1)
        loss_BC = F.binary_cross_entropy_with_logits(logits_BC, label_BC, reduction="none")
        loss_B = loss_BC.sum(dim=1) if learning.sum_classes else loss_BC.mean(dim=1)
        return loss_B * label_weights(label_BC) if learning.weighted else loss_B

    def _inputs(self) -> tuple[str, ...]:
        return ("features",) if self.model is None else modalities_of(self.config.tower)

    # -- SpecAug -----------------------------------------------------------------------------------------------------

    def _spectrogram(self) -> nn.Module | None:
        """The module of the tower that turns samples into a spectrogram."""
        modules = [] if self.model is None or "audio" not in modalities_of(self.config.tower) else self.model.modules()
        return next((module for module in modules if isinstance(module, LogMel | KaldiMel)), None)

    @contextmanager
    def _masking(self, rng: Randomness | None) -> Iterator[None]:
        """While a training step runs, spectrograms have holes."""
        learning, module = self.config.learning, self._spectrogram()
        if rng is None or module is None or not (learning.mask_time or learning.mask_bands):
            yield
            return
        draws_B4 = rng.uniform("specaug", 4)

        def hide(_: nn.Module, __: Any, x_BSF: Tensor) -> Tensor:
            return masked(x_BSF, draws_B4, time=learning.mask_time, bands=learning.mask_bands)

        hook = module.register_forward_hook(hide)
        try:
            yield
        finally:
            hook.remove()


def tower_features(method: Method, tower: str, batch: Batch, *, rng: Randomness | None = None) -> Float[Tensor, "b d"]:
    """Features of a batch of one view a row; of several modalities side by side, as `Method.fused` gives them."""
    modalities = modalities_of(tower)
    if len(modalities) == 1:
        return method.features(modalities[0], batch[modalities[0]], rng=rng)
    met = method.fused(batch, modalities, rng=rng)
    return torch.cat([met[m] for m in modalities], dim=1)


def smoothed(label_BC: Float[Tensor, "b c"], s: float) -> Float[Tensor, "b c"]:
    return (1 - s) * label_BC + s / label_BC.shape[1]


def label_weights(label_BC: Float[Tensor, "b c"]) -> Float[Tensor, " b"]:
    """w_i = sum_c (y_ic / n_i) / m_c; 0 for a clip without a label."""
    per_clip, per_class = label_BC.sum(dim=1, keepdim=True), label_BC.sum(dim=0, keepdim=True)
    share_BC = torch.where(label_BC > 0, label_BC / per_clip.clamp(min=1e-12) / per_class.clamp(min=1e-12), 0.0)
    return share_BC.sum(dim=1)


def masked(x_BSF: Tensor, draws_B4: Tensor, *, time: int, bands: int) -> Tensor:
    """SpecAug: one run of frames and one of bands of each clip are zero. Of four draws in [0, 1) two say how long the
    runs are, from 0 to the most, two where they lie."""
    hidden = torch.zeros(x_BSF.shape, dtype=torch.bool, device=x_BSF.device)
    for axis, most in ((1, time), (2, bands)):
        size = x_BSF.shape[axis]
        length_B = (draws_B4[:, axis - 1] * (min(most, size) + 1)).long().to(x_BSF.device)
        start_B = (draws_B4[:, axis + 1].to(x_BSF.device) * (size - length_B + 1)).long()
        place = torch.arange(size, device=x_BSF.device)
        run_BN = (place >= start_B[:, None]) & (place < (start_B + length_B)[:, None])
        hidden |= run_BN[:, :, None] if axis == 1 else run_BN[:, None, :]
    return x_BSF.masked_fill(hidden, 0.0)


def unneeded(model: Method, tower: str, batch: Batch) -> tuple[str, ...]:
    """Modules that neither run nor lend their weights when the tower looks at a batch: the topmost ones."""
    called: set[str] = set()
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: called.add(name))
        for name, module in model.named_modules()
    ]
    try:
        learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        total = tower_features(model, tower, batch).sum()
        found = torch.autograd.grad(total, list(learning.values()), allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    used = called | {name for name, gradient in zip(learning, found, strict=True) if gradient is not None}
    left: list[str] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{other}.") for other in left)
        needed = any(one == name or one.startswith(f"{name}.") for one in used)
        if name and not inside and not needed and any(True for _ in module.parameters()):
            left.append(name)
    return tuple(left)


_FRONT = re.compile(r"token|patch|position|aggregate")


def _without(model: Method, names: Sequence[str]) -> Method:
    for name in names:
        parent, _, child = name.rpartition(".")
        holder = model.get_submodule(parent)
        if isinstance(holder, nn.ModuleDict):
            del holder[child]
        else:
            setattr(holder, child, None)
    return model


def _depth(model: nn.Module | None) -> int:
    """Blocks of the deepest Transformer."""
    names = [] if model is None else [name for name, _ in model.named_modules()]
    numbers = [int(found[1]) for name in names if (found := re.search(r"\.(?:blocks|layers)\.(\d+)$", name))]
    return max(numbers, default=-1) + 1


def _has(batch: Batch, name: str) -> Tensor:
    return batch[f"has_{name}"]


def _beta(a: float, generator: torch.Generator, count: int) -> Float[Tensor, " b"]:
    """(count,) of Beta(a, a), on the CPU."""
    gammas = torch._standard_gamma(torch.full((2, count), a), generator=generator)
    return gammas[0] / gammas.sum(dim=0)
