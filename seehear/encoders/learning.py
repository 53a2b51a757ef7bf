"""A frozen encoder some of whose weights learn with a method: it reads a batch of raw media and gives latents.

The encoder stays as it is in its package or folder. A change, zero at first, is added to each chosen weight, and only
the changes are parameters of the method: they are what is trained, saved and loaded. A hub model learns changes of low
rank in its linear maps (LoRA, arXiv 2106.09685), a packaged encoder whole changes in its last block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from seehear.encoders.frozen import FrozenEncoder
from seehear.encoders.registry import load_encoder
from seehear.errors import SeehearError
from seehear.types import Modality, Tensor

FIRST_BYTE = 2
"""Number of byte 0 of a text in a batch: 0 is padding, and 1 means unknown."""


class LearningEncoder(nn.Module):
    """`weights`: shapes of the weights that learn, by the name of their module. `fingerprint`: the encoder's."""

    def __init__(
        self, name: str, m: Modality, weights: Mapping[str, Sequence[int]], *, rank: int = 0, fingerprint: str = ""
    ):
        super().__init__()
        self.name, self.modality, self.fingerprint = name, m, fingerprint
        # Names in a ModuleDict may not hold dots.
        self.changes = nn.ModuleDict({key.replace(".", "/"): Change(shape, rank) for key, shape in weights.items()})
        self._encoder: FrozenEncoder | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy shares no encoder: it loads its own when it needs one."""
        return {**self.__dict__, "_encoder": None}

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) latents of (B, T, H, W, 3) frames, (B, S) samples, or the bytes (B, K, L) of K texts, of which the
        first is read."""
        encoder = self._loaded(str(x.device))
        # Prepared as media from files are: with changes of zero the latents are the frozen encoder's.
        prepare: Any = encoder.preparation()
        rows = [text_of(row) for row in x[:, 0].cpu().numpy()] if self.modality == "text" else list(x.cpu().numpy())
        return encoder.embed(encoder.network, [prepare.of(row) for row in rows])

    def _loaded(self, device: str) -> FrozenEncoder:
        if self._encoder is None:
            encoder = learning(self.name, self.modality)
            if encoder.fingerprint != self.fingerprint:
                raise SeehearError(
                    f"encoder {self.name!r} is not the one this model was trained on (fingerprint "
                    f"{encoder.fingerprint}, then {self.fingerprint}): use the encoder of that time, or train again"
                )
            # What is loaded inside inference mode, as `encode` is called, could not be trained later.
            with torch.inference_mode(False):
                network = encoder.to(device).network
                for key, change in self.changes.items():
                    # A parametrisation: the frozen weight stays as it is, and the change gets the gradient.
                    register_parametrization(network.get_submodule(key.replace("/", ".")), "weight", change)
            self._encoder = encoder
        return self._encoder.to(device)


def text_of(numbers_L: np.ndarray) -> str:
    """The text whose bytes are in a batch; an unfinished letter at its end is left out."""
    return bytes((numbers_L[numbers_L >= FIRST_BYTE] - FIRST_BYTE).astype(np.uint8)).decode(errors="ignore")


def learning(name: str, m: Modality) -> FrozenEncoder:
    """An encoder that can learn. Raises `SeehearError` for another."""
    encoder = load_encoder(name, modality=m, device="cpu")
    if not isinstance(encoder, FrozenEncoder) or not hasattr(encoder.preparation(), "of"):
        raise SeehearError(f"encoder {name!r} cannot learn with the heads: take a frozen recipe, or another encoder")
    return encoder


def weights_to_learn(encoder: FrozenEncoder) -> dict[str, tuple[int, ...]]:
    """Shapes by module: of the encoder's last block, where it names one, else of all linear maps that it uses."""
    network, used = encoder.network, set[nn.Module]()
    named = {n: x for n, x in network.named_modules() if isinstance(x, nn.Linear | nn.Conv2d)}
    if encoder.last:
        return {n: tuple(x.weight.shape) for n, x in named.items() if n.startswith(encoder.last)}
    # A joint model also holds the maps of its other towers: a blank input shows which of them are used.
    hooks = [x.register_forward_hook(lambda own, *_: used.add(own)) for x in named.values() if isinstance(x, nn.Linear)]
    prepare: Any = encoder.preparation()
    blank = {"text": lambda: "a", "audio": lambda: np.zeros(prepare.rate, np.float32)}
    picture = lambda: np.zeros((1, prepare.side, prepare.side, 3), np.uint8)  # noqa: E731
    with torch.no_grad():
        encoder.embed(network, [prepare.of(blank.get(encoder.modality, picture)())])
    for hook in hooks:
        hook.remove()
    if not used:
        raise SeehearError(f"encoder {encoder.name!r} has no weights that can learn: take a frozen recipe")
    return {n: tuple(x.weight.shape) for n, x in named.items() if x in used}


class Change(nn.Module):
    """weight -> weight + up @ down of a rank; of rank 0, or where that has no fewer numbers, a whole tensor is added.
    A convolution counts as the matrix of its output channels. Zero at first: training starts from the pretrained
    function."""

    def __init__(self, shape: Sequence[int], rank: int):
        super().__init__()
        rows, columns = shape[0], int(torch.Size(shape[1:]).numel())
        self.low = 0 < rank * (rows + columns) < rows * columns
        if self.low:
            # One factor random, one zero: from two zeros neither would get a gradient.
            self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
            self.up = nn.Parameter(torch.zeros(rows, rank))
        else:
            self.whole = nn.Parameter(torch.zeros(*shape))

    def forward(self, weight: Tensor) -> Tensor:
        change = (self.up @ self.down).view_as(weight) if self.low else self.whole
        return weight + change.to(weight.dtype)
