"""FuseMix on raw media: clips of the sizes of its encoders, and the frozen latents that its heads start from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seehear.encoders.learning import learning, weights_to_learn
from seehear.encoders.registry import pick_device
from seehear.errors import SeehearError
from seehear.inputs.latents import LatentData
from seehear.inputs.raw.text import Vocabulary, bytes_of_texts
from seehear.methods.base import seeded
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.nn.random import seed_of
from seehear.runs.data import LatentInputs, MediaConfig, MediaInputs
from seehear.runs.features import features_of

if TYPE_CHECKING:
    from seehear.library.tables import LibraryTables

_CLIPS = 4_000  # training clips that are decoded once for the start of the heads


@dataclass(frozen=True, kw_only=True)
class TunedConfig(MediaConfig):
    """The size of pictures and the rate of sound are the encoders', and texts are their bytes."""

    def load(self, library: LibraryTables, method: Any) -> MediaInputs:
        prepares: dict[str, Any] = {m: learning(name, m).preparation() for m, name in method.encoders.items()}
        sizes: dict[str, Any] = {}
        if "video" in prepares:
            side = prepares["video"].side
            sizes |= {"size": side, "side": self.raw.side or side}
        if "audio" in prepares:
            sizes["rate"] = prepares["audio"].rate
        return super(TunedConfig, replace(self, raw=replace(self.raw, **sizes))).load(library, method)

    def words_of(self, library: LibraryTables) -> Vocabulary:
        return bytes_of_texts()


def frozen_start(config: FuseMixConfig, inputs: Any, seed: int) -> tuple[FuseMixConfig, LatentInputs]:
    """(settings with the options that their encoders decide, latents of the untrained encoders)"""
    if not isinstance(inputs, MediaInputs):
        raise SeehearError("encoders learn from raw media: take the recipe fusemix.tuned, or leave out method.encoders")
    encoders = {m: learning(name, m) for m, name in config.encoders.items() if m in inputs.clips.modalities}
    weights = {m: weights_to_learn(encoder) for m, encoder in encoders.items()}
    config = replace(
        config,
        encoders={m: encoder.name for m, encoder in encoders.items()},
        fingerprints={m: encoder.fingerprint for m, encoder in encoders.items()},
        learned={f"{m}/{module}": shape for m, own in weights.items() for module, shape in own.items()},
        widths={m: encoder.width for m, encoder in encoders.items()},
    )
    model = seeded(FuseMix, config, seed).eval().to(pick_device())
    train = inputs.train.sample(_CLIPS, seed_of(seed, "clips of the start"))
    parts = [media for media in (train, inputs.validation) if len(media)]
    latents, owner = {}, {}
    features = [
        features_of(model, media.views(windows=inputs.spec.windows, crops=inputs.spec.crops)) for media in parts
    ]
    for m in encoders:
        if m != "text":
            x_ND = np.concatenate([own[m].mean(axis=1) for own in features])
            owner[m] = np.flatnonzero(np.isfinite(x_ND).all(axis=1))
            latents[m] = x_ND[owner[m]]
    if "text" in encoders:  # all texts of a training clip, but only the text that a validation clip is scored by
        numbers_RL, owner["text"] = train.own_sentences()
        latents["text"] = _texts(model, numbers_RL)
        if len(parts) > 1:
            present = np.flatnonzero(inputs.validation.has("text").numpy())
            owner["text"] = np.concatenate([owner["text"], len(train) + present])
            own = _texts(model, inputs.validation.first_sentences()[present])
            latents["text"] = np.concatenate([latents["text"], own])
    splits, groups, ids = (np.concatenate([getattr(x, k) for x in parts]) for k in ("splits", "groups", "ids"))
    return config, LatentInputs(LatentData.from_arrays(latents, owner=owner, splits=splits, groups=groups, ids=ids))


@torch.no_grad()
def _texts(model: FuseMix, numbers_RL: np.ndarray) -> np.ndarray:
    device = next(model.parameters()).device
    parts = [model.features("text", x[:, None].to(device)) for x in torch.from_numpy(numbers_RL).split(256)]
    return torch.cat(parts).float().cpu().numpy()
