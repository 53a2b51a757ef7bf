"""Runs of VATT, and its model before training. The sizes of clips and vocabulary in a model are those of the data."""

from __future__ import annotations

from dataclasses import replace

import torch

from seehear.inputs.raw import RawConfig
from seehear.methods.base import seeded
from seehear.methods.vatt import VATT
from seehear.methods.vatt_config import SIZES, MelConfig, VATTConfig
from seehear.nn.transformer import Size
from seehear.runs.config import MediaConfig, MediaInputs, Run
from seehear.train.config import TrainConfig
from seehear.train.optim import OptimConfig


def paper() -> Run[MediaConfig, VATTConfig]:
    """VATT-MBS as in the paper (arXiv 2104.11178), for a corpus like HowTo100M and AudioSet on many GPUs. Word vectors
    are those of --data.vocabulary.table.

    seehear train LIB vatt.paper --data.vocabulary.table word2vec.bin
    """
    return Run(
        recipe="vatt.paper",
        method=VATTConfig(video=SIZES["medium"], audio=SIZES["base"], text=SIZES["small"]),
        # Four windows of a clip, as the paper tests.
        data=MediaConfig(raw=RawConfig(), windows=4),
        optim=OptimConfig(
            # The paper's schedule; its code warms up for 5,000 steps and decays by half a period.
            lr=1e-4,
            floor=5e-5,
            schedule="quarter_cosine",
            weight_decay=0.0,
            warmup_steps=10_000,
            eps=1e-7,
        ),
        train=TrainConfig(steps=500_000, batch_size=2048, precision="bf16", workers=16, evaluations=50),
    )


def base() -> Run[MediaConfig, VATTConfig]:
    """VATT-BBS of the paper: as `vatt.paper`, with a video encoder of size Base.

    seehear train LIB vatt.base --data.vocabulary.table word2vec.bin
    """
    run = paper()
    return replace(run, recipe="vatt.base", method=replace(run.method, video=SIZES["base"]))


def medium() -> Run[MediaConfig, VATTConfig]:
    """VATT-MBS of the paper under the name of its size: `vatt.paper`.

    seehear train LIB vatt.medium --data.vocabulary.table word2vec.bin
    """
    return replace(paper(), recipe="vatt.medium")


def shared_medium() -> Run[MediaConfig, VATTConfig]:
    """VATT-MA-Medium of the paper: as `vatt.paper`, with one encoder of size Medium for all modalities.

    seehear train LIB vatt-ma.medium --data.vocabulary.table word2vec.bin
    """
    run = paper()
    return replace(run, recipe="vatt-ma.medium", method=replace(run.method, variant="agnostic", shared=SIZES["medium"]))


def small() -> Run[MediaConfig, VATTConfig]:
    """For one GPU: 16 frames of 112 pixels, raw waveforms of 16 kHz, encoders of 6 layers. Words learn with the rest:
    no table is needed.

    seehear train LIB vatt.small --data.cache CACHE
    """
    return Run(
        recipe="vatt.small",
        method=VATTConfig(
            video=SIZES["small"],
            audio=SIZES["small"],
            text=Size(layers=4, width=512, hidden=2048, heads=8),
            patch=(2, 16, 16),
            position_norm=False,
            train_words=True,
            pairs=(),
            dim=512,
        ),
        data=MediaConfig(
            raw=RawConfig(frames=16, fps=8.0, size=112, rate=16_000, crop=(0.3, 1.0), aspect=(0.75, 1.33))
        ),
        optim=OptimConfig(lr=5e-4, floor=1e-6, weight_decay=0.05, warmup=0.05, betas=(0.9, 0.98), clip=1.0),
        train=TrainConfig(epochs=200, batch_size=512, micro_batch=128, precision="bf16", workers=12, evaluations=40),
    )


_TALKING_HEADS = RawConfig(
    frames=60,
    fps=25.0,
    size=24,
    side=27,
    # The mouth of a face that fills the picture.
    region=(0.44, 0.36, 0.88, 0.80),
    rate=16_000,
    crop=(0.8, 1.0),
    aspect=(0.95, 1.05),
    jitter=0.0,
    # Lips are a small part of a talking head: only motion is shown, enlarged.
    motion=3.0,
    noise=0.0,
    contexts=1,
    words=8,
)


def tiny() -> Run[MediaConfig, VATTConfig]:
    """Talking heads, in minutes on two cores: 60 pictures, 25 a second, of 24 pixels around the mouth; log-mel tokens;
    3 layers. It reads only the middle of the lower half of the picture, the mouth of a face: widen `data.raw.region`
    for other material. Results: docs/methods/vatt.md.

    seehear train LIB vatt.tiny --data.cache CACHE
    """
    size = Size(layers=3, width=128, hidden=512, heads=2)
    return Run(
        recipe="vatt.tiny",
        method=VATTConfig(
            video=size,
            audio=size,
            text=replace(size, layers=2),
            patch=(3, 24, 24),
            sound="spectrogram",
            mel=MelConfig(window=0.032, hop=0.02, bands=40),
            mel_patch=(5, 40),
            sound_patch=400,
            word_width=64,
            train_words=True,
            position_norm=False,
            dropout=0.0,
            pairs=(),
            dim=128,
            coarse_dim=128,
            form="symmetric",
        ),
        data=MediaConfig(raw=_TALKING_HEADS),
        optim=OptimConfig(lr=1e-3, floor=1e-6, weight_decay=0.05, warmup=0.05, betas=(0.9, 0.98), clip=1.0),
        train=TrainConfig(epochs=150, batch_size=64, workers=1, evaluations=15),
    )


PRESETS = {
    "tiny": tiny,
    "small": small,
    "base": base,
    "medium": medium,
    "paper": paper,
    "vatt-ma.medium": shared_medium,
}


def build(config: VATTConfig, inputs: MediaInputs, *, seed: int, batch_size: int) -> VATT:
    """The model as training starts, for the clip sizes and vocabulary of the data."""
    words, table = inputs.spec.vocabulary, inputs.table
    # Without texts the table of words is as small as it can be: padding and one word.
    config = config.reading(inputs.spec.raw, vocabulary=len(words) if words else 2)
    if table is None:
        return seeded(VATT, config, seed)
    # The table decides the width of the word vectors, whatever the recipe says.
    model = seeded(VATT, replace(config, word_width=table.shape[1]), seed)
    model.load_words(torch.from_numpy(table))
    return model
