"""What DropToken saves of VATT: operations of a clip at the paper's shapes beside the paper's, and the time of a
training step beside its operations (target: at keep 0.5 the two ratios to keep 1 within 15 % of each other).

    OMP_NUM_THREADS=1 python benchmarks/vatt_cost.py [--repeats N] [--out FILE]

The paper gives 784.8, 574.2, 375.4 and 188.1 GFLOPs, and does not say of what. The reading that fits: the forward pass
of one clip through all three encoders, two operations a multiply-add, all tokens in every layer, patches projected
before they are dropped, five sentences, and one of the two products of attention. (The official code writes the scores
as an einsum, for which TensorFlow's profiler has no formula.) The rest, below 1 %, is about what softmax, norms,
activations and dropout weigh, which that profiler counts and torch does not: `with elementwise` adds nine operations a
logit and fifty for each number of a token in a layer.

Fine-tuning: the forward pass of 12 views of 32 frames of 320 pixels through the video encoder, counted the same way
(9.09, 15.02 and 29.80 TFLOPs in the paper), and one clip of Medium at other sizes and keep rates. Evaluation has no
dropout: 5.68 operations a logit and 63.7 a number are fitted to Medium's three figures without DropToken; Base and
Large are then predictions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import interleaved, write
from vatt_setting import CONFIGS, KEEP, SENTENCES, SIZE, batch_of, draws, kept, model_of, stepper

from seehear.methods.vatt import SIZES, VATT, VATTConfig
from seehear.nn.flops import count_flops
from seehear.nn.transformer import Size, grid, num_kept
from seehear.types import MODALITIES, Encoded, Modality, Tensor

PAPER = {1.0: 784.8, 0.75: 574.2, 0.5: 375.4, 0.25: 188.1}  # 10^9, the table of DropToken
TARGET = 0.15
ROWS = {"paper": 8, "tiny": 24, "recipe": 64}
LOGIT, NUMBER = 9, 50  # operations that are no products
FITTED = (5.68, 63.7)  # the same at evaluation, fitted to Medium's figures without DropToken
VIEWS = 12  # 4 windows of 3 crops
FINE_TUNED = (
    ("base", 32, 320, 1.0, 9.09e3 / VIEWS),
    ("medium", 32, 320, 1.0, 15.02e3 / VIEWS),
    ("large", 32, 320, 1.0, 29.80e3 / VIEWS),
    ("medium", 32, 224, 1.0, 548.1),
    ("medium", 64, 224, 1.0, 1222.1),
    ("medium", 32, 320, 1.0, 1252.3),
    ("medium", 32, 320, 0.75, 898.9),
    ("medium", 32, 320, 0.5, 572.5),
    ("medium", 32, 320, 0.25, 279.8),
)
"""Size, frames, pixels, keep rate and the paper's 10^9 operations a view."""


def forward(model: VATT, m: Modality, x: Tensor) -> Tensor:
    if m == "text":  # every sentence by itself: `features` reads a clip's first one only
        x = x.flatten(0, 1)[:, None]
    return model.features(m, x, rng=replace(draws(1), device=torch.device("cpu")))


def all_tokens(model: VATT, m: Modality, x: Tensor) -> Tensor:
    """The same where the last block computes every token too, as in the official code."""
    rng = replace(draws(1), device=torch.device("cpu"))
    encoder = model.encoders["shared" if model.config.variant == "agnostic" else m]
    if m == "text":
        return encoder(*model.tokens[m](x.flatten(0, 1), rng=rng, name=m))
    if m == "audio":
        x = (model.mel(x) if model.config.sound == "spectrogram" else x)[..., None]
    return encoder(model.tokens[m](x, rng=rng, name=m))


