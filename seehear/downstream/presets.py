"""Published settings of fine-tuning, and ours. Settings that a paper does not give stay as in pre-training."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from seehear.errors import check_range, unknown
from seehear.inputs.raw import RawConfig
from seehear.methods.classifier import Learning
from seehear.train.config import TrainConfig
from seehear.train.optim import OptimConfig


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """Input specification of the tower. None: as in pre-training."""

    frames: int | None = None
    """Frames of a clip."""
    fps: float | None = None
    """Frames per second."""
    size: int | None = None
    """Height and width in pixels."""
    rate: int | None = None
    """Samples of sound per second."""
    seconds: float | None = None
    """Seconds of sound; 0: as long as the frames."""
    crop: tuple[float, float] | None = None
    """Range of the share of the frame's area that is cropped in training."""
    aspect: tuple[float, float] | None = None
    """Range of width over height of the crop."""
    flip: float | None = None
    """Probability of mirroring a clip."""
    jitter: float | None = None
    """Probability of changing its colours."""
    noise: float | None = None
    """Level of noise in the sound."""
    mel_mean: float | None = None
    """Mean level of a spectrogram, for a model that standardises it (MAViL)."""
    mel_std: float | None = None
    """Standard deviation of the level."""

    def __post_init__(self) -> None:
        check_range(self, "(0, inf)", "frames", "fps", "size", "rate", "aspect", "mel_std")
        check_range(self, "[0, inf)", "seconds", "noise")
        check_range(self, "(0, 1]", "crop")
        check_range(self, "[0, 1]", "flip", "jitter")

    def of(self, raw: RawConfig) -> RawConfig:
        """`raw` with these options."""
        return replace(raw, **self._said({f.name for f in fields(RawConfig)}))

    def of_model(self) -> dict[str, Any]:
        """Options that are settings of the model."""
        return self._said({"mel_mean", "mel_std"})

    def _said(self, names: set[str]) -> dict[str, Any]:
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name in names}
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class FineTune:
    preset: str = "base"
    """Name of the preset."""
    tower: str = ""
    """video, audio or video+audio; by default all that the model and the clips have."""
    learning: Learning = Learning()
    """Classification layer, its loss and regularisation."""
    clips: ClipOptions = ClipOptions()
    """Input specification of clips."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    balanced: bool = False
    """Sample clips by the rarity of their classes."""
    drawn: int = 0
    """Sampled clips per epoch; 0: the number of training clips."""
    windows: int = 1
    """Windows of a test clip."""
    crops: int = 1
    """Crops of each window."""
    scratch: bool = False
    """Start from random weights, as a baseline."""
    fold: str = ""
    """Official fold that is the test split ('fold 2', 'split1'); by default the library's splits."""
    where: str | None = None
    """SQL condition over the library's columns that clips must meet."""
    cache: Path | None = None
    """Folder for decoded clips, shared by all runs."""

    def __post_init__(self) -> None:
        check_range(self, "[0, inf)", "drawn")
        check_range(self, "[1, inf)", "windows", "crops")


def _sgd(lr: float, *, warmup_steps: int, clip: float | None = None) -> OptimConfig:
    return OptimConfig(kind="sgd", lr=lr, floor=0.0, warmup_steps=warmup_steps, weight_decay=0.0, clip=clip)


def _mavil(*, lr: float, epochs: int, warmup_epochs: int, batch: int, **more: Any) -> FineTune:
    """MAViL's settings; `lr` is for 256 clips, and the final rate is 1e-6 for any batch size."""
    # As remembered from the paper, whose fine-tuning has no published code.
    optim = OptimConfig(
        lr=lr,
        # The schedule scales the floor with the batch, too.
        floor=1e-6 * 256 / batch,
        lr_rows=256,
        warmup=warmup_epochs / epochs,
        weight_decay=1e-5,
        betas=(0.9, 0.95),
    )
    return FineTune(**{"learning": _MAVIL, **more}, optim=optim, train=TrainConfig(epochs=epochs, batch_size=batch))


