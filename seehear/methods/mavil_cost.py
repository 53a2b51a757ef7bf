"""Cost of MAViL and DiffMAViL in closed form: multiply-adds of one clip, by component.

For n tokens of width d, and an MLP of 4d:

    block        12 n d^2 + 2 n^2 d
    cross        10 q d^2 + 2 k d^2 + 2 q k d         q queries read k tokens: no attention among queries
    cross-self   cross + 4 q d^2 + 2 q^2 d

    patches      N p D of each modality, all N or the k visible ones of each view
    encoders     layers x block(k + 1, D), for each view
    fusion       layers x block(k_a + k_v + 2, D), the first view only
    decoders     (k + 1) D d to enter; layers x block(N + 1, d), or cross with q = N - k and k + 1 tokens to read;
                 a head d p on all N (joint) or on the masked ones
    noise        (N - k) p d where masked patches are diffused, and the diffusion step through two layers
    sound        F (n / 2 + 1) S: the mel filters on S spectra of n points

Not counted, as in the papers: normalisation, softmax, biases, and what is per batch. The backward pass costs twice the
forward one, but once where a layer's input is data: the gradient of a pixel is not computed. Two floating-point
operations are a multiply-add. `tests/methods/test_mavil_cost.py` checks this against numbers of the papers and against
the counter of `nn/flops.py`. The counter cannot replace it: batches that follow the masking ratio need the cost at each
of 20 ratios as a run starts, and counting one of ViT-B on tensors without values takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from seehear.methods.mavil_config import SIDES, MAViLConfig
from seehear.nn.mel import KaldiMel
from seehear.nn.transformer import Size, num_visible
from seehear.types import Modality

# Width of the embedding of a diffusion step (nn/diffusion.py).
_SINUSOIDS = 256
# Tokens of a bottleneck (mavil_layers.py).
_SHARED = 4


def forward(config: MAViLConfig, ratio: float, *, samples: int = 0) -> dict[str, int]:
    """Multiply-adds of one clip at a masking ratio, by component; with the log-mel front end for `samples` above 0."""
    size, views, parts = config.size, 2 if config.intra_weight else 1, {"mel": 0}
    patches = {m: patch_counts(config, m, ratio) for m in SIDES}
    if samples:
        mel = KaldiMel(rate=config.rate, bands=config.mel_bands)
        parts["mel"] = mel.frames(samples) * (mel.points // 2 + 1) * config.mel_bands
    for m, (every, visible, _) in patches.items():
        # All patches once for both views, or of each view the visible ones.
        embedded = views * visible if config.fast.visible_only else every
        parts[f"{m} patches"] = embedded * config.values(m) * size.width
        parts[f"{m} encoder"] = size.layers * block(visible + 1, size)
    parts["second view"] = (views - 1) * sum(parts[f"{m} encoder"] for m in SIDES)
    seen = {m: visible for m, (_, visible, _) in patches.items()}
    parts["fusion"] = _fused(config, seen)
    parts["decoder embedding"] = sum(n + 1 for n in seen.values()) * size.width * config.decoder.width
    for m in SIDES:
        parts |= _decoder(config, m, *patches[m])
    if config.teacher:
        parts["teacher"] = sum(inference(config).values())
    return parts


def training(config: MAViLConfig, ratio: float, *, samples: int = 0) -> dict[str, int]:
    """Multiply-adds of the forward and backward pass of one clip, by component."""
    return {name: _PASSES.get(name, 3) * macs for name, macs in forward(config, ratio, samples=samples).items()}


_READING = ("patches", "noise", "sinusoids")
# The spectrogram and the teacher run without gradient: they have no backward pass.
_PASSES = {"mel": 1, "teacher": 1} | {f"{m} {what}": 2 for m in SIDES for what in _READING}


def mean(config: MAViLConfig, ratios: Iterable[float], *, samples: int = 0) -> float:
    """Mean multiply-adds of a clip, forward and backward, over a curriculum of one ratio an epoch."""
    totals = [sum(training(config, ratio, samples=samples).values()) for ratio in ratios]
    return sum(totals) / len(totals)


def inference(config: MAViLConfig) -> dict[str, int]:
    """Multiply-adds of the features of a whole clip, by component; also the pass of a teacher of stage 2."""
    size, parts, every = config.size, {}, {m: prod(config.counts(m)) for m in SIDES}
    for m, n in every.items():
        parts[f"{m} encoder"] = n * config.values(m) * size.width + size.layers * block(n + 1, size)
    parts["fusion"] = _fused(config, every)
    return parts


def activations(config: MAViLConfig, ratio: float) -> int:
    """Tokens x width, summed over layers: the memory of a training step is proportional to it."""
    size, views, total = config.size, 2 if config.intra_weight else 1, 0
    for m in SIDES:
        every, visible, decoded = patch_counts(config, m, ratio)
        tokens = every + 1 if config.decoders[m] == "joint" else decoded
        total += (views * size.layers + config.fusion_layers) * (visible + 1) * size.width
        total += config.decoder.layers * tokens * config.decoder.width
    return total


def patch_counts(config: MAViLConfig, m: Modality, ratio: float) -> tuple[int, int, int]:
    """N, k and q: patches of a clip, visible ones, and hidden ones that are decoded."""
    every = prod(config.counts(m))
    visible = num_visible(every, ratio)
    # Rounded as `MAViL.see` rounds, or the count would be off by a patch.
    return every, visible, max(1, int(config.decoded[m] * (every - visible) + 1e-6))


# -- pieces ----------------------------------------------------------------------------------------------------------


def block(n: int, size: Size) -> int:
    """Cost of a layer in which n tokens attend to each other."""
    d = size.width
    return n * (4 * d**2 + 2 * d * size.hidden) + 2 * n**2 * d


def cross_block(q: int, k: int, size: Size) -> int:
    """Cost of a layer in which q queries attend to k tokens."""
    d = size.width
    return q * (2 * d**2 + 2 * d * size.hidden) + 2 * k * d**2 + 2 * q * k * d


def cross_self_block(q: int, k: int, size: Size) -> int:
    """Cost of `cross_block` after a self-attention of the queries."""
    return cross_block(q, k, size) + 4 * q * size.width**2 + 2 * q**2 * size.width


def _decoder(config: MAViLConfig, m: Modality, every: int, visible: int, q: int) -> dict[str, int]:
    size, kind, k, n = config.decoder, config.decoders[m], visible + 1, every + 1
    out, heads = config.size.width if config.teacher else config.values(m), q
    if kind == "joint":
        # One map makes queries, keys and values of all tokens: queries that are not asked for are paid too.
        needed = config.fast.needed_only
        last = cross_block(q, n, size) + (n - q) * size.width**2 if needed else block(n, size)
        blocks, heads = (size.layers - 1) * block(n, size) + last, q if needed else every
    else:
        blocks = size.layers * (cross_block(q, k, size) if kind == "cross" else cross_self_block(q, k, size))
    parts = {f"{m} decoder": blocks, f"{m} head": heads * size.width * out}
    if m not in config.diffuse:
        return parts
    step = {f"{m} sinusoids": _SINUSOIDS * size.width, f"{m} step": size.width**2}
    return parts | {f"{m} noise": q * config.values(m) * size.width} | step


def _fused(config: MAViLConfig, patches: Mapping[Modality, int]) -> int:
    """CLS and some patches of each modality through the fusion encoder."""
    counts = [n + 1 for n in patches.values()]
    met = [n + _SHARED for n in counts] if config.fusion == "bottleneck" else [sum(counts)]
    return config.fusion_layers * sum(block(n, config.size) for n in met)
