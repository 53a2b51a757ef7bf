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
from dataclasses import dataclass
from math import prod

from seehear.methods.mavil_config import MAViLConfig
from seehear.nn.masked import DecoderKind
from seehear.nn.mel import KaldiMel
from seehear.nn.transformer import Size, num_visible
from seehear.types import Modality

SIDES: tuple[Modality, ...] = ("audio", "video")
# Width of the embedding of a diffusion step (nn/diffusion.py).
_SINUSOIDS = 256
# Tokens of a bottleneck (mavil_layers.py).
_SHARED = 4


@dataclass(frozen=True, kw_only=True)
class Side:
    """Numbers of one modality that the cost depends on."""

    tokens: int
    """N: patches of a clip."""
    values: int
    """p: numbers of a patch."""
    decoder: DecoderKind = "joint"
    """Attention of masked patches."""
    decoded: float = 1.0
    """Share of the masked patches that is decoded; a joint decoder decodes all."""
    noised: bool = False
    """Masked patches enter the decoder diffused, and not as one learned token."""

    def kept(self, ratio: float) -> int:
        """k: visible patches at a masking ratio."""
        return num_visible(self.tokens, ratio)

    def queries(self, ratio: float) -> int:
        """q: masked patches that are decoded."""
        # Rounded as `MAViL.see` rounds, or the count would be off by a patch.
        return max(1, int(self.decoded * (self.tokens - self.kept(ratio)) + 1e-6))


@dataclass(frozen=True, kw_only=True)
class CostShape:
    """The numbers that the cost depends on; as they stand, MAViL-B in pre-training, both views, stage 1."""

    audio: Side = Side(tokens=512, values=256)
    video: Side = Side(tokens=784, values=1536)
    encoder: Size = Size(layers=12, width=768, hidden=3072, heads=12)
    """Size of each modality's encoder."""
    fusion_layers: int = 2
    """Layers of the encoder's size over both modalities' tokens."""
    decoders: Size = Size(layers=8, width=512, hidden=2048, heads=16)
    """Size of each modality's decoder."""
    bottleneck: int = 0
    """Tokens through which modalities meet in fusion; 0: all of theirs meet."""
    spectra: tuple[int, int, int] = (0, 0, 0)
    """(S, n / 2 + 1, F) of the log-mel front end, where it is counted."""
    sinusoids: int = 0
    """Width of the embedding of a diffusion step, where its two layers are counted."""
    views: int = 2
    """2: encoded once more under another mask, for the contrast of views."""
    visible_only: bool = False
    """Only visible patches are embedded."""
    needed_only: bool = False
    """Joint decoders leave out what no loss reads: the visible tokens in the head, and in the last block, but for the
    three maps of attention."""
    contextual: bool = False
    """Stage 2: predict a frozen teacher's fusion output of the whole clip."""

    def side(self, name: str) -> Side:
        return self.audio if name == "audio" else self.video


