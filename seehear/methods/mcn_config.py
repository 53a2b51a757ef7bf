"""Settings of MCN, and the spaces they lay out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import ClassVar, Literal

from seehear.errors import SeehearError, check_range, unknown
from seehear.methods.base import MethodConfig
from seehear.nn.davenet import NormKind
from seehear.types import MODALITIES, Modality

Pair = tuple[Modality, Modality]
Over = Literal["mean", "sum", "fused"]
Input = Literal["latents", "words", "mel", "waveform"]


@dataclass(frozen=True, kw_only=True)
class MCNConfig(MethodConfig):
    name: ClassVar = "mcn"
    reads_sequences: ClassVar = True
    widths: dict[Modality, int] = field(default_factory=dict)
    """Width of the features by modality (of a word vector, for words; number of bands, for sound); two modalities at
    least. A recipe leaves it empty: data fills it in."""
    inputs: dict[Modality, Input] = field(default_factory=dict)
    """Input of a modality. 'latents', the default: (B, D); 'words': (B, L, D), rows of zeros are padding; 'mel':
    (B, F, S) in decibels, or 'waveform': (B, N) at 16 kHz, which go through DAVEnet. Words and mel may be flat,
    (B, L D) or (B, F S), as a library stores them. For sound padded to a common length the batch also holds
    `length_audio` (B,): frames, or samples, of the clip itself; without it: up to the last frame above -120 dB."""
    blocks: dict[Modality, tuple[int, ...]] = field(default_factory=dict)
    """Widths of the concatenated encoders of a modality, where its latents come from several: each has an equal say."""
    normalise: Literal["l2", "standardise", "none"] = "l2"
    """Latents to unit length, encoder by encoder (the paper), or to zero mean and unit variance over the training rows,
    or left as they are."""
    nonnegative: tuple[Modality, ...] = ()
    """Modalities whose latents are never negative (maxima of ReLU features, as in the paper): their decoder ends in a
    ReLU. Those of words and of sound always do."""
    spaces: Literal["joint", "disjoint", "fine_coarse"] = "joint"
    """One space; one for each pair; or a fine one of video and audio, and a coarse one of all three behind it."""
    dim: int = 6144
    """Width of a space."""
    coarse_dim: int | None = None
    """Width of the coarse space, if there is one; None: half of `dim`."""
    similarity: Literal["dot", "cosine"] = "dot"
    """'dot': raw products (the paper); 'cosine': of unit vectors, over a learned temperature for each space."""
    temperature: float = 0.07
    """Initial value of the temperatures; raw products have none."""
    margin: float = 0.001
    """delta, subtracted from the logit of a match."""
    pairs: tuple[Pair, ...] = ()
    """Pairs of modalities to align; empty means all."""
    mask_same_group: bool = False
    """Clips of one source recording are no negatives of each other. (In the paper they are.)"""
    mask_duplicates: bool = False
    """Clips with the same latents or words of a modality are no negatives in its pairs. (In the paper they are.)"""
    contrast_weight: float = 1.0
    """Weight of L_con; 0 leaves the term out, as for the next two."""
    cluster_weight: float = 1.0
    """Weight of L_clu."""
    # From the code: the paper's sum is remembered without a factor.
    reconstruct_weight: float = 50.0
    """Weight of L_rec."""
    cluster_over: Over = "mean"
    """L_clu: mean of the L_x (the code), their sum (the paper), or that of the fused vector m alone (a variant)."""
    clusters: int = 256
    """K: number of clusters."""
    # The code's: 20 steps of 128 videos with 16 clips each; 1 GB at 6,144 numbers a row.
    queue: int = 40_960
    """Rows of earlier batches that are clustered with the present one."""
    enqueue: float = 0.5
    """Share of a batch that enters the queue, evenly over its rows."""
    # As many steps as the code's queue holds batches: one option is both there.
    refit_every: int = 20
    """Steps between two fits of k-means."""
    iterations: int = 100
    """Largest number of iterations of k-means."""
    # The README's command; the default of the code's argument is 768.
    hidden: int = 1024
    """Width inside a decoder."""
    channels: tuple[int, ...] = (128, 256, 512, 1024)
    """Channels of DAVEnet's stages."""
    audio_norm: NormKind = "group"
    """DAVEnet's norm. 'batch' is the paper's, over the rows at hand: results then depend on micro-batches and
    processes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", {m: tuple(b) for m, b in self.blocks.items()})
        object.__setattr__(self, "pairs", tuple((p, q) for p, q in self.pairs))
        # JSON gives lists: as tuples, settings that were saved and loaded equal those before.
        for name in ("nonnegative", "channels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.widths:
            self._check_modalities()
        if self.normalise == "standardise" and self.nonnegative:
            raise SeehearError("standardised latents have negative values: nonnegative must be empty")
        if not 0 < self.enqueue <= 1 or min(self.clusters, self.refit_every, self.iterations) < 1 or self.queue < 0:
            raise SeehearError(
                "enqueue must be in (0, 1], clusters, refit_every and iterations at least 1, queue at least 0; got "
                f"{self.enqueue}, {self.clusters}, {self.refit_every}, {self.iterations} and {self.queue}"
            )
        check_range(self, "[1, inf)", "dim", "coarse_dim", "hidden", "channels")
        check_range(self, "[0, inf)", "margin", "contrast_weight", "cluster_weight", "reconstruct_weight")
        check_range(self, "(0, inf)", "temperature")

    def _check_modalities(self) -> None:
        if len(self.widths) < 2:
            raise SeehearError(f"MCN aligns two modalities at least; got {', '.join(self.widths)}")
        for m in [*self.inputs, *self.blocks, *self.nonnegative, *(m for pair in self.pairs for m in pair)]:
            if m not in self.widths:
                raise unknown("modality", m, self.widths)
        for m, blocks in self.blocks.items():
            if sum(blocks) != self.widths[m]:
                raise SeehearError(f"blocks of {m} must add up to {self.widths[m]}; got {blocks}")
        for m, kind in self.inputs.items():
            if kind != "latents" and m != ("text" if kind == "words" else "audio"):
                raise SeehearError(f"{m} cannot be {kind}: words are text, mel and waveform audio")
        if self.spaces == "fine_coarse" and set(self.widths) != set(MODALITIES):
            raise SeehearError(f"fine_coarse needs video, audio and text; got {', '.join(self.widths)}")

    def input_of(self, m: Modality) -> Input:
        return self.inputs.get(m, "latents")


@dataclass(frozen=True)
class MCNSpace:
    modalities: tuple[Modality, ...]
    dim: int
    pairs: tuple[Pair, ...]
    own: tuple[Modality, ...]
    """Modalities whose heads lead here, and which are reconstructed from here; others come through another space."""
    clustered: bool = True


def plan(config: MCNConfig) -> dict[str, MCNSpace]:
    """The spaces by name, the one with most modalities first."""
    # In one order, so that names of spaces and pairs do not depend on how widths were given.
    modalities = tuple(m for m in MODALITIES if m in config.widths)
    pairs = config.pairs or tuple(combinations(modalities, 2))
    if config.spaces == "joint":
        return {"joint": MCNSpace(modalities, config.dim, pairs, own=modalities)}
    if config.spaces == "disjoint":
        return {f"{p}-{q}": MCNSpace((p, q), config.dim, ((p, q),), own=(p, q)) for p, q in pairs}
    fine = tuple(pair for pair in pairs if "text" not in pair)
    coarse = tuple(pair for pair in pairs if "text" in pair)
    return {
        # The first is the space that `Method.space_name` takes by default.
        "coarse": MCNSpace(modalities, config.coarse_dim or config.dim // 2, coarse, own=("text",)),
        "fine": MCNSpace(("video", "audio"), config.dim, fine, own=("video", "audio"), clustered=False),
    }
