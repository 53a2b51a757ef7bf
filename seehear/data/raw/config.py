"""What of a clip a model that starts from raw media is shown."""

from __future__ import annotations

from dataclasses import dataclass

from seehear.data.raw.windows import EPSILON
from seehear.errors import SeehearError, unknown
from seehear.types import MODALITIES, Modality


@dataclass(frozen=True, kw_only=True)
class RawConfig:
    modalities: tuple[Modality, ...] = MODALITIES
    """What is read; the rest is neither opened nor part of a batch."""
    frames: int = 32
    """Pictures of a clip."""
    fps: float = 10.0
    """Pictures a second. Windows begin on this grid too, counted from the start of the clip."""
    size: int = 224
    """Pixels of a side of the square pictures that the model sees."""
    side: int = 0
    """Pixels of the shorter side that films are scaled down to as they are decoded, and cached at; crops are cut out of
    that. 0: 8/7 of `size`, which is 256 for 224."""
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """(top, left, bottom, right) of the part of every picture that is looked at, as fractions of its sides; `side` is
    of this part."""
    rate: int = 48_000
    """Samples a second of the waveform."""
    seconds: float = 0.0
    """Of sound. 0: just as long as the pictures. Of two lengths the shorter lies within the longer."""
    extend: bool = True
    """A clip shorter than the window is extended by what stands around it in its file; only where the file is too short
    as well something has to be made up."""
    loop: bool = True
    """What is too short is repeated from its start. False: its last picture stays, and silence follows."""
    crop: tuple[float, float] = (0.08, 1.0)
    """Share of the picture's area that is cut out, drawn anew for each clip. (1, 1) with an aspect of (1, 1): the
    centre square."""
    aspect: tuple[float, float] = (0.5, 2.0)
    """Width over height of what is cut out and then squeezed to a square, drawn evenly in its logarithm."""
    squash: bool = False
    """In evaluation the whole picture is squeezed to a square. False: the square in its middle is shown."""
    flip: float = 0.5
    """How often a clip is mirrored."""
    jitter: float = 0.8
    """How often the colours of a clip are changed, by the next four."""
    brightness: float = 32 / 255
    """Up to so much of full white is added or taken away."""
    contrast: float = 0.4
    """Distances from the mean colour grow or shrink by up to this share."""
    saturation: float = 0.4
    """Distances from grey grow or shrink by up to this share."""
    hue: float = 0.2
    """Up to so many turns of the colour circle."""
    motion: float = 0.0
    """So many times the distance of every pixel from its mean over the clip is shown, around middle grey: what stays
    the same in a clip is gone. 0: pictures as they are."""
    noise: float = 0.01
    """Gaussian noise in the sound: its standard deviation over the loudest sample of the clip."""
    contexts: int = 5
    """Sentences of a clip: its own first, then those nearest in time in the same recording."""
    words: int = 16
    """Of a sentence; later ones are cut."""

    def __post_init__(self) -> None:
        for m in self.modalities:
            if m not in MODALITIES:
                raise unknown("modality", m, MODALITIES)
        for name in ("frames", "fps", "size", "rate", "contexts", "words"):
            _check(name, getattr(self, name), getattr(self, name) > 0, "more than 0")
        for name in ("side", "seconds", "noise", "motion"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        for name in ("flip", "jitter", "brightness", "contrast", "saturation", "hue"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "from 0 to 1")
        still = self.motion > 0 and self.frames == 1
        _check("motion", self.motion, not still, "0 where a clip is one picture: in that nothing moves")
        low, high = self.crop
        _check("crop", self.crop, 0 < low <= high <= 1, "two rising shares of the area, from above 0 to 1")
        _check("aspect", self.aspect, 0 < self.aspect[0] <= self.aspect[1], "two rising numbers above 0")
        top, left, bottom, right = self.region
        inside = 0 <= top < bottom <= 1 and 0 <= left < right <= 1
        _check("region", self.region, inside, "(top, left, bottom, right) as rising fractions from 0 to 1")
        _check("seconds", self.seconds, "audio" not in self.modalities or self.samples > 0, "a sample at least")

    @property
    def video_seconds(self) -> float:
        return self.frames / self.fps

    @property
    def audio_seconds(self) -> float:
        return self.seconds or self.video_seconds

    @property
    def samples(self) -> int:
        """Of a clip's waveform."""
        return int(self.audio_seconds * self.rate + 0.5 + EPSILON)

    @property
    def lengths(self) -> tuple[float, float]:
        """Seconds of pictures and of sound; one that is not read lasts as long as the other."""
        video, audio = self.video_seconds, self.audio_seconds
        return video if "video" in self.modalities else audio, audio if "audio" in self.modalities else video

    @property
    def window_seconds(self) -> float:
        """Of all that is read of a clip."""
        return max(self.lengths)

    @property
    def decoded_side(self) -> int:
        """Pixels of the shorter side of a whole picture as it is decoded."""
        top, left, bottom, right = self.region
        side = self.side or round(self.size * 8 / 7)
        return max(1, round(side / min(bottom - top, right - left)))


def _check(name: str, given: object, holds: bool, must: str) -> None:
    if not holds:
        raise SeehearError(f"raw media: {name} must be {must}; got {given}")