def shape_of(config: MAViLConfig, *, samples: int = 0) -> CostShape:
    """The shape of a model with these settings; with the log-mel front end for `samples` above 0."""
    mel = KaldiMel(rate=config.rate, bands=config.mel_bands)

    def side(m: Modality) -> Side:
        kind, part = config.decoders[m], config.decoded[m]
        tokens, values = prod(config.counts(m)), config.values(m)
        return Side(tokens=tokens, values=values, decoder=kind, decoded=part, noised=m in config.diffuse)

    return CostShape(
        audio=side("audio"),
        video=side("video"),
        encoder=config.size,
        fusion_layers=config.fusion_layers,
        bottleneck=_SHARED if config.fusion == "bottleneck" else 0,
        decoders=config.decoder,
        spectra=(mel.frames(samples), mel.points // 2 + 1, config.mel_bands),
        sinusoids=_SINUSOIDS,
        views=2 if config.intra_weight else 1,
        visible_only=config.fast.visible_only,
        needed_only=config.fast.needed_only,
        contextual=bool(config.teacher),
    )


def forward(shape: CostShape, ratio: float) -> dict[str, int]:
    """Multiply-adds of one clip, by component."""
    embedded, encoded = _embedded(shape, ratio), _encoded(shape, ratio)
    parts = {"mel": prod(shape.spectra)} | {f"{m} patches": embedded[m] for m in SIDES}
    parts |= {f"{m} encoder": encoded[m] for m in SIDES}
    parts["second view"] = (shape.views - 1) * sum(encoded.values())
    visible = sum(shape.side(m).kept(ratio) + 1 for m in SIDES)
    parts["fusion"] = _fused(shape, {m: shape.side(m).kept(ratio) for m in SIDES})
    parts["decoder embedding"] = visible * shape.encoder.width * shape.decoders.width
    for m in SIDES:
        parts |= _decoder(shape, m, ratio)
    if shape.contextual:
        parts["teacher"] = sum(inference(shape).values())
    return parts


def training(shape: CostShape, ratio: float) -> dict[str, int]:
    """Multiply-adds of the forward and backward pass of one clip, by component."""
    return {name: _PASSES.get(name, 3) * macs for name, macs in forward(shape, ratio).items()}


_READING = ("patches", "noise", "sinusoids")
# The spectrogram and the teacher run without gradient: they have no backward pass.
_PASSES = {"mel": 1, "teacher": 1} | {f"{m} {what}": 2 for m in SIDES for what in _READING}


def mean(shape: CostShape, ratios: Iterable[float], *, backward: bool = False) -> float:
    """Mean multiply-adds of a clip over a curriculum of one ratio an epoch."""
    count = training if backward else forward
    totals = [sum(count(shape, ratio).values()) for ratio in ratios]
    return sum(totals) / len(totals)


def inference(shape: CostShape) -> dict[str, int]:
    """Multiply-adds of the features of a whole clip, by component; also the pass of a teacher of stage 2."""
    size, parts = shape.encoder, {}
    for m in SIDES:
        side = shape.side(m)
        parts[f"{m} encoder"] = side.tokens * side.values * size.width + size.layers * block(side.tokens + 1, size)
    parts["fusion"] = _fused(shape, {m: shape.side(m).tokens for m in SIDES})
    return parts


def activations(shape: CostShape, ratio: float) -> int:
    """Tokens x width, summed over layers: the memory of a training step is proportional to it."""
    size, decoders = shape.encoder, shape.decoders
    visible = sum(shape.side(m).kept(ratio) + 1 for m in SIDES)
    total = (shape.views * size.layers + shape.fusion_layers) * visible * size.width
    for m in SIDES:
        side = shape.side(m)
        tokens = side.tokens + 1 if side.decoder == "joint" else side.queries(ratio)
        total += decoders.layers * tokens * decoders.width
    return total


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


def _embedded(shape: CostShape, ratio: float) -> dict[str, int]:
    """All patches once for both views, or of each view the visible ones."""
    sides = {m: shape.side(m) for m in SIDES}
    patches = {m: shape.views * s.kept(ratio) if shape.visible_only else s.tokens for m, s in sides.items()}
    return {m: patches[m] * sides[m].values * shape.encoder.width for m in SIDES}


def _encoded(shape: CostShape, ratio: float) -> dict[str, int]:
    size = shape.encoder
    return {m: size.layers * block(shape.side(m).kept(ratio) + 1, size) for m in SIDES}


def _decoder(shape: CostShape, m: str, ratio: float) -> dict[str, int]:
    side, size = shape.side(m), shape.decoders
    q, k, n = side.queries(ratio), side.kept(ratio) + 1, side.tokens + 1
    out = shape.encoder.width if shape.contextual else side.values
    if side.decoder == "joint":
        # One map makes queries, keys and values of all tokens: queries that are not asked for are paid too.
        last = cross_block(q, n, size) + (n - q) * size.width**2 if shape.needed_only else block(n, size)
        blocks, heads = (size.layers - 1) * block(n, size) + last, q if shape.needed_only else side.tokens
    else:
        own = cross_block(q, k, size) if side.decoder == "cross" else cross_self_block(q, k, size)
        blocks, heads = size.layers * own, q
    stepped = side.noised and shape.sinusoids > 0
    return {
        f"{m} decoder": blocks,
        f"{m} head": heads * size.width * out,
        f"{m} noise": q * side.values * size.width if side.noised else 0,
        f"{m} sinusoids": shape.sinusoids * size.width if stepped else 0,
        f"{m} step": size.width**2 if stepped else 0,
    }


def _fused(shape: CostShape, patches: Mapping[str, int]) -> int:
    """CLS and some patches of each modality through the fusion encoder."""
    counts = [n + 1 for n in patches.values()]
    met = [n + shape.bottleneck for n in counts] if shape.bottleneck else [sum(counts)]
    return shape.fusion_layers * sum(block(n, shape.encoder) for n in met)
