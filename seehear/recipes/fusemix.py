"""Runs of FuseMix, and its model before training."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seehear.encoders.learning import learning, weights_to_learn
from seehear.encoders.registry import pick_device
from seehear.errors import SeehearError
from seehear.inputs.latents import LatentData
from seehear.inputs.raw import RawConfig
from seehear.inputs.raw.text import Vocabulary, bytes_of_texts
from seehear.methods.base import seeded
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.methods.linear import LinearMaps
from seehear.methods.tuning import closed_start
from seehear.nn.random import seed_of
from seehear.progress import say
from seehear.runs.config import LatentInputs, LatentsConfig, MediaConfig, MediaInputs, Run
from seehear.runs.features import features_of
from seehear.train.loop import TrainConfig
from seehear.train.optim import OptimConfig
from seehear.types import Modality

if TYPE_CHECKING:
    from seehear.library.tables import LibraryTables

# Enough clips for means, deviations and covariances.
_ROWS_TO_FIT = 200_000


def paper() -> Run[LatentsConfig, FuseMixConfig]:
    """FuseMix as its authors released it: section 5.1 of arXiv 2312.10144's code. For millions of pairs, one for each
    text; latents stay in the memory of the machine and not of the device, a card of 32 GB. Captions are encoded as the
    authors cleaned them by an encoder with the option `clean=captions`.

    seehear train LIB fusemix.paper
    """
    return Run(
        recipe="fusemix.paper",
        # Five million pairs are 26 GB of latents.
        data=LatentsConfig(per_text=True, resident=False),
        method=FuseMixConfig(standardise=False, mask_duplicates=False),
        optim=OptimConfig(
            lr=1e-3, floor=1e-6, schedule="epoch_cosine", warmup_steps=100, warmup_from=1e-6, weight_decay=0.1
        ),
        train=TrainConfig(epochs=500, batch_size=40_960, evaluations=500, seed=42),
    )


def base() -> Run[LatentsConfig, FuseMixConfig]:
    """FuseMix on a head that starts as the closed form best on validation, with a low learning rate: for hundreds to a
    million pairs. Reasons and results: docs/methods/fusemix.md.

    seehear train LIB fusemix
    """
    return Run(
        recipe="fusemix.base",
        data=LatentsConfig(),
        # At ten times this linear_lr, validation scores fall at once and do not come back.
        method=FuseMixConfig(head="skip", depth=1, expansion=2, linear_lr=0.03, mix="permutation", lambda_per="row"),
        optim=OptimConfig(lr=1e-3, floor=1e-6, weight_decay=0.1, warmup=0.05),
        train=TrainConfig(epochs=150, batch_size=1024, evaluations=30, patience=8, fast_matmul=True),
    )


def bind() -> Run[LatentsConfig, FuseMixConfig]:
    """Sounds bound to the space of pictures and words of a joint encoder, from pictures and sounds that occur together
    in the library; no text is needed. That space is frozen, so words find sounds without descriptions. Results:
    docs/methods/fusemix.md.

    seehear train LIB fusemix.bind
    """
    run = base()
    return replace(run, recipe="fusemix.bind", data=replace(run.data, joint=""))


def tuned() -> Run[TunedConfig, FuseMixConfig]:
    """`fusemix.base` whose encoders learn too, from the media themselves: linear maps of hub models at low rank, the
    last block of packaged encoders. Slow: every step decodes and encodes. Its gain is not measured
    yet (docs/methods/fusemix.md).

    seehear train LIB fusemix.tuned --data.cache CACHE
    """
    run = base()
    encoders: dict[Modality, str] = {"video": "efficientnet-lite0", "audio": "aisfx", "text": "minilm"}
    still = RawConfig(
        frames=4, fps=2.0, crop=(0.7, 1.0), aspect=(0.85, 1.18), jitter=0.0, noise=0.0, contexts=1, words=256
    )
    return Run(
        recipe="fusemix.tuned",
        data=TunedConfig(raw=still, windows=2),
        method=replace(run.method, encoders=encoders),
        # Encoders learn at a tenth of the rate of the heads (`encoder_lr`).
        optim=replace(run.optim, clip=1.0),
        train=replace(run.train, epochs=20, batch_size=256, micro_batch=32, evaluations=20, patience=6),
    )


PRESETS = {"base": base, "bind": bind, "paper": paper, "tuned": tuned}


def build(config: FuseMixConfig, inputs: LatentInputs | MediaInputs, *, seed: int, batch_size: int = 0) -> FuseMix:
    """The model as training starts: widths, standardisation and closed-form start from the training clips; the closed
    form's shrinkage and rank from the validation clips, where there are any."""
    if config.encoders:
        config, inputs = frozen_start(config, inputs, seed)
    assert isinstance(inputs, LatentInputs)
    train = inputs.train
    # Encoders side by side are standardised each on its own: the wider one would outweigh the other.
    blocks = {m: w for m, w in train.widths.items() if len(w) > 1} if config.standardise else {}
    widths = {m: sum(int(e["width"]) for e in infos) for m, infos in inputs.encoders.items()}
    # A frozen joint space is as wide as its latents.
    dim = int(next(iter(inputs.locked.values()))[0]["width"]) if inputs.locked else config.dim
    config = replace(config, widths=widths, blocks=blocks, locked=tuple(inputs.locked) or config.locked, dim=dim)
    model = seeded(FuseMix, config, seed)
    latents, present = train.sample(_ROWS_TO_FIT, seed_of(seed, "rows to fit")).aligned()
    start = start_of(config, inputs.clips, locked=config.locked) if config.head != "adapter" else None
    # Without validation clips there is nothing to tune by.
    if start is not None and len(inputs.validation) > 1:
        settings = ", ".join(f"{k} {v}" for k, v in start.settings.items())
        say(f"starts from {start.name}, {settings}: best on validation{f', {start.sure}' if start.sure else ''}")
    return model.fit(latents, present, start=start)


def start_of(config: FuseMixConfig, data: LatentData, *, locked: Collection[Modality] = ()) -> LinearMaps:
    """The closed form that a run on this data starts from: the baseline of its training. `locked`: modalities
    of a frozen joint space."""
    return closed_start(data, dim=config.dim, pairs=config.pairs or None, locked=tuple(locked))


# ----------------------------------------------------------------------------------------------------------------------
# FuseMix on raw media: clips of the sizes of its encoders, and the frozen latents that its heads start from.

# Training clips that are decoded once for the start of the heads.
_CLIPS = 4_000


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
    # The untrained model encodes: the heads start from the latents that training begins with.
    model = seeded(FuseMix, config, seed).eval().to(pick_device())
    train = inputs.train.sample(_CLIPS, seed_of(seed, "clips of the start"))
    # A library may have no validation clips.
    parts = [media for media in (train, inputs.validation) if len(media)]
    latents, owner = {}, {}
    features = [
        features_of(model, media.views(windows=inputs.spec.windows, crops=inputs.spec.crops)) for media in parts
    ]
    for m in encoders:
        if m != "text":
            x_ND = np.concatenate([own[m].mean(axis=1) for own in features])
            # A clip that cannot be read has no latent, and no place among the rows.
            owner[m] = np.flatnonzero(np.isfinite(x_ND).all(axis=1))
            latents[m] = x_ND[owner[m]]
    # All texts of a training clip, but only the text that a validation clip is scored by.
    if "text" in encoders:
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
