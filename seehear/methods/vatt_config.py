"""Settings of VATT, its sizes, and the spaces they lay out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import ClassVar, Literal

from seehear.errors import SeehearError, check_range, unknown
from seehear.inputs.raw.config import RawConfig
from seehear.methods.base import MethodConfig
from seehear.nn.transformer import Size
from seehear.types import MODALITIES, Modality

Pair = tuple[Modality, Modality]
Form = Literal["paper", "code", "symmetric"]

SIZES = {
    # Ours, for a CPU.
    "tiny": Size(layers=4, width=192, hidden=768, heads=3),
    "small": Size(layers=6, width=512, hidden=2048, heads=8),
    "base": Size(layers=12, width=768, hidden=3072, heads=12),
    "medium": Size(layers=12, width=1024, hidden=4096, heads=16),
    "large": Size(layers=24, width=1024, hidden=4096, heads=16),
}


@dataclass(frozen=True, kw_only=True)
class MelConfig:
    # The official code's numbers: 2,048 and 1,024 samples at 48 kHz.
    window: float = 0.04267
    """Seconds of a frame."""
    hop: float = 0.02134
    """Seconds from one frame to the next."""
    bands: int = 80
    """Bands of equal width in mel."""
    low: float = 80.0
    """Lower end of the first band, in hertz."""
    high: float = 7600.0
    """Upper end of the last band, in hertz."""

    def __post_init__(self) -> None:
        check_range(self, "(0, inf)", "window", "hop", "bands", "high")
        check_range(self, "[0, inf)", "low")

    def sizes(self, rate: int) -> tuple[int, int]:
        """(samples of a window, samples of a hop)"""
        # Cut off and not rounded, as in the official code.
        return int(self.window * rate), int(self.hop * rate)

    def frames(self, samples: int, rate: int) -> int:
        """Frames of a sound: one begins at every hop inside it."""
        return -(-samples // self.sizes(rate)[1])


@dataclass(frozen=True, kw_only=True)
class VATTConfig(MethodConfig):
    name: ClassVar = "vatt"
    modalities: tuple[Modality, ...] = MODALITIES
    """Modalities of a batch; two at least."""
    variant: Literal["specific", "agnostic"] = "specific"
    """An encoder for each modality, or one for all, through which each passes by itself."""
    video: Size = SIZES["medium"]
    """Size of the video encoder."""
    audio: Size = SIZES["base"]
    """Size of the audio encoder."""
    text: Size = SIZES["small"]
    """Size of the text encoder, one with relative positions (T5)."""
    shared: Size = SIZES["medium"]
    """Size of the one encoder of 'agnostic', in place of the three."""
    frames: tuple[int, int, int] = (32, 224, 224)
    """Frames, height and width of the learned positions; they are interpolated for clips of other sizes."""
    channels: int = 3
    """Channels of a frame."""
    patch: tuple[int, int, int] = (4, 16, 16)
    """Frames, height and width of a video token."""
    sound: Literal["waveform", "spectrogram"] = "waveform"
    """Audio tokens: runs of samples, or patches of their log-mel spectrogram."""
    rate: int = 48_000
    """Samples a second."""
    # 3.2 s: as long as 32 frames at 10 a second.
    samples: int = 153_600
    """Samples of the learned positions."""
    sound_patch: int = 128
    """Samples of an audio token."""
    mel: MelConfig = MelConfig()
    """Settings of the spectrogram."""
    mel_patch: tuple[int, int] = (16, 5)
    """Frames and bands of a token of the spectrogram."""
    # The words of MIL-NCE's release: word2vec trained on HowTo100M, which VATT takes over.
    vocabulary: int = 65_536
    """Words with their vectors; number 0 is padding."""
    word_width: int = 300
    """Width of a word vector."""
    words: int = 16
    """Longest sentence of 'agnostic', in words; 'specific' reads any length."""
    train_words: bool = False
    """Whether word vectors are trained; the paper's are word2vec's, frozen."""
    position_norm: bool = True
    """LayerNorm of position vectors, as in the official code. Without it (the paper) they start small, and do not
    outweigh the small tokens of waveforms."""
    keep: dict[Modality, float] = field(default_factory=dict)
    """DropToken: share of the tokens that a training step reads; by default 0.5 of video and of waveforms, all of a
    spectrogram. Text is never dropped."""
    # The official code draws one set for all clips of a batch.
    keep_per_sample: bool = False
    """A keep set of its own for each clip, not one for the whole batch."""
    dropout: float = 0.1
    """Dropout of tokens, in each MLP, at the end of each branch and of each encoder."""
    drop_path: float = 0.0
    """Stochastic depth: probability for the last block's branches; lower for earlier blocks."""
    spaces: Literal["joint", "disjoint", "fine_coarse"] = "fine_coarse"
    """A fine space of video and audio, and behind it a coarse one of all (the paper); one for all; one a pair."""
    dim: int = 512
    """Width of a space."""
    coarse_dim: int | None = None
    """Width of the coarse space, and of a disjoint one that holds text; None: half of `dim`."""
    batch_norm: Literal["all", "video"] = "all"
    """After every linear map of the heads (the paper), or only after those of video (the official code)."""
    # Audio and text are not aligned: their weight is 0 in the official code.
    pairs: tuple[Pair, ...] = (("video", "audio"), ("video", "text"))
    """Pairs of modalities to align; empty means all."""
    text_weight: float = 1.0
    """lambda, of the pairs with text."""
    temperature: float = 0.07
    """tau; it is not learned."""
    form: Form = "paper"
    """Form of the losses. 'code' and 'symmetric' are the official code's two: with them the total is the mean of the
    terms and not their sum."""
    mask_same_group: bool = False
    """Clips of one source recording are no negatives of each other. (In the paper they are.)"""

    def __post_init__(self) -> None:
        # JSON gives lists: as tuples, settings that were saved and loaded equal those before.
        for name in ("modalities", "frames", "patch", "mel_patch"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_range(self, "[1, inf)", "channels", "rate", "samples", "sound_patch", "vocabulary", "word_width", "words")
        check_range(self, "[1, inf)", "frames", "patch", "mel_patch", "dim", "coarse_dim")
        check_range(self, "[0, inf)", "text_weight")
        # In one order, so that names of spaces and pairs do not depend on how they were given.
        object.__setattr__(self, "modalities", tuple(m for m in MODALITIES if m in self._known(self.modalities)))
        pairs = tuple(tuple(sorted(self._known(pair), key=MODALITIES.index)) for pair in self.pairs)
        object.__setattr__(self, "pairs", pairs)
        if len(self.modalities) < 2:
            raise SeehearError(f"VATT aligns two modalities at least; got {', '.join(self.modalities)}")
        if alone := set(self.modalities) - {m for pair in self.pairs_here() for m in pair}:
            raise SeehearError(f"{', '.join(sorted(alone))} is in no pair: add one, or leave it out of modalities")
        if self.spaces == "fine_coarse" and not {"video", "audio"} <= set(self.modalities):
            raise SeehearError("fine_coarse needs video and audio: choose another of spaces, joint or disjoint")
        for m in (m for m in self.modalities if m != "text"):
            shape, patch = self.grid_of(m)
            if any(n < size for n, size in zip(shape, patch, strict=True)):
                raise SeehearError(f"{m} of a clip is {shape}, a patch alone {patch}: take longer or larger clips")
        for m, rate in self.keep.items():
            if m not in ("video", "audio") or not 0 < rate <= 1:
                raise SeehearError(f"keep must be in (0, 1], for video or audio; got {rate} for {m}")
        if not self.temperature >= 0.001 or not 0 <= self.dropout < 1 or not 0 <= self.drop_path < 1:
            raise SeehearError(
                "temperature must be 0.001 at least, dropout and drop_path in [0, 1); got "
                f"{self.temperature}, {self.dropout} and {self.drop_path}"
            )

    @staticmethod
    def _known(modalities: tuple[Modality, ...]) -> tuple[Modality, ...]:
        for m in modalities:
            if m not in MODALITIES:
                raise unknown("modality", m, MODALITIES)
        return modalities

    def reading(self, raw: RawConfig, *, vocabulary: int) -> VATTConfig:
        """These settings for clips of the sizes of `raw` and a vocabulary of `vocabulary` words."""
        modalities = tuple(m for m in self.modalities if m in raw.modalities)
        return replace(
            self,
            modalities=modalities,
            frames=(raw.frames, raw.size, raw.size),
            rate=raw.rate,
            samples=raw.samples,
            words=raw.words,
            vocabulary=vocabulary,
        )

    def size_of(self, m: Modality) -> Size:
        if self.variant == "agnostic":
            return self.shared
        return {"video": self.video, "audio": self.audio, "text": self.text}[m]

    def keep_of(self, m: Modality) -> float:
        return self.keep.get(m, 1.0 if m == "audio" and self.sound == "spectrogram" else 0.5)

    def grid_of(self, m: Modality) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(size of the learned positions of video or audio, size of a patch)"""
        if m == "video":
            return self.frames, self.patch
        if self.sound == "waveform":
            return (self.samples,), (self.sound_patch,)
        return (self.mel.frames(self.samples, self.rate), self.mel.bands), self.mel_patch

    def pairs_here(self) -> tuple[Pair, ...]:
        """The pairs whose modalities are used."""
        pairs = self.pairs or tuple(combinations(MODALITIES, 2))
        return tuple((p, q) for p, q in pairs if p in self.modalities and q in self.modalities)


@dataclass(frozen=True)
class VATTSpace:
    modalities: tuple[Modality, ...]
    dim: int
    pairs: tuple[Pair, ...]
    """Pairs that are aligned in it."""


def plan(config: VATTConfig) -> dict[str, VATTSpace]:
    """The spaces by name, the one with most modalities first."""
    pairs, coarse_dim = config.pairs_here(), config.coarse_dim or config.dim // 2
    if config.spaces == "joint":
        return {"joint": VATTSpace(config.modalities, config.dim, pairs)}
    if config.spaces == "disjoint":
        return {f"{p}-{q}": VATTSpace((p, q), coarse_dim if q == "text" else config.dim, ((p, q),)) for p, q in pairs}
    fine = tuple(pair for pair in pairs if "text" not in pair)
    spaces = {"fine": VATTSpace(("video", "audio"), config.dim, fine)}
    if "text" not in config.modalities:
        return spaces
    coarse = tuple(pair for pair in pairs if "text" in pair)
    # The first is the space that `Method.space_name` takes by default.
    return {"coarse": VATTSpace(config.modalities, coarse_dim, coarse)} | spaces
