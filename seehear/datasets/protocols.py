"""Evaluation protocols by name, a library held against one, and the page of them.

The table is assets/protocols.toml; docs/protocols.md is made from it (`to_markdown`). `check` says where a library that
was imported for a protocol is not what the protocol is about: a number over fewer clips is another number.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seehear.datasets.registry import IMPORTERS
from seehear.errors import unknown
from seehear.library.tables import Library, quote
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
    """By metric, with the direction where there are two: {"text->audio R@1": 43.1}."""
    source: str
    """The paper (arXiv number) or repository that prints it."""
    tag: str
    """How it was seen, one of `TAGS`."""
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
    """Or the classes."""
    metrics: tuple[str, ...]
    split: str = "test"
    """'' for all of the set, where folds decide."""
    clips: tuple[int, ...] = ()
    """Number of clips in the split; several where there are several ways to count, none when that is not fixed."""
    texts: int = 0
    """Captions of the split; 0 when that is not fixed."""
    classes: int = 0
    needs: tuple[str, ...] = ()
    """Modalities that a clip must have to take part."""
    folds: int = 0
    """Official folds or lists over which the numbers are averaged."""
    notes: tuple[str, ...] = ()
    """Reasons why numbers differ that look alike."""
    published: tuple[PublishedNumber, ...] = ()


def _read(name: str, fields: dict[str, Any]) -> Protocol:
    published = tuple(PublishedNumber(**row) for row in fields.pop("published", ()))
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Protocol(name=name, published=published, **plain)


_TABLE = Path(__file__).parent.parent / "assets" / "protocols.toml"
PROTOCOLS = {name: _read(name, fields) for name, fields in tomllib.loads(_TABLE.read_text(encoding="utf-8")).items()}


def protocol(name: str) -> Protocol:
    """By name, in any case: papers write msrvtt-1kA."""
    if name.lower() not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name.lower()]


def protocols_of(importer: str) -> tuple[Protocol, ...]:
    """Those that a set is imported for."""
    return tuple(p for p in PROTOCOLS.values() if p.importer == importer)


# -- a library against a protocol --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ProtocolCheck:
    protocol: str
    clips: int
    """In the protocol's split, as are the counts that follow."""
    texts: int
    classes: int
    lacking: dict[str, int]
    """Modality that the protocol needs -> clips without it."""
    deviations: tuple[str, ...]
    """Where the library is not what published numbers are about; empty when it is."""

    def __str__(self) -> str:
        if not self.deviations:
            return f"{self.protocol}: as published ({counted(self.clips, 'clip')})"
        return f"{self.protocol}: differs from what is published: {'; '.join(self.deviations)}"


def check(wanted: Protocol | str, library: Library | str | Path) -> ProtocolCheck:
    """Count what a library has for a protocol, and say what deviates."""
    wanted = protocol(wanted) if isinstance(wanted, str) else wanted
    library = library if isinstance(library, Library) else Library.open(library)
    clips = texts = 0
    labels: set[str] = set()
    lacking = dict.fromkeys(wanted.needs, 0)
    for batch in _batches(library, wanted.split):
        clips += len(batch)
        texts += sum(len(row["texts"] or ()) for row in batch)
        labels.update(label for row in batch for label in row["labels"] or ())
        for need in wanted.needs:
            lacking[need] += sum(not row["texts" if need == "text" else f"has_{need}"] for row in batch)
    return ProtocolCheck(
        protocol=wanted.name,
        clips=clips,
        texts=texts,
        classes=len(labels),
        lacking=lacking,
        deviations=tuple(_deviations(wanted, clips, texts, len(labels), lacking)),
    )


def _batches(library: Library, split: str) -> Iterator[list[dict[str, Any]]]:
    query = library.table("clips").search()
    if split:
        query = query.where(f"split = {quote(split)}")
    columns = ["texts", "labels", "has_video", "has_audio"]
    for batch in query.select(columns).limit(None).to_batches(8192):
        yield batch.to_pylist()


def _deviations(wanted: Protocol, clips: int, texts: int, classes: int, lacking: dict[str, int]) -> Iterator[str]:
    if wanted.clips and clips not in wanted.clips:
        yield f"{clips:,} clips, expected {' or '.join(f'{count:,}' for count in wanted.clips)}"
    if wanted.texts and texts != wanted.texts:
        yield f"{texts:,} captions, expected {wanted.texts:,}"
    if wanted.classes and classes != wanted.classes:
        yield f"{counted(classes, 'class')}, expected {wanted.classes:,}"
    for modality, count in lacking.items():
        if count:
            yield f"{counted(count, 'clip')} without {modality}"


# -- the page ----------------------------------------------------------------------------------------------------------


def to_markdown() -> str:
    """docs/protocols.md"""
    lines = [
        "# Protocols and data sets",
        "",
        "Made from `seehear/assets/protocols.toml` by `python tools/make_protocols_page.py`.",
        "",
        "Numbers below are published ones, in per cent, none of them measured by seehear. How each was seen:",
        "",
        *(f"- **{tag}**: {meaning}" for tag, meaning in TAGS.items()),
        "",
        "`seehear import NAME --root DIR --library LIB` reads a set's own files and looks for its media below DIR. It",
        "downloads nothing, and says what is missing. A picture is a video of one frame: reports call it so.",
    ]
    for wanted in PROTOCOLS.values():
        lines += ["", *_section(wanted)]
    lines += ["", "## What import looks for", ""]
    lines += ["| set | files, in DIR or its usual folders | media, at any depth |", "|---|---|---|"]
    lines += [f"| `{i.name}`: {i.title} | {'; '.join(i.annotations)} | {i.media} |" for i in IMPORTERS.values()]
    return "\n".join(lines) + "\n"


def _section(wanted: Protocol) -> Iterator[str]:
    yield f"## {wanted.title}"
    yield ""
    yield f"`{wanted.name}`, imported as `{wanted.importer}`. Queries: {wanted.queries}. Against: {wanted.gallery}."
    which = f"Split: {wanted.split}." if wanted.split else f"Mean over {wanted.folds} official folds or lists."
    yield f"Metrics: {', '.join(wanted.metrics)}. {which}"
    yield ""
    yield from (f"- {note}" for note in wanted.notes)
    if wanted.published:
        yield ""
        yield from _table(wanted.published)


def _table(published: tuple[PublishedNumber, ...]) -> Iterator[str]:
    metrics = dict.fromkeys(metric for row in published for metric in row.values)
    directions = list(dict.fromkeys(metric.split(" ")[0] for metric in metrics))
    columns = sorted(metrics, key=lambda metric: directions.index(metric.split(" ")[0]))
    yield f"| method | {' | '.join(columns)} | source | seen in | |"
    yield f"|---|{'---|' * (len(columns) + 3)}"
    for row in published:
        cells = [_cell(row.values[column]) if column in row.values else "" for column in columns]
        link = f"[{row.source}](https://{'' if '/' in row.source else 'arxiv.org/abs/'}{row.source})"
        yield f"| {row.method} | {' | '.join(cells)} | {link} | {row.tag} | {row.note} |"


def _cell(value: float) -> str:
    """One digit after the point, as papers have; d' has three."""
    return f"{value:.1f}" if round(value, 1) == value else f"{value:g}"