# mixup, SpecAug, statistics and layer decay are those of Audio-MAE's code: MAViL published none.
_MAVIL = Learning(
    norm=True,
    init_std=2e-5,
    drop_path=0.1,
    layer_decay=0.75,
    mixup=0.5,
    mixup_beta=10.0,
    mask_time=192,
    mask_bands=48,
)

PRESETS: dict[str, FineTune] = {
    # Ours, for sets of a few hundred to a few ten thousand clips.
    "base": FineTune(
        # Early layers change least: a few hundred clips would spoil what pre-training made of them.
        learning=Learning(smoothing=0.1, layer_decay=0.75, drop_path=0.1),
        clips=ClipOptions(noise=0.0),
        optim=OptimConfig(lr=5e-4, weight_decay=0.05, warmup=0.1),
        train=TrainConfig(epochs=30, batch_size=64, evaluations=15),
        windows=4,
    ),
    # Actions, Kinetics and Moments in Time.
    "vatt.video": FineTune(
        tower="video",
        learning=Learning(dropout=0.5, smoothing=0.1),
        clips=ClipOptions(frames=32, fps=12.5, size=320, crop=(0.08, 1.0), aspect=(0.5, 2.0), flip=0.5, jitter=0.8),
        # The gradient is clipped as a whole; VATT's code clips that of the backbone alone.
        optim=_sgd(0.005, warmup_steps=2500, clip=0.75),
        train=TrainConfig(steps=100_000, batch_size=64),
        windows=4,
        crops=3,
    ),
    # Events, AudioSet: 6.4 s at 24 kHz are as many samples as in pre-training.
    "vatt.audio": FineTune(
        tower="audio",
        # Biases start at the share of one class: hundreds of classes are absent for each that is there.
        learning=Learning(prior_bias=True, weighted=True, sum_classes=True, mixup=1.0, mixup_beta=5.0),
        clips=ClipOptions(rate=24_000, seconds=6.4, noise=0.0),
        optim=_sgd(0.2, warmup_steps=5000),
        train=TrainConfig(steps=50_000, batch_size=1024),
        windows=4,
    ),
    # ImageNet: a still, repeated to four equal frames, which are one patch in time.
    "vatt.image": FineTune(
        tower="video",
        learning=Learning(smoothing=0.1),
        clips=ClipOptions(frames=4, size=384, crop=(0.08, 1.0), flip=0.5),
        optim=_sgd(0.08, warmup_steps=0),
        train=TrainConfig(epochs=50, batch_size=512),
    ),
    # AudioSet-2M: an epoch is 200,000 clips, sampled by the rarity of their classes.
    "mavil.as2m": _mavil(lr=2e-4, epochs=100, warmup_epochs=20, batch=512, balanced=True, drawn=200_000),
    "mavil.as20k": _mavil(lr=1e-3, epochs=60, warmup_epochs=4, batch=64),
    "mavil.vggsound": _mavil(lr=2e-4, epochs=60, warmup_epochs=4, batch=256, balanced=True),
    # 5 s: the spectrogram is half as long, with half the masks.
    "mavil.esc50": _mavil(
        lr=1e-3,
        epochs=60,
        warmup_epochs=4,
        batch=64,
        tower="audio",
        learning=replace(_MAVIL, mixup=0.0, smoothing=0.1, mask_time=96, mask_bands=24),
        # Statistics of the data set: to standardise each clip by itself is said to cost about 6 points of mAP.
        clips=ClipOptions(seconds=5.0, mel_mean=-6.6268077, mel_std=5.358466),
    ),
    # 1 s. The noise and the shift in time of Audio-MAE's code are left out.
    "mavil.speech-commands": _mavil(
        lr=1e-3,
        epochs=60,
        warmup_epochs=4,
        batch=64,
        tower="audio",
        learning=replace(_MAVIL, mixup=0.0, mask_time=0, mask_bands=0),
        clips=ClipOptions(seconds=1.0, mel_mean=-6.845978, mel_std=5.5654526),
    ),
}


def preset(name: str) -> FineTune:
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return replace(PRESETS[name], preset=name)
