"""Word tower: typed words find pictures with packaged weights alone, learned from no pair of picture and text.

EfficientNet-Lite0 has a classifier: 1,000 weight vectors w_c, and each class has names. Names and MiniLM say what a
text has to do with each class; the classifier says what a picture has to do with it. With l = (f - centre) w_c the
logits of a picture's features f, and q(c) = softmax(cos(text, class) / 0.03) of a text, both sides have three parts:

    picture  sqrt softmax(l / 4)     sum_c softmax(l / 2)(c) name_c     f - centre
    text     sqrt q                  the text's own vector              sum_c q(c) (w_c - mean w)

Each part is unit, weighted by the inverse of its spread, and the first and last are cut to their leading directions, so
one cosine compares them. The cosine of a class is that of its best text (name, synonyms, first sentence of its
description); the kinds above the classes in WordNet ("dog", "vehicle") take part in the softmax, and what falls to a
kind is shared out among its classes. Settings were chosen on half of the pictures in benchmarks/word_tower.py.

The picture side is a function of the latents of `efficientnet-lite0`: where a library has those, no picture is read
again. `centre` is the mean feature of ImageNet, as the network's last batch norm has it; `WordMap.pictures` takes
another, such as the mean of a library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from seehear.encoders.base import Encoder, Graph, Sample, SampleVectors, full_name
from seehear.encoders.efficientnet import SHA256 as PICTURES_SHA256
from seehear.encoders.efficientnet import EfficientNet, FrameOptions, read_weights
from seehear.encoders.frozen import FrozenEncoder
from seehear.encoders.minilm import MiniLM, TextOptions
from seehear.encoders.weights import ASSETS, fingerprint, pinned
from seehear.errors import SeehearError
from seehear.types import Float, Int, Tensor

ASSET = "wordtower.safetensors"
SHA256 = "a3af2f619c1a40217ca231bd1493a60bc2bd651b8ef0c78bf49855d1546f6b1f"
CLASSES, BASIS = 1000, 384
WIDTH = 3 * BASIS
# Of the softmax over cosines of texts.
SHARPNESS = 0.03
# Of the softmax over logits.
CODE_TEMPERATURE, NAME_TEMPERATURE = 4.0, 2.0
# Standard deviation of each part's cosine over development pictures and texts.
SPREADS = (0.133, 0.100, 0.042)


def classifier() -> tuple[Float[Tensor, "c d"], Float[Tensor, " d"]]:
    """(weights of the classes, mean feature) of EfficientNet-Lite0.

    The mean is that of relu6 of what the last batch norm gives: in each channel a normal variable with its bias as mean
    and its weight as deviation, integrated over five deviations."""
    state = read_weights()
    mean_D1, deviation_D1 = state["_bn1.bias"][:, None], state["_bn1.weight"].abs()[:, None]
    grid = torch.linspace(-5, 5, 2001)
    density = (-grid.square() / 2).exp()
    expected_D = ((mean_D1 + deviation_D1 * grid).clamp(0, 6) * (density / density.sum())).sum(1)
    return state["_fc.weight"], expected_D


def text_codes(
    x_ND: Float[Tensor, "n d"],
    texts_TD: Float[Tensor, "t d"],
    owner_T: Int[Tensor, " t"],
    below_KC: Float[Tensor, "k c"],
) -> Float[Tensor, "n c"]:
    """Probabilities of the classes given centred unit vectors of texts. `owner_T`: class, or 1000 + kind, of a text."""
    # -1 is the lowest cosine there is: any text of a class is at least that near.
    best_NK = x_ND.new_full((x_ND.shape[0], CLASSES + len(below_KC)), -1.0)
    best_NK.scatter_reduce_(1, owner_T.expand(x_ND.shape[0], -1), x_ND @ texts_TD.T, "amax")
    share_NK = (best_NK / SHARPNESS).softmax(1)
    return share_NK[:, :CLASSES] + share_NK[:, CLASSES:] @ below_KC


class WordMap(nn.Module):
    """EfficientNet features of pictures, MiniLM vectors of texts -> one space of `WIDTH` numbers."""

    weight: Tensor
    centred_weight: Tensor
    centre: Tensor
    texts: Tensor
    text_centre: Tensor
    owner: Tensor
    below: Tensor
    names: Tensor
    codes: Tensor
    features: Tensor

    def __init__(self) -> None:
        super().__init__()
        from safetensors.torch import load_file

        state = load_file(pinned(ASSETS / ASSET, SHA256))
        weight_CD, expected_D = classifier()
        below_KC = torch.zeros(int(state["below"][:, 0].max()) + 1, CLASSES)
        below_KC[state["below"][:, 0].long(), state["below"][:, 1].long()] = 1.0
        texts_TD, owner_T = state["texts"].float(), state["owner"].long()
        names_CD = torch.zeros(CLASSES, texts_TD.shape[1])
        of_class_T = owner_T < CLASSES
        names_CD.index_add_(0, owner_T[of_class_T], texts_TD[of_class_T])
        tensors = {"texts": texts_TD, "owner": owner_T, "text_centre": state["centre"]}
        tensors |= {"below": below_KC / below_KC.sum(1, keepdim=True), "names": F.normalize(names_CD, dim=1)}
        tensors |= {"weight": weight_CD, "centred_weight": weight_CD - weight_CD.mean(0), "centre": expected_D}
        tensors |= {"codes": state["codes"].float(), "features": state["features"].float()}
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def pictures(self, features_ND: Tensor, centre_D: Tensor | None = None) -> Float[Tensor, "n w"]:
        f_ND = features_ND - (self.centre if centre_D is None else centre_D)
        logits_NC = f_ND @ self.weight.T
        code_NC = (logits_NC / CODE_TEMPERATURE).softmax(1).sqrt()
        names_ND = F.normalize((logits_NC / NAME_TEMPERATURE).softmax(1) @ self.names, dim=1)
        return _joined(code_NC @ self.codes, names_ND, F.normalize(f_ND, dim=1) @ self.features)

    def words(self, vectors_ND: Tensor) -> Float[Tensor, "n w"]:
        x_ND = F.normalize(F.normalize(vectors_ND, dim=1) - self.text_centre, dim=1)
        share_NC = text_codes(x_ND, self.texts, self.owner, self.below)
        wanted_ND = F.normalize(share_NC @ self.centred_weight, dim=1)
        return _joined(share_NC.sqrt() @ self.codes, x_ND, wanted_ND @ self.features)


def _joined(*parts: Tensor) -> Tensor:
    """Unit vectors of the weighted parts."""
    # Both sides have the same weights: a cosine has the product of two square roots of 1 / spread.
    weighed = [part * spread**-0.5 for part, spread in zip(parts, SPREADS, strict=True)]
    return F.normalize(torch.cat(weighed, 1), dim=1)


@dataclass(frozen=True, kw_only=True)
class WordTowerOptions:
    modality: str = ""
    """video or text."""
    frames: int = FrameOptions.frames
    """Most frames of a video clip, evenly spread: two a second up to that. A picture has one."""
    size: int = 160
    """Side of the square that has as many pixels as a frame is scaled to; its shape stays."""


class WordTower(FrozenEncoder):
    """One side of the word tower: a map of the latents of its `source`."""

    width = WIDTH

    def __init__(self, options: WordTowerOptions):
        if options.modality == "video":
            self.modality = "video"
            # With the same options: a library's latents made with others have another fingerprint.
            self.source: Encoder = EfficientNet(FrameOptions(frames=options.frames, size=options.size))
        elif options.modality == "text":
            self.modality = "text"
            self.source = MiniLM(TextOptions())
            # Frames are the other side's.
            options = WordTowerOptions(modality="text")
        else:
            raise SeehearError(
                "encoder 'wordtower' encodes video and text: add #modality=video or #modality=text"
                + (f"; got {options.modality!r}" if options.modality else "")
            )
        self.name = full_name("wordtower", options)
        settings = asdict(options)
        # Of no effect there: the vectors of texts are those of the first version.
        if self.modality == "text":
            settings |= {"frames": 8, "size": 160}
        self.fingerprint = fingerprint(weights=[SHA256, PICTURES_SHA256], source=self.source.fingerprint, **settings)

    def preparation(self) -> Callable[[Sample], Any]:
        return self.source.preparation()

    def load(self) -> nn.Module:
        return WordMap()

    def graph(self) -> Graph:
        return Graph(
            _Side(self.network, self.modality),
            {"source": torch.sin(torch.arange(2.0 * self.source.width)).view(2, -1)},
            {"source": {0: "batch"}},
            f"latents of {self.source.name}, rounded to float16",
        )

    def to(self, device: str) -> Self:
        self.source.to(device)
        return super().to(device)

    def embed(self, network: Any, prepared: Sequence[Any]) -> Tensor:
        # float16 as a library stores them: vectors made from media and from stored latents are then the same
        return self._map(network, self.source.encode(prepared).astype(np.float16))

    def encode_parts(self, prepared: Sequence[Any]) -> list[SampleVectors]:
        parts = self.source.encode_parts(prepared)
        rows = [row for part in parts for row in (part.vector, *part.frames)]
        mapped = iter(self.derive(np.stack(rows).astype(np.float16)) if rows else ())
        return [SampleVectors(next(mapped), [next(mapped) for _ in part.frames], part.places) for part in parts]

    def derive(self, latents: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self._map(self.network, latents).cpu().numpy()

    def _map(self, network: Any, latents: np.ndarray) -> Tensor:
        return _Side(network, self.modality)(torch.from_numpy(latents.astype(np.float32)).to(self.device))


class _Side(nn.Module):
    def __init__(self, network: Any, modality: str):
        super().__init__()
        self.network, self.modality = network, modality

    def forward(self, latents: Tensor) -> Tensor:
        side: Callable[[Tensor], Tensor] = self.network.pictures if self.modality == "video" else self.network.words
        return side(latents)
