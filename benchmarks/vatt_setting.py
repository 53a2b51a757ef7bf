"""What the vatt_*.py benchmarks of cost share: what is measured, batches of noise, a training step. Measures nothing.

'paper' is Medium, Base and Small at the paper's shapes. 'tiny' has the size of that name: 256 tokens of 64-pixel frames
and 100 of a log-mel spectrogram, so that attention and DropToken have something to do on a CPU. 'recipe' is what
`seehear train LIB vatt.tiny` trains, with 20 and 24 tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from common import DEVICE

from seehear.methods.vatt import SIZES, VATT, VATTConfig
from seehear.methods.vatt_config import MelConfig
from seehear.nn.random import Randomness
from seehear.recipes import vatt
from seehear.runs.config import MediaConfig, Run
from seehear.train.optim import Computation, Encode, OptimConfig, gradients, optimizer_of
from seehear.types import MODALITIES, Batch, StepOutput

KEEP = (1.0, 0.75, 0.5, 0.25)


def _of_recipe(run: Run[MediaConfig, VATTConfig], words: int) -> VATTConfig:
    return run.method.reading(run.data.raw, vocabulary=words)


CONFIGS = {
    "paper": _of_recipe(vatt.paper(), 65_536),
    "recipe": _of_recipe(vatt.tiny(), 1000),
    "tiny": VATTConfig(
        video=SIZES["tiny"],
        audio=SIZES["tiny"],
        text=SIZES["tiny"],
        frames=(16, 64, 64),
        patch=(4, 8, 8),
        sound="spectrogram",
        rate=16_000,
        samples=32_000,
        mel=MelConfig(window=0.032, hop=0.01),
        mel_patch=(8, 20),
        vocabulary=1000,
        word_width=128,
        train_words=True,
        dim=128,
    ),
}
SENTENCES = {"paper": 5, "recipe": 1, "tiny": 1}
SIZE = "paper" if DEVICE.type == "cuda" else "tiny"
"""What this machine can train."""


def kept(config: VATTConfig, rate: float) -> VATTConfig:
    """With this keep rate of video and of audio, whatever audio is."""
    return replace(config, keep={"video": rate, "audio": rate})


def model_of(config: VATTConfig) -> VATT:
    torch.manual_seed(0)
    return VATT(config).to(DEVICE)


def batch_of(config: VATTConfig, rows: int, sentences: int) -> Batch:
    g = torch.Generator().manual_seed(0)
    batch: Batch = {
        "video": torch.randint(0, 256, (rows, *config.frames, config.channels), generator=g, dtype=torch.uint8),
        "audio": torch.rand(rows, config.samples, generator=g) * 2 - 1,
        "text": torch.randint(2, config.vocabulary, (rows, sentences, config.words), generator=g),
        "group": torch.arange(rows),
    }
    batch |= {f"has_{m}": torch.ones(rows, dtype=torch.bool) for m in MODALITIES}
    return {k: v.to(DEVICE) for k, v in batch.items()}


def draws(rows: int, step: int = 0) -> Randomness:
    return Randomness(0, step, 0, rows, rows, DEVICE)


def add_gradients(
    model: VATT, batch: Batch, *, step: int = 0, micro_batch: int | None = None, encode: Encode | None = None
) -> StepOutput:
    """In bf16 on a GPU, else in fp32."""
    how = Computation(micro_batch=micro_batch, precision="bf16" if DEVICE.type == "cuda" else "fp32", encode=encode)
    return gradients(model, batch, progress=0.0, rng=draws(len(batch["group"]), step), how=how)


def stepper(
    model: VATT, batch: Batch, *, micro_batch: int | None = None, encode: Encode | None = None
) -> Callable[[], None]:
    """A whole training step as the loop does it: draws, gradients, AdamW, running statistics."""
    optimizer, steps = optimizer_of(model, OptimConfig(lr=1e-4)), iter(range(10**9))

    def work() -> None:
        out = add_gradients(model, batch, step=next(steps), micro_batch=micro_batch, encode=encode)
        optimizer.step()
        optimizer.zero_grad()
        model.after_step(out, 0.0)

    return work
