"""Settings of MAViL and its sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self, get_args

from seehear.errors import SeehearError, check_range, unknown
from seehear.inputs.raw import RawConfig
from seehear.methods.base import MethodConfig
from seehear.nn.masked import DecoderKind
from seehear.nn.mel import KaldiMel
from seehear.nn.transformer import Size
from seehear.types import Modality

SIDES: tuple[Modality, ...] = ("video", "audio")

SIZES = {
    # Ours, for a CPU.
    "tiny": Size(layers=4, width=192, hidden=768, heads=3),
    "small": Size(layers=12, width=384, hidden=1536, heads=6),
    "base": Size(layers=12, width=768, hidden=3072, heads=12),
    "large": Size(layers=24, width=1024, hidden=4096, heads=16),
}
DECODER = Size(layers=8, width=512, hidden=2048, heads=16)


@dataclass(frozen=True, kw_only=True)
class FastPaths:
    """Short cuts with the same results; MAE and Audio-MAE, whose code MAViL follows, take none of them."""

    visible_only: bool = True
    """Only visible patches are embedded. Off: all are, and then most are thrown away."""
    joined_views: bool = True
    """Both masked views pass the encoder as one batch."""
    needed_only: bool = True
    """A joint decoder's last block and head compute hidden patches only."""


@dataclass(frozen=True, kw_only=True)
class MAViLConfig(MethodConfig):
    name: ClassVar = "mavil"
    size: Size = SIZES["base"]
    """Size of each modality's encoder."""
    fusion: Literal["joint", "bottleneck"] = "joint"
    """One Transformer over the tokens of both, or one each and a few tokens that they share."""
    # 2 in the paper and the pre-trained weights; the released fine-tuned model has 3.
    fusion_layers: int = 2
    """Layers of the fusion encoder, of the encoders' width."""
    decoder: Size = DECODER
    """Size of each modality's decoder."""
    decoders: dict[Modality, DecoderKind] = field(default_factory=lambda: dict.fromkeys(SIDES, "joint"))
    """Attention of hidden patches: to all patches (joint), or to the visible ones only (cross)."""
    decoded: dict[Modality, float] = field(default_factory=lambda: dict.fromkeys(SIDES, 1.0))
    """Share of the hidden patches that is decoded; a joint decoder decodes all."""
    # 4 s at 2 frames a second beside 10 s of sound: the paper's pairs are aligned as clips, not in time.
    frames: tuple[int, int, int] = (8, 224, 224)
    """Frames, height and width of the pictures."""
    patch: tuple[int, int, int] = (2, 16, 16)
    """Frames, height and width of a token."""
    still: bool = False
    """Positions within a picture only, the same at all times, as an image MAE's are when they are tiled."""
    rate: int = 16_000
    """Samples a second."""
    # 10 s make 998 frames: the others are padding, as in Audio-MAE.
    mel_frames: int = 1024
    """Frames of the spectrogram, one every 10 ms: longer sounds are cut, shorter ones padded."""
    mel_bands: int = 128
    """Bands of the spectrogram."""
    mel_patch: tuple[int, int] = (16, 16)
    """Frames and bands of a token."""
    mel_mean: float = -4.2677393
    """Mean level of a spectrogram; here AudioSet's."""
    # Twice the deviation is no slip: Audio-MAE's code divides so, and levels then have a deviation of 0.5.
    mel_std: float = 4.5689974
    """Standard deviation of the levels, which are divided by twice as much."""
    mel_padding: Literal["zero", "silence"] = "zero"
    """Padding of a short sound: zero as in the official code, which is louder than silence, or silence."""
    roll: bool = True
    """In pre-training sounds are rotated by a random offset, and scaled by 0.5 + Beta(10, 10)."""
    masking: dict[Modality, float] = field(default_factory=lambda: dict.fromkeys(SIDES, 0.8))
    """Share of the patches that is hidden."""
    standardise: bool = True
    """Patches to be reconstructed are standardised one by one (norm_pix)."""
    video_weight: float = 1.0
    """lambda_v, of the reconstruction of video."""
    # These weights and temperatures are remembered from the paper: no code or table of them is public.
    inter_weight: float = 0.1
    """alpha, of the contrast of sound and pictures."""
    intra_weight: float = 0.01
    """beta, of the contrast of two views; 0: there is one view only."""
    inter_temperature: float = 0.1
    """tau of the contrast of sound and pictures."""
    intra_temperature: float = 1.0
    """tau of the contrast of two views."""
    mask_same_group: bool = False
    """Clips of one source recording are no negatives of each other. (In the paper they are.)"""
    teacher: str = ""
    """Stage 2: folder of the run or model that is the frozen teacher, of the same size. Empty: stage 1."""
    rounds: int = 1
    """Stage 2: rounds of the whole schedule, one after the other. The model of a round teaches the next, whose weights
    start anew."""
    image_mae: str = ""
    """Image MAE that the weights of video and fusion start from: a folder or hub name with safetensors, a .safetensors
    or a .pth file. `still` then gives every picture the positions that it knows."""
    image_mae_audio: bool = False
    """The weights of audio start from it too."""
    drop_path: float = 0.0
    """Stochastic depth of the encoders, in fine-tuning."""
    drop_tokens: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Shares left out in fine-tuning: of the times of a spectrogram, of its bands, and of the tokens of video."""
    fast: FastPaths = FastPaths()
    """Short cuts with the same results."""

    def __post_init__(self) -> None:
        # JSON gives lists: as tuples, settings that were saved and loaded equal those before.
        for name in ("frames", "patch", "mel_patch", "drop_tokens"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("masking", "decoded", "decoders"):
            if set(options := getattr(self, name)) != set(SIDES):
                raise SeehearError(f"{name} needs a value for video and one for audio; got {options}")
        check_range(
            self, "[1, inf)", "frames", "patch", "mel_patch", "rate", "mel_frames", "mel_bands", "fusion_layers"
        )
        check_range(self, "[1, inf)", "rounds")
        check_range(self, "[0, inf)", "video_weight", "inter_weight", "intra_weight")
        check_range(self, "(0, inf)", "mel_std")
        for m, count in ((m, self.counts(m)) for m in SIDES):
            if 0 in count:
                raise SeehearError(f"{m} has no whole patch: {self.grid(m)} in patches of {self.patch_of(m)}")
            if self.decoders[m] not in get_args(DecoderKind):
                raise unknown("decoder", self.decoders[m], get_args(DecoderKind))
            if not 0 < self.masking[m] < 1 or not 0 < self.decoded[m] <= 1:
                raise SeehearError(f"masking must be in (0, 1), decoded in (0, 1]; {m} has other values")
            if self.decoders[m] == "joint" and self.decoded[m] < 1:
                raise SeehearError(f"a joint decoder decodes all hidden patches: set decoders.{m} to cross")
        # `not (a >= b)` and not `a < b`: NaN is refused too.
        if not (self.inter_temperature >= 0.001 and self.intra_temperature >= 0.001):
            raise SeehearError("temperatures must be 0.001 at least: inter_temperature and intra_temperature")
        if not 0 <= self.drop_path < 1 or not all(0 <= rate < 1 for rate in self.drop_tokens):
            raise SeehearError("drop_path and drop_tokens must be in [0, 1)")

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return SIDES

    @property
    def pairs(self) -> tuple[tuple[Modality, Modality], ...]:
        return (("video", "audio"),)

    def reading(self, raw: RawConfig, *, vocabulary: int = 0) -> Self:
        """These settings for clips of the sizes of `raw`; words are not used. The spectrogram is a multiple of four
        tokens long: 1024 frames for 10 s, 512 for 5 s, 128 for a second, as in Audio-MAE."""
        if missing := [m for m in SIDES if m not in raw.modalities]:
            raise SeehearError(
                f"MAViL learns from clips with pictures and sound: there is no {' and no '.join(missing)}"
            )
        frames, step = KaldiMel(rate=raw.rate, bands=self.mel_bands).frames(raw.samples), 4 * self.mel_patch[0]
        return replace(
            self, frames=(raw.frames, raw.size, raw.size), rate=raw.rate, mel_frames=-(-frames // step) * step
        )

    @property
    def diffuse(self) -> tuple[Modality, ...]:
        """Modalities whose hidden patches enter the decoder diffused: none, except in DiffMAViL."""
        return ()

    def grid(self, m: Modality) -> tuple[int, ...]:
        return self.frames if m == "video" else (self.mel_frames, self.mel_bands)

    def patch_of(self, m: Modality) -> tuple[int, ...]:
        return self.patch if m == "video" else self.mel_patch

    def counts(self, m: Modality) -> tuple[int, ...]:
        """Tokens along each axis."""
        return tuple(n // p for n, p in zip(self.grid(m), self.patch_of(m), strict=True))

    def values(self, m: Modality) -> int:
        """Numbers of a patch."""
        return math.prod(self.patch_of(m)) * (3 if m == "video" else 1)
