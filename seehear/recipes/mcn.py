"""Runs of MCN, and its model before training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from seehear.inputs.contexts import ContextConfig
from seehear.inputs.joining import sequence_shape
from seehear.inputs.latents import LatentData
from seehear.methods.base import seeded
from seehear.methods.mcn import MCN, MCNConfig
from seehear.methods.mcn_config import Input
from seehear.nn.random import seed_of
from seehear.progress import say
from seehear.runs.config import LatentInputs, LatentsConfig, Run
from seehear.train.loop import TrainConfig
from seehear.train.optim import OptimConfig
from seehear.types import Modality

# Enough clips for means and deviations.
_ROWS_TO_FIT = 200_000
# Enough clips to find out whether latents are ever negative.
_ROWS_TO_LOOK_AT = 2000
# With fewer rows a cluster, centroids are hardly means.
_ROWS_A_CLUSTER = 4


def paper() -> Run[LatentsConfig, MCNConfig]:
    """MCN as in its authors' README (code of arXiv 2104.12671). For HowTo100M's features, or any library of timed
    captions with word vectors and spectrograms; 224 million parameters. Mixed precision on 4 GPUs, 1,024 clips on each,
    as theirs; with fewer the results are the same, to rounding, in more memory and time.

    torchrun --nproc-per-node 4 -m seehear train LIB mcn.paper
    """
    return Run(
        recipe="mcn.paper",
        method=MCNConfig(audio_norm="batch"),
        data=LatentsConfig(contexts=ContextConfig(clips_per_video=32, min_duration=10.0), resident=False),
        optim=OptimConfig(lr=1e-4, floor=0.0, weight_decay=0.0, warmup_steps=5000),
        # 1,024 clips on each of the authors' 4 GPUs.
        train=TrainConfig(epochs=30, batch_size=4096, precision="bf16", evaluations=30, seed=1),
    )


def base() -> Run[LatentsConfig, MCNConfig]:
    """MCN on the latents of any encoders: unit vectors and a learned temperature in place of raw products, and clips as
    they are in the library. For thousands to millions of clips. Results: docs/methods/mcn.md.

    seehear train LIB mcn
    """
    return Run(
        recipe="mcn.base",
        data=LatentsConfig(),
        method=MCNConfig(similarity="cosine", normalise="standardise", dim=512, clusters=64, mask_duplicates=True),
        optim=OptimConfig(lr=1e-3, floor=1e-6, weight_decay=0.1, warmup=0.05),
        train=TrainConfig(epochs=100, batch_size=1024, evaluations=30, patience=8, fast_matmul=True),
    )


def tiny() -> Run[LatentsConfig, MCNConfig]:
    """`mcn.base`, smaller: minutes on two cores.

    seehear train LIB mcn.tiny
    """
    run = base()
    return replace(
        run,
        recipe="mcn.tiny",
        method=replace(run.method, dim=256, hidden=256, clusters=32, queue=4096),
        train=replace(run.train, epochs=60, batch_size=256, evaluations=20, patience=6),
    )


PRESETS = {"base": base, "tiny": tiny, "paper": paper}


def build(config: MCNConfig, inputs: LatentInputs, *, seed: int, batch_size: int) -> MCN:
    """The model as training starts: widths and kinds of input from the encoders, standardisation from the training
    clips; fewer clusters where a batch and its queue would leave them nearly empty."""
    train = inputs.train
    config = replace(config, **_inputs(config, train))
    # Longer, it would hold a clip several times, as it was in earlier epochs.
    queue = min(config.queue, len(train))
    # k-means runs over a batch and the queue.
    clusters = max(2, min(config.clusters, (min(batch_size, len(train)) + queue) // _ROWS_A_CLUSTER))
    if clusters < config.clusters and config.cluster_weight:
        say(f"{clusters} clusters instead of {config.clusters}: there are too few clips for more")
    model = seeded(MCN, replace(config, clusters=clusters, queue=queue), seed)
    if config.normalise != "standardise":
        return model
    return model.fit(*train.sample(_ROWS_TO_FIT, seed_of(seed, "rows to fit")).aligned())


def _inputs(config: MCNConfig, data: LatentData) -> dict[str, Any]:
    """Options that the encoders decide: widths, blocks, sequence inputs, modalities without negative values."""
    widths: dict[Modality, int] = {}
    inputs: dict[Modality, Input] = {}
    blocks: dict[Modality, tuple[int, ...]] = {}
    nonnegative = []
    for m, infos in data.encoders.items():
        if shape := sequence_shape(m, infos):
            kind: Input = "words" if m == "text" else "mel"
            widths[m], inputs[m] = (shape[1] if kind == "words" else shape[0]), kind
            continue
        widths[m] = sum(int(e["width"]) for e in infos)
        if len(infos) > 1:
            blocks[m] = tuple(int(e["width"]) for e in infos)
        rows = data.sample(_ROWS_TO_LOOK_AT, 0).every(m)
        # Latents that are never negative are maxima of ReLU features: their decoder may end in a ReLU, too.
        if config.normalise != "standardise" and bool((rows >= 0).all()):
            nonnegative.append(m)
    return {"widths": widths, "inputs": inputs, "blocks": blocks, "nonnegative": tuple(nonnegative)}
