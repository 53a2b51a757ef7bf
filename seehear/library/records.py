"""Rows of a library: texts, clips, media files and rejects, and the names that connect them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seehear.errors import require, unknown

if TYPE_CHECKING:
    import pyarrow as pa

TextKind = Literal["subtitle", "caption", "speech", "screen"]
SPLITS = ("train", "val", "test")
# Key of `Source.info`: the file with the same content that gives its clips (`settle_copies`).
COPY_OF = "copy_of"
# Key of `Source.info`: `UNCUT` for a long file with few short clips until its scenes and pauses are found; once it is
# cut, the ids of the short clips, which stay until the others can be found (JSON).
COARSE, UNCUT = "coarse", "yes"
# Key of `Source.info`: time limit in which its scenes and pauses were not found; a higher one tries again.
TIME_UP = "time_up"
# Value in place of a source's split: the user gave the splits of its clips.
GIVEN = "given"
_SPLIT_NAMES = {name: name for name in SPLITS}
# Names that data sets and manifests have for the three.
_SPLIT_NAMES |= {"training": "train", "validation": "val", "valid": "val", "dev": "val"}
# Bytes of file names that are not UTF-8: Python spells them as surrogates, and LanceDB stores valid Unicode only.
_BYTES = {0xDC00 + byte: 0xF700 + byte for byte in range(0x80, 0x100)}
_PRIVATE = {private: surrogate for surrogate, private in _BYTES.items()}


@dataclass(frozen=True)
class Text:
    """A caption, subtitle line or narration; times in seconds of the source, None for a text of the whole clip."""

    text: str
    start: float | None = None
    end: float | None = None
    kind: TextKind | None = None
    """Origin: speech and screen are read by models; by default a subtitle with times, a caption without."""
    by: str = ""
    """Fingerprint of the model and options that read it; empty for the user's own."""
    confidence: float = 1.0
    """Confidence of the model, in [0, 1]; weight of the text in training (`TextWeights`)."""

    def __post_init__(self) -> None:
        if self.kind is None:
            # A frozen class sets a field of its own in this way only.
            object.__setattr__(self, "kind", "caption" if self.start is None else "subtitle")


@dataclass(frozen=True)
class Word:
    """A spoken word and its time in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class TimedLine:
    """A stretch of speech, or a line of text on screen; times in seconds, None in a picture."""

    text: str
    start: float | None = None
    end: float | None = None
    words: tuple[Word, ...] = ()
    confidence: float = 1.0
    """Confidence of the model, in [0, 1]."""
    own: bool = False
    """Corrected by the user; never in the table."""


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Information about a media file or a manifest row besides its content, given by the user."""

    texts: tuple[Text, ...] = ()
    labels: tuple[str, ...] = ()
    group: str = ""
    split: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    id: str = ""

    @property
    def captions(self) -> tuple[Text, ...]:
        """Texts of the whole file."""
        return tuple(text for text in self.texts if text.start is None)

    @property
    def lines(self) -> tuple[Text, ...]:
        """Texts with times: subtitles, narration."""
        return tuple(text for text in self.texts if text.start is not None)


@dataclass(frozen=True, kw_only=True)
class Clip:
    id: str
    """Stable id: the same source and times give the same id in every run (`clip_id`)."""
    source: str = ""
    """Path relative to its media root, after the root's prefix (`Library.roots`); '' for a row of text alone."""
    audio_source: str = ""
    """File of its sound, if that is not `source`."""
    start: float = 0.0
    end: float = 0.0
    """Seconds, of both files if there are two; start = end = 0 for a picture without sound."""
    has_video: bool = False
    has_audio: bool = False
    texts: tuple[Text, ...] = ()
    labels: tuple[str, ...] = ()
    group: str = ""
    """Recording of the clip: all clips of a group are in one split."""
    split: str = "train"
    meta: dict[str, str] = field(default_factory=dict)
    """The user's own columns."""

    @property
    def recording(self) -> str:
        """Name of the recording: all its clips are on one side of a split."""
        return self.group or self.source or self.id

    def has(self, modality: str) -> bool:
        return bool(self.texts) if modality == "text" else bool(getattr(self, f"has_{modality}"))

    def count(self, modality: str) -> int:
        """Number of its vectors in a modality: one a text, one of its video, one of its audio."""
        return len(self.texts) if modality == "text" else int(self.has(modality))

    def source_of(self, modality: str) -> str:
        """File that a modality is read from."""
        return self.audio_source or self.source if modality == "audio" else self.source


@dataclass(frozen=True, kw_only=True)
class Source:
    """A media file when it was read. A change of size or time makes `prepare` read it again."""

    source: str
    size: int
    mtime_ns: int
    fingerprint: str
    """16 hex digits over the size and samples of the content, which latents are checked against."""
    duration: float = 0.0
    info: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reject:
    path: str
    """A media file, or 'manifest.csv:17' for a row."""
    stage: str
    reason: str
    size: int = 0
    """Size and modification time of the file when it was set aside. It is tried again when either differs."""
    mtime_ns: int = 0
    origin: str = ""
    """Folder or manifest of the file or row."""


def learned_texts(clip: Clip) -> tuple[Text, ...]:
    """The texts that models learn from and are measured on."""
    return tuple(text for text in clip.texts if is_learned(text))