def operations(config: VATTConfig, sentences: int) -> dict[str, float]:
    """Of one clip, counted. Nothing is computed; dropout counts nothing and is left out."""
    config = replace(config, dropout=0.0)
    with torch.device("meta"):
        model = VATT(config)
        clip = {"video": torch.empty(1, *config.frames, config.channels, dtype=torch.uint8)}
        clip |= {"audio": torch.empty(1, config.samples)}
        clip |= {"text": torch.empty(1, sentences, config.words, dtype=torch.long)}
    found = {m: float(count_flops(partial(forward, model, m, clip[m]))) for m in MODALITIES}
    step = sum(count_flops(partial(backward, model, m, clip[m])) for m in MODALITIES) + heads(config, sentences)
    whole = sum(count_flops(partial(all_tokens, model, m, clip[m])) for m in MODALITIES)
    return found | {"forward": sum(found.values()), "step": step, "all tokens": whole}


def backward(model: VATT, m: Modality, x: Tensor) -> None:
    forward(model, m, x).sum().backward()


def heads(config: VATTConfig, sentences: int, rows: int = 64) -> float:
    """And losses, forward and backward, of each clip of a batch."""
    shallow: dict[str, Size] = {m: replace(config.size_of(m), layers=1) for m in MODALITIES}
    shallow["shared"] = replace(config.shared, layers=1)
    model = VATT(replace(config, vocabulary=2, **shallow))  # type: ignore[arg-type]
    features = {m: torch.randn(rows, config.size_of(m).width, requires_grad=True) for m in ("video", "audio")}
    features["text"] = torch.randn(rows, sentences, config.size_of("text").width, requires_grad=True)
    has = torch.ones(rows, dtype=torch.bool)
    given = Encoded(features, dict.fromkeys(MODALITIES, has), {"sentence": has[:, None].expand(rows, sentences)})
    rng = replace(draws(rows), device=torch.device("cpu"))
    return count_flops(lambda: model.objective(given, progress=0.0, rng=rng).loss.backward()) / rows


def as_the_paper_counts(
    config: VATTConfig,
    sentences: int,
    counted: float,
    *,
    modalities: tuple[Modality, ...] = MODALITIES,
    others: tuple[float, float] = (LOGIT, NUMBER),
) -> tuple[float, float]:
    """(operations as the paper counts products, from a count of all tokens; operations that are no products, with
    `others` a logit and a number)."""
    sequences = [("text", sentences, config.words + 1)] if "text" in modalities else []
    total, rest = counted, 0.0
    for m in (m for m in modalities if m != "text"):
        shape, patch = config.grid_of(m)
        patches = torch.Size(grid(shape, patch)).numel()
        tokens = num_kept(patches, config.keep_of(m))
        numbers = torch.Size(patch).numel() * (config.channels if m == "video" else 1)
        total += 2 * (patches - tokens) * numbers * config.size_of(m).width
        sequences.append((m, 1, tokens + 1))
    for m, times, n in sequences:
        size = config.size_of(m)
        total -= times * size.layers * 2 * n**2 * size.width
        rest += times * size.layers * (others[0] * size.heads * n**2 + others[1] * size.width * n)
    return total, rest


def paper_table() -> list[dict[str, float]]:
    rows = []
    for rate in KEEP:
        config, sentences = kept(CONFIGS["paper"], rate), SENTENCES["paper"]
        found = operations(config, sentences)
        reading, rest = as_the_paper_counts(config, sentences, found["all tokens"])
        row = {"keep": rate} | {name: round(value / 1e9, 1) for name, value in found.items()}
        row |= {"paper": PAPER[rate], "the paper's reading": round(reading / 1e9, 1)}
        row |= {"over the paper": round(reading / 1e9 / PAPER[rate], 4)}
        row |= {"with elementwise, over the paper": round((reading + rest) / 1e9 / PAPER[rate], 4)}
        print("GFLOPs a clip:", "  ".join(f"{k} {v:g}" for k, v in row.items()), flush=True)
        rows.append(row)
    return rows


def shared_table() -> list[dict[str, Any]]:
    """One Medium encoder for all modalities against Medium, Base and Small, at keep 0.5."""
    rows = []
    for variant in ("specific", "agnostic"):
        config = replace(kept(CONFIGS["paper"], 0.5), variant=variant)
        with torch.device("meta"):
            parameters = sum(p.numel() for p in VATT(config).parameters() if p.requires_grad)
        found = operations(config, SENTENCES["paper"])
        row: dict[str, Any] = {"variant": variant, "million parameters": round(parameters / 1e6, 1)}
        row |= {name: round(value / 1e9, 1) for name, value in found.items()}
        print("GFLOPs a clip:", "  ".join(f"{k} {v}" for k, v in row.items()), flush=True)
        rows.append(row)
    return rows


