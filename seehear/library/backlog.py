"""Work that an encoder has left in a library: missing rows, after stale ones are removed."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

from seehear.encoders.base import Encoder, Sample
from seehear.errors import DecodeError, SeehearError, refusal
from seehear.library.current import NO_FRAMES, OTHER_MAKER, why_stale
from seehear.library.records import Clip, Source, content_key, unprintable
from seehear.library.tables import LibraryTables, VectorTable, table_name
from seehear.library.workers import WorkerDied
from seehear.progress import say

Work = TypeVar("Work")
Key = tuple[str, int]
"""(clip id, number of its text; 0 for video and audio)."""


@dataclass(frozen=True)
class Job:
    """A sample to encode, with all rows that it gives: equal texts or equal windows are encoded once."""

    sample: Sample
    content: str
    keys: list[Key] = field(default_factory=list)


def set_aside_reason(error: Exception, path: str = "") -> str:
    """Reason for which an item is set aside. Raises the error if the machine, and not the item, is at fault."""
    if isinstance(error, DecodeError):
        return str(error).removeprefix(f"{path}: ")
    if isinstance(error, WorkerDied):
        return f"reading it {error}"
    if isinstance(error, SeehearError | ImportError):
        raise error
    return refusal(error) or f"{type(error).__name__}: {error}"


def _has_no_media(source: Source | None) -> bool:
    return source is not None and source.info.get("kind") == "features"


def at_their_place(
    library: LibraryTables, jobs: list[Work], path_of: Callable[[Work], str], reject: Callable[[Work, str], None]
) -> list[Work]:
    """Jobs whose media folder exists; the others are rejected, with one message a folder. Raises `SeehearError` if one
    missing folder has them all."""
    left = jobs
    for folder in map(unprintable, library.roots().values()):
        lost = [] if os.path.isdir(folder) else [job for job in left if path_of(job).startswith(folder + os.sep)]
        if not lost:
            continue
        message = (
            f"the media folder {folder} no longer exists: put it back, or prepare it where it is now (seehear "
            f"prepare FOLDER --library {library.uri})"
        )
        if len(lost) == len(jobs):
            raise SeehearError(message)
        say(message)
        for job in lost:
            reject(job, f"its media folder {folder} no longer exists")
        left = [job for job in left if not path_of(job).startswith(folder + os.sep)]
    return left


class Backlog:
    """Rows that an encoder has to make. Its creation removes stale rows and writes the encoder to `about`."""

    def __init__(self, library: LibraryTables, encoder: Encoder, clips: Sequence[Clip], chosen: set[str] | None):
        sources = library.sources()
        if encoder.modality != "text" and any(map(_has_no_media, sources.values())):
            raise SeehearError(
                f"{library.uri} holds features of videos, and no media: {encoder.name!r} has nothing to encode there; "
                f"encode its texts: seehear encode {library.uri} --encoders minilm"
            )
        self.removed: Counter[str] = Counter()
        """Removed rows by reason."""
        self.table = self._table(library, encoder)
        roots = library.roots()
        paths = cache(lambda name: "" if _has_no_media(sources.get(name)) else str(library.path_of(name, roots)))
        wanted: dict[Key, tuple[Sample, str]] = {}
        for clip in clips:
            for item in range(clip.count(encoder.modality)):
                if encoder.modality == "text":
                    sample = Sample(text=clip.texts[item].text)
                else:
                    path = paths(clip.source_of(encoder.modality))
                    sample = Sample(path=path, start=clip.start, end=clip.end)
                wanted[clip.id, item] = sample, content_key(clip, encoder.modality, item, sources)
        current, stale = set(), []
        for row, made in self.table.keys(NO_FRAMES).items():
            key = row[:2]  # frames of a film are kept and removed with it
            if why := why_stale(made, encoder.fingerprint, wanted[key][1] if key in wanted else None):
                self.removed[why] += 1
                stale.append(row)
            else:
                current.add(key)
        self.table.remove_keys(stale)
        jobs: dict[tuple[str, str], Job] = {}
        for key, (sample, content) in wanted.items():
            if key not in current and (chosen is None or key[0] in chosen):
                jobs.setdefault((content, sample.path), Job(sample, content)).keys.append(key)
        self.jobs = list(jobs.values())
        self.kept, self.missing = len(current), sum(len(job.keys) for job in self.jobs)

    def _table(self, library: LibraryTables, encoder: Encoder) -> VectorTable:
        """The encoder's table. `about` names its present version, so that readers skip rows of others from here on."""
        about = {"modality": encoder.modality, "width": encoder.width, "fingerprint": encoder.fingerprint}
        about |= {"shape": encoder.shape} if encoder.shape else {}
        about |= {"of_run": True, "model": encoder.model} if encoder.of_run else {}
        about |= {"source": encoder.source.name} if encoder.source else {}
        library.set_about(f"encoder:{encoder.name}", json.dumps(about, sort_keys=True))
        name = table_name("latents", encoder.name)
        if name in library.tables():
            table = library.vectors("latents", encoder.name)
            if table.width == encoder.width:
                return table
            self.removed[OTHER_MAKER] += len(table)
            library.drop(name)
        return library.vectors("latents", encoder.name, width=encoder.width)
