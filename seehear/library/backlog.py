"""What an encoder has left to do in a library: rows that are missing, once those that are out of date are taken out."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from seehear.encoders.base import Encoder, Sample
from seehear.errors import SeehearError
from seehear.library.current import NO_FRAMES, OTHER_MAKER, why_stale
from seehear.library.records import Clip, Source, content_key, unprintable
from seehear.library.tables import Library, VectorTable, table_name
from seehear.progress import say

Work = TypeVar("Work")
Key = tuple[str, int]
"""Clip id, and which of its texts (0 for video and audio)."""


@dataclass(frozen=True)
class Job:
    """One thing to encode, and all rows that it gives: equal texts, or one picture under several ids, are done once."""

    sample: Sample
    content: str
    keys: list[Key] = field(default_factory=list)


def _wanted_rows(library: Library, modality: str, clips: Sequence[Clip]) -> dict[Key, tuple[Sample, str]]:
    """(clip, item) -> what to read, and the content its vector is to be made from."""
    sources, roots = library.sources(), library.roots()
    paths: dict[str, str] = {}  # of many clips of one file
    wanted = {}
    for clip in clips:
        for item in range(clip.count(modality)):
            if modality == "text":
                sample = Sample(text=clip.texts[item].text)
            else:
                name = clip.source_of(modality)
                if name not in paths:
                    paths[name] = "" if _only_features(sources.get(name)) else str(library.path_of(name, roots))
                sample = Sample(path=paths[name], start=clip.start, end=clip.end)
            wanted[clip.id, item] = sample, content_key(clip, modality, item, sources)
    return wanted


def _only_features(source: Source | None) -> bool:
    """Whether there is no media file behind a source."""
    return source is not None and source.info.get("kind") == "features"


def at_their_place(
    library: Library, jobs: list[Work], path_of: Callable[[Work], str], reject: Callable[[Work, str], None]
) -> list[Work]:
    """Jobs without those of media folders that do not exist: these are rejected, with one line a folder. Raises
    `SeehearError` where one such folder has them all."""
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
    """Made once per run; making it takes the stale rows out and writes the encoder's fingerprint into `about`."""

    def __init__(self, library: Library, encoder: Encoder, clips: Sequence[Clip], chosen: set[str] | None):
        if encoder.modality != "text" and any(map(_only_features, library.sources().values())):
            raise SeehearError(
                f"{library.uri} holds features of videos, and no media: {encoder.name!r} has nothing to encode there; "
                f"encode its texts: seehear encode {library.uri} --encoders minilm"
            )
        self.removed: Counter[str] = Counter()
        """Rows taken out, by the reason."""
        self.table = self._table(library, encoder)
        wanted = _wanted_rows(library, encoder.modality, clips)
        current = self._current(encoder.fingerprint, wanted)
        missing = {key: row for key, row in wanted.items() if key not in current}
        if chosen is not None:
            missing = {key: row for key, row in missing.items() if key[0] in chosen}
        self.kept, self.missing, self.jobs = len(current), len(missing), _jobs(missing)

    def _table(self, library: Library, encoder: Encoder) -> VectorTable:
        """`about` names the encoder as it is now, so readers pass over rows of another version from here on."""
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

    def _current(self, maker: str, wanted: Mapping[Key, tuple[Sample, str]]) -> set[Key]:
        """Clips and texts whose rows are kept, a film's frames with it; all others are taken out."""
        current, stale = set(), []
        for row, made in self.table.keys(NO_FRAMES).items():
            key = row[:2]
            if why := why_stale(made, maker, wanted[key][1] if key in wanted else None):
                self.removed[why] += 1
                stale.append(row)
            else:
                current.add(key)
        self.table.remove_keys(stale)
        return current


def _jobs(missing: dict[Key, tuple[Sample, str]]) -> list[Job]:
    """Rows of equal content from one file (or none: texts) share a job."""
    jobs: dict[tuple[str, str], Job] = {}
    for key, (sample, content) in missing.items():
        jobs.setdefault((content, sample.path), Job(sample, content)).keys.append(key)
    return list(jobs.values())