def fine_tuned(size: str, frames: int, pixels: int, keep: float) -> dict[str, float]:
    """10^9 operations of one view through the video encoder, by each way of counting."""
    video = VATTConfig(
        modalities=("video", "audio"),
        pairs=(("video", "audio"),),
        video=SIZES[size],
        audio=SIZES["tiny"],
        frames=(frames, pixels, pixels),
        keep={"video": keep},
        dropout=0.0,
    )
    with torch.device("meta"):
        model = VATT(video)
        clip = torch.empty(1, *video.frames, video.channels, dtype=torch.uint8)
    own, whole = (float(count_flops(partial(work, model, "video", clip))) for work in (forward, all_tokens))
    reading, rest = as_the_paper_counts(video, 0, whole, modalities=("video",), others=FITTED)
    found = {
        "all products": own,
        "all tokens": whole,
        "the paper's reading": reading,
        "with elementwise": reading + rest,
    }
    return {name: value / 1e9 for name, value in found.items()}


def fine_tuning_table() -> list[dict[str, Any]]:
    rows = []
    for size, frames, pixels, keep, paper in FINE_TUNED:
        found = fine_tuned(size, frames, pixels, keep)
        row: dict[str, Any] = {"size": size, "frames": frames, "pixels": pixels, "keep": keep, "paper": round(paper, 1)}
        row |= {name: round(value, 1) for name, value in found.items()}
        for name in ("the paper's reading", "with elementwise"):
            row[f"{name}, over the paper"] = round(found[name] / paper, 4)
        row["TFLOPs of 12 views"] = round(found["with elementwise"] * VIEWS / 1e3, 2)
        print("fine-tuning:", "  ".join(f"{k} {v}" for k, v in row.items()), flush=True)
        rows.append(row)
    return rows


def wall_clock(name: str, repeats: int, rows: int = 0) -> dict[str, Any]:
    """Training steps at each keep rate, one after the other in each round."""
    config, rows = CONFIGS[name], rows or ROWS[name]
    batch = batch_of(config, rows, SENTENCES[name])
    steps: dict[str, Callable[[], None]] = {str(k): stepper(model_of(kept(config, k)), batch) for k in KEEP}
    flops = {k: count_flops(work) for k, work in steps.items()}
    times = interleaved(steps, repeats=repeats)
    found = {}
    for k in steps:
        row = {"seconds": times[k], "gflops": flops[k] / 1e9, "gflops_per_second": flops[k] / 1e9 / times[k]}
        row |= {"time_of_keep_1": times[k] / times["1.0"], "operations_of_keep_1": flops[k] / flops["1.0"]}
        row["time_over_operations"] = row["time_of_keep_1"] / row["operations_of_keep_1"]
        print(f"{name}, {rows} clips, keep {k}:", "  ".join(f"{n} {v:.3g}" for n, v in row.items()), flush=True)
        found[k] = {n: float(f"{v:.3g}") for n, v in row.items()}
    return {"rows": rows, "keep": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--count", action="store_true", help="count only: measure no time, write nothing")
    options = parser.parse_args()
    counts = {"gflops_of_a_clip": paper_table(), "shared": shared_table(), "fine_tuning": fine_tuning_table()}
    if options.count:
        return
    measured = {name: wall_clock(name, options.repeats) for name in (SIZE, "recipe")}
    off = abs(measured[SIZE]["keep"]["0.5"]["time_over_operations"] - 1)
    print(f"{SIZE}, keep 0.5: time and operations {off:.1%} apart; target {TARGET:.0%}: {off <= TARGET}")
    reached = {f"within {TARGET:.0%} at keep 0.5": off <= TARGET}
    write(
        "vatt_cost",
        {**counts, "training_step": measured, "target": reached},
        options.out,
    )


if __name__ == "__main__":
    main()