def is_learned(text: Text) -> bool:
    """True for a text that models learn from: not for text on screen, which repeats a sign and does not describe the
    picture or sound, and not without confidence."""
    return text.kind != "screen" and text.confidence > 0


def split_name(text: str) -> str:
    """'Validation' -> 'val', '' -> ''. Raises `SeehearError` for an unknown split."""
    name = text.strip().lower()
    if name and name not in _SPLIT_NAMES:
        raise unknown("split", text.strip(), SPLITS)
    return _SPLIT_NAMES.get(name, "")


def clip_id(source: str, start: float | None = None, end: float | None = None) -> str:
    """'talks/a.mp4' for a whole file, 'talks/a.mp4#3.000-8.000' for a part of one."""
    return source if start is None or end is None else f"{source}#{start:.3f}-{end:.3f}"


def bare(source: str) -> str:
    """A source without the './' before an '@' at the start of its path."""
    return source[2:] if source.startswith("./@") else source


def content_key(clip: Clip, modality: str, item: int, sources: Mapping[str, Source]) -> str:
    """16 hex digits over the input of a vector: text `item` of the clip, or the content of its file and the window. A
    file missing in `sources` counts as empty."""
    if modality == "text":
        return digest("text", clip.texts[item].text)
    source = sources.get(clip.source_of(modality))
    return digest(modality, source.fingerprint if source else "", repr(clip.start), repr(clip.end))


def digest(*parts: str) -> str:
    """16 hex digits, the same on every machine."""
    # A separator that texts do not have: ("a", "bc") and ("ab", "c") differ.
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def printable(name: str) -> str:
    """A file name as valid Unicode, the same in every locale: its bytes as UTF-8, invalid ones as private letters."""
    try:
        content = os.fsencode(name)
    except UnicodeEncodeError:
        # Words, not a name, in a locale without their letters.
        content = name.encode("utf-8", "surrogateescape")
    return content.decode("utf-8", "surrogateescape").translate(_BYTES)


def unprintable(source: str) -> str:
    """The file name that `printable` was given, as this locale spells it."""
    return os.fsdecode(source.translate(_PRIVATE).encode("utf-8", "surrogateescape"))


def fingerprint(path: str | Path) -> str:
    """16 hex digits over a file's size and up to 16 samples of 64 KB spread over it (all of a file of 1 MB)."""
    # Samples spread over it: all of a film would take as long as decoding it.
    chunk, chunks = 2**16, 16
    size = os.path.getsize(path)
    hashed = hashlib.blake2b(str(size).encode(), digest_size=8)
    with open(path, "rb") as file:
        for i in range(chunks):
            file.seek(max(0, size - chunk) * i // (chunks - 1) if size > chunk * chunks else i * chunk)
            hashed.update(file.read(chunk))
    return hashed.hexdigest()


# -- rows of LanceDB ---------------------------------------------------------------------------------------------------


def schemas() -> dict[str, pa.Schema]:
    """Columns of the tables of rows, by table."""
    pa = require("pyarrow")
    string, real, integer, boolean = pa.string(), pa.float64(), pa.int64(), pa.bool_()
    text = {"text": string, "start": real, "end": real, "kind": string, "by": string, "confidence": real}
    clip = {"id": string, "source": string, "audio_source": string, "start": real, "end": real, "has_video": boolean}
    clip |= {"has_audio": boolean, "texts": pa.list_(pa.struct(text)), "labels": pa.list_(string)}
    clip |= {"group": string, "split": string, "meta": string}
    source = {"source": string, "size": integer, "mtime_ns": integer, "fingerprint": string, "duration": real}
    reject = {"path": string, "stage": string, "reason": string, "size": integer, "mtime_ns": integer, "origin": string}
    word = {"text": string, "start": real, "end": real}
    line = pa.struct(word | {"words": pa.list_(pa.struct(word)), "confidence": real})
    transcript = dict.fromkeys(("key", "source", "task", "by", "content", "language"), string)
    edit = dict.fromkeys(("key", "what", "source", "content", "clip"), string) | {"start": real, "end": real}
    edit |= {"before": string, "text": string, "shown": string, "undone": boolean, "pending": boolean}
    tables = {"about": {"key": string, "value": string}, "sources": source | {"info": string}, "clips": clip}
    tables |= {"rejects": reject, "transcripts": transcript | {"lines": pa.list_(line), "until": real}, "own": edit}
    return {name: pa.schema(columns) for name, columns in tables.items()}


def row_of_clip(clip: Clip) -> dict[str, Any]:
    # `asdict` copies deeply, which is most of the time that a million rows take.
    row = dict(vars(clip), texts=[vars(text) for text in clip.texts], labels=list(clip.labels))
    return row | {"meta": json.dumps(clip.meta, ensure_ascii=False, sort_keys=True)}


def clip_of_row(row: dict[str, Any]) -> Clip:
    # Rows of an older seehear lack these.
    absent = {"by": "", "confidence": 1.0}
    texts = tuple(
        Text(**(t | {name: value for name, value in absent.items() if t.get(name) is None}))
        for t in row.pop("texts") or ()
    )
    labels = tuple(row.pop("labels") or ())
    return Clip(**(row | {"texts": texts, "labels": labels, "meta": json.loads(row["meta"] or "{}")}))
