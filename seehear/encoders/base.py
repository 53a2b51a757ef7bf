"""Interface of encoders: one modality in, one vector of `width` numbers out, the same every time.

Nothing here imports torch when it runs: worker processes that prepare samples start at once and stay small.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np

from seehear.errors import DecodeError, SeehearError, unknown
from seehear.media.files import VideoSpec, read_window

if TYPE_CHECKING:
    from torch import nn

    from seehear.types import Modality, Tensor


@dataclass(frozen=True)
class Sample:
    """Input of an encoder: a window of a media file, or a text."""

    path: str = ""
    start: float = 0.0
    """Seconds."""
    end: float = 0.0
    """Seconds; for a picture start = end = 0."""
    text: str = ""


@dataclass(frozen=True)
class SampleVectors:
    """Vectors of one sample."""

    vector: np.ndarray
    """(width,) float32."""
    frames: Sequence[np.ndarray] = ()
    """(width,) float32 of each frame of a film that differs from the one before it; none where all are alike."""
    places: Sequence[float] = ()
    """Share of the window at which each of these frames is on show, ascending."""


@dataclass(frozen=True)
class Graph:
    """An encoder as one network from named tensors to latents (B, width), for export."""

    network: nn.Module
    inputs: Mapping[str, Tensor]
    """Examples by name, of two samples."""
    axes: Mapping[str, Mapping[int, str]]
    """Names of the axes of each input that may have another length; the first is the batch."""
    takes: str
    """Description of the inputs."""
    least: Mapping[str, int] = field(default_factory=dict)
    """Smallest length by the name of an axis, if above 2."""
    files: Sequence[Path] = ()
    """Files needed to make the inputs, such as a tokenizer."""


class Encoder(ABC):
    """A frozen encoder. `prepare` runs in worker processes (decoding, resizing: no model), `encode` where the model is.
    `encode` of a sample does not depend on what else is in the batch; threads may call it at the same time."""

    name: str
    """Name that the user gave: 'efficientnet-lite0', or 'hub:<folder or id>[#layer=..,pool=..]'."""
    modality: Modality
    width: int
    shape: tuple[int, int] | None = None
    """Shape of a sequence that is stored flat: (L, D) of words, (F, S) of a spectrogram; the width is their product."""
    of_run: bool = False
    """Whether it is a part of a trained model: its latents are used only where they are asked for by name."""
    windows: int = 1
    """Vectors of a clip that a row holds side by side."""
    model: str = ""
    """Folder of the trained model, if `of_run`."""
    device: str = "cpu"
    """Device of the model."""
    fingerprint: str
    """16 hex digits over weights, preprocessing and pooling: another fingerprint is another space."""

    source: Encoder | None = None
    """Encoder whose latents this one is a function of: where a library has them, no media are read."""

    def prepare(self, sample: Sample) -> Any:
        """Decode and shape one sample. Raises `DecodeError` for media that cannot be read."""
        return self.preparation()(sample)

    def preparation(self) -> Callable[[Sample], Any]:
        """`prepare` as something that pickles: it goes to the worker processes. An encoder defines one of the two;
        those with a large model hand out the decoding alone."""
        return self.prepare

    @abstractmethod
    def encode(self, prepared: Sequence[Any]) -> np.ndarray:
        """(B, width) float32, one row a prepared sample."""

    def encode_parts(self, prepared: Sequence[Any]) -> list[SampleVectors]:
        """`encode`, with the vectors of single frames where the encoder has them."""
        return [SampleVectors(vector) for vector in self.encode(prepared)]

    def query_preparation(self) -> Callable[[Sample], Any]:
        """`preparation` of a query: some text encoders want another prompt there than for documents."""
        return self.preparation()

    def derive(self, latents: np.ndarray) -> np.ndarray:
        """(B, width) float32 from stored latents of `source`, equal to `encode` of what they were made from."""
        raise NotImplementedError

    no_graph: ClassVar[str] = "it is no network that torch can export"
    """Reason why there is no `graph`."""

    def graph(self) -> Graph | None:
        """The encoder for export, from the latents of its `source` if it has one. None: see `no_graph`."""
        return None

    def to(self, device: str) -> Self:
        """Move the model; encoders without one stay where they are."""
        return self


# -- names with options: 'aisfx#pool=mean+std', 'hub:facebook/dinov2-base#layer=-2,pool=mean' --------------------------

Options = TypeVar("Options")
_READERS = {"int": int, "float": float, "str": str}


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """Options shared by the encoders of texts."""

    clean: str = ""
    """captions: texts are cleaned as FuseMix's authors clean captions (`prepare.ReadText`)."""

    def __post_init__(self) -> None:
        if self.clean not in ("", "captions"):
            raise SeehearError(f"clean must be captions, or left out; got {self.clean!r}")

    def for_fingerprint(self) -> dict[str, Any]:
        """All options that change the vectors."""
        # `clean` came later: where it is off, fingerprints must be those from before it.
        return {name: value for name, value in asdict(self).items() if name != "clean" or value}


