"""Evaluation protocols by name, from assets/protocols.toml, and the check of a library.

`check` reports where a library deviates from a protocol: a number over fewer clips is another number.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seehear.errors import unknown
from seehear.library.tables import LibraryTables, quote
from seehear.progress import counted

TAGS = {
    "paper": "read in the source's own text or tables",
    "code": "read in the source's public code, README or logs",
    "secondary": "seen only as quoted by a later paper, a leaderboard or another repository",
    "recalled": "from memory of the source, not checked against it: a hint, not a reference",
}


@dataclass(frozen=True)
class PublishedNumber:
    method: str
    values: dict[str, float]
    """Values by metric, with the direction of retrieval: {"text->audio R@1": 43.1}."""
    source: str
    """Paper (arXiv number) or repository that prints it."""
    tag: str
    """Kind of evidence, one of `TAGS`."""
    note: str = ""

    def __post_init__(self) -> None:
        if self.tag not in TAGS:
            raise ValueError(f"tag must be one of {', '.join(TAGS)}; got {self.tag!r}")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    name: str
    title: str
    importer: str
    """Name of the set in `seehear import`."""
    kind: Literal["retrieval", "classification", "multilabel", "localisation"]
    queries: str
    gallery: str
    """Gallery or classes."""
    metrics: tuple[str, ...]
    split: str = "test"
    """Split; '' for the whole set, with folds."""
    clips: tuple[int, ...] = ()
    """Possible numbers of clips in the split; none if not fixed."""
    texts: int = 0
    """Captions of the split; 0 if not fixed."""
    classes: int = 0
    needs: tuple[str, ...] = ()
    """Modalities that every clip must have."""
    folds: int = 0
    """Official folds or lists over which the numbers are averaged."""
    notes: tuple[str, ...] = ()
    """Reasons why similar numbers are not comparable."""
    published: tuple[PublishedNumber, ...] = ()


def _read(name: str, fields: dict[str, Any]) -> Protocol:
    published = tuple(PublishedNumber(**row) for row in fields.pop("published", ()))
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Protocol(name=name, published=published, **plain)


_TABLE = Path(__file__).parent.parent / "assets" / "protocols.toml"
PROTOCOLS = {name: _read(name, fields) for name, fields in tomllib.loads(_TABLE.read_text(encoding="utf-8")).items()}


def protocol(name: str) -> Protocol:
    """The protocol of a name, in any case: papers write msrvtt-1kA."""
    if name.lower() not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name.lower()]


def protocols_of(importer: str) -> tuple[Protocol, ...]:
    """Protocols of an importer's set."""
    return tuple(p for p in PROTOCOLS.values() if p.importer == importer)


@dataclass(frozen=True, kw_only=True)
class ProtocolCheck:
    protocol: str
    clips: int
    """Clips of the protocol's split; the other counts are of the same split."""
    texts: int
    classes: int
    lacking: dict[str, int]
    """Number of clips without a needed modality, by modality."""
    deviations: tuple[str, ...]
    """Differences to the set of published numbers."""

    def __str__(self) -> str:
        if not self.deviations:
            return f"{self.protocol}: as published ({counted(self.clips, 'clip')})"
        return f"{self.protocol}: differs from what is published: {'; '.join(self.deviations)}"


def check(wanted: Protocol | str, library: LibraryTables | str | Path) -> ProtocolCheck:
    """Counts and deviations of a library under a protocol."""
    wanted = protocol(wanted) if isinstance(wanted, str) else wanted
    library = library if isinstance(library, LibraryTables) else LibraryTables.open(library)
    clips = texts = 0
    labels: set[str] = set()
    lacking = dict.fromkeys(wanted.needs, 0)
    for batch in _batches(library, wanted.split):
        clips += len(batch)
        texts += sum(len(row["texts"] or ()) for row in batch)
        labels.update(label for row in batch for label in row["labels"] or ())
        for need in wanted.needs:
            lacking[need] += sum(not row["texts" if need == "text" else f"has_{need}"] for row in batch)
    deviations = []
    if wanted.clips and clips not in wanted.clips:
        deviations.append(f"{clips:,} clips, expected {' or '.join(f'{count:,}' for count in wanted.clips)}")
    if wanted.texts and texts != wanted.texts:
        deviations.append(f"{texts:,} captions, expected {wanted.texts:,}")
    if wanted.classes and len(labels) != wanted.classes:
        deviations.append(f"{counted(len(labels), 'class')}, expected {wanted.classes:,}")
    deviations += [f"{counted(count, 'clip')} without {modality}" for modality, count in lacking.items() if count]
    return ProtocolCheck(
        protocol=wanted.name,
        clips=clips,
        texts=texts,
        classes=len(labels),
        lacking=lacking,
        deviations=tuple(deviations),
    )


def _batches(library: LibraryTables, split: str) -> Iterator[list[dict[str, Any]]]:
    query = library.table("clips").search()
    if split:
        query = query.where(f"split = {quote(split)}")
    columns = ["texts", "labels", "has_video", "has_audio"]
    # In parts: AudioSet has two million clips.
    for batch in query.select(columns).limit(None).to_batches(8192):
        yield batch.to_pylist()