def split_name(name: str) -> tuple[str, dict[str, str]]:
    """'a#k=v,l=w' -> ('a', {'k': 'v', 'l': 'w'})."""
    base, _, rest = name.partition("#")
    given: dict[str, str] = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals or not value:
            raise SeehearError(f"encoder {name!r}: options are written NAME#key=value,key=value; got {item!r}")
        given[key.strip()] = value.strip()
    return base.strip(), given


def read_options(kind: type[Options], base: str, given: dict[str, str]) -> Options:
    """The options dataclass of an encoder, from text; unknown names and values of the wrong type are refused."""
    # Annotations are text in files with postponed evaluation, as all of ours are.
    types = {f.name: str(f.type) for f in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, text in given.items():
        if key not in types:
            raise unknown(f"option of encoder {base!r}:", key, types)
        try:
            values[key] = _READERS[types[key]](text)
        except ValueError as error:
            raise SeehearError(f"encoder {base!r}: {key} must be {types[key]}; got {text!r}") from error
    return kind(**values)


def full_name(base: str, options: Any) -> str:
    """Canonical name of an encoder: sorted options, without those at their default."""
    values = {f.name: getattr(options, f.name) for f in fields(options)}
    # Defaults are left out: a default that is spelled out makes no other encoder.
    changed = sorted((f.name, values[f.name]) for f in fields(options) if values[f.name] != f.default)
    return (
        base + "#" * bool(changed) + ",".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in changed)
    )


# -- preparation of samples in worker processes: media in, small arrays out --------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ReadFrames:
    """Frames of the window, (T, H, W, 3) uint8; one of a picture. `of`, here and below: the same for decoded media."""

    spec: VideoSpec

    def __call__(self, sample: Sample) -> np.ndarray:
        frames_THWC = read_window(sample.path, sample.start, sample.end, video=self.spec).frames
        assert frames_THWC is not None
        # torch warns of arrays that it may not write to.
        return np.require(frames_THWC, requirements="W")

    @property
    def side(self) -> int:
        """Pixels of a side of square pictures."""
        size = self.spec.crop or self.spec.size
        assert size is not None, "an encoder's pictures have a size"
        return size if isinstance(size, int) else max(size)

    def of(self, frames_THWC: np.ndarray) -> np.ndarray:
        return frames_THWC


@dataclass(frozen=True, kw_only=True)
class ReadWaveform:
    """The window's sound, mono, (S,) float32 in [-1, 1]."""

    rate: int
    at_most: float | None = None
    """Seconds; what comes later is not decoded."""

    def __call__(self, sample: Sample) -> np.ndarray:
        end = sample.end if self.at_most is None else min(sample.end, sample.start + self.at_most)
        waveform_S = read_window(sample.path, sample.start, end, rate=self.rate).waveform
        assert waveform_S is not None
        return waveform_S

    def of(self, waveform_S: np.ndarray) -> np.ndarray:
        return waveform_S


_MARKS = str.maketrans(dict.fromkeys('.!"()*#:;~', " "))
# Words.
_CAPTION = 50


@dataclass(frozen=True)
class ReadText:
    before: str = ""
    """Prefix of every text."""
    after: str = ""
    """Suffix of every text."""
    clean: str = ""
    """captions: lower case, without `. ! " ( ) * # : ; ~`, at most 50 words, as FuseMix's authors encode captions."""

    def __call__(self, sample: Sample) -> str:
        # White space is folded: line breaks of a subtitle change no vector.
        words = (sample.text.lower().translate(_MARKS) if self.clean else sample.text).split()
        text = " ".join(words[:_CAPTION] if self.clean else words)
        if not text:
            raise DecodeError("the text is blank")
        return self.of(text)

    def of(self, text: str) -> str:
        return f"{self.before}{text}{self.after}"
