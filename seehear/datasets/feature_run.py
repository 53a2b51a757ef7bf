"""Import of feature files: clips, and the features as latents of encoders that were run elsewhere.

Files are read name by name and written in batches: clips, their latents, then the source that marks them as done. A run
that is killed at any moment resumes, and a second run finds nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seehear.datasets.base import Importer, ImportOptions
from seehear.datasets.features import (
    MEL_BANDS,
    STREAMS,
    FeatureFile,
    FeatureIndex,
    Stream,
    VideoFeatures,
    read_features,
)
from seehear.datasets.pickles import PICKLES, PickledFeatures
from seehear.errors import SeehearError
from seehear.library.inputs import GroupedRows
from seehear.library.manifest import ManifestRow
from seehear.library.records import Clip, Reject, Source, content_key, digest
from seehear.library.summary import Tally
from seehear.library.tables import LibraryTables, Vectors, in_batches, quote, table_name
from seehear.progress import Interrupted, progress, stop_requests

Features = FeatureIndex | PickledFeatures
# Whichever is reached first. A kill loses one batch at most.
BATCH_CLIPS, BATCH_BYTES = 4096, 2**26


@dataclass(frozen=True)
class _Video:
    """Source, clips and features of one name."""

    source: Source
    clips: list[Clip]
    features: VideoFeatures


def features_of(wanted: Importer, place: Path, options: ImportOptions, *, skip: str | Path) -> Features:
    """The index of a folder or pickle."""
    if place.suffix.lower() in PICKLES:
        return PickledFeatures(place, wanted, options)
    if not place.is_dir():
        raise SeehearError(f"{place}: there is no such folder")
    return FeatureIndex(place.resolve(), wanted, skip=skip)


class _FeatureUpdate:
    """One set's features brought into the library."""

    def __init__(self, library: LibraryTables, index: Features, grouped: GroupedRows, options: ImportOptions):
        self.library, self.index, self.grouped, self.tally = library, index, grouped, Tally()
        self.wanted = wanted = index.importer
        self.mel_frames = options.mel_frames or wanted.mel_frames
        self.known = library.sources()
        # Widths of earlier runs count, so that a file of another width is set aside, whenever it comes.
        about = library.about()
        keys = {s.encoder: f"encoder:{s.encoder}" for s in STREAMS}
        self.widths = {name: json.loads(about[key])["width"] for name, key in keys.items() if key in about}
        self.batch: list[_Video] = []
        # Size of the batch in bytes, and its number of clips.
        self.held = self.clips = 0
        self.rejects: list[Reject] = [replace(r, origin=wanted.name) for r in grouped.rejects]

    def run(self) -> None:
        """Imports all names; raises `Interrupted` on request, after writing those read so far."""
        seen = set()
        with stop_requests() as stop, progress("reading features", len(self.grouped.sources), "videos") as bar:
            for base, rows in self.grouped:
                name = f"{self.wanted.name}/{base}"
                seen.add(name)
                self._one(name, base, rows)
                bar.advance()
                if stop:
                    self._write()
                    raise Interrupted(f"{stop.name} while reading features: run the same command again to continue")
        self._write()
        self._write_texts()
        deleted = [n for n, s in self.known.items() if s.info.get("origin") == self.wanted.name and n not in seen]
        for some in in_batches(deleted, 256):
            self._remove(set(self.library.clip_ids(some)))
            self.library.remove_sources(some)
        self.tally.gone += len(deleted)
        self._settle_rejects()

    def _one(self, name: str, base: str, rows: list[ManifestRow]) -> None:
        files = self.index.files(base)
        # Line numbers are left out: rows that moved in their table have not changed.
        recipe = digest(
            f"{self.mel_frames}",
            *(repr(replace(row, line=0)) for row in rows),
            *(file.state for file in files.values()),
        )
        before = self.known.get(name)
        if before is not None and before.info.get("recipe") == recipe:
            self.tally.unchanged += 1
            # Said again for unchanged files: at the end, rejects that this run has not named are deleted.
            self._reject_again(before)
            return
        features = read_features(files, rows, self.wanted, self.mel_frames)
        self._check_widths(features, files)
        info = {"origin": self.wanted.name, "recipe": recipe, "kind": "features"}
        if features.bad:
            info["bad"] = json.dumps(features.bad, sort_keys=True)
        # Windows of sound depend on their length as well as on the file.
        content = digest(f"{self.mel_frames}", *(f"{kind}={files[kind].content}" for kind in sorted(files)))
        size = sum(file.size for file in files.values())
        # No time: a source is several files here, whose states are in the recipe.
        source = Source(source=name, size=size, mtime_ns=0, fingerprint=content, duration=features.duration, info=info)
        self._reject_again(source)
        clips = [self._clip(name, row, number, features) for number, row in enumerate(rows)]
        self.tally.changed += before is not None
        self.tally.new += before is None
        self.batch.append(_Video(source, clips, features))
        self.held += sum(v.nbytes for own in features.vectors.values() for v in own if v is not None)
        self.clips += len(clips)
        if self.held >= BATCH_BYTES or self.clips >= BATCH_CLIPS:
            self._write()

    def _clip(self, name: str, row: ManifestRow, number: int, features: VideoFeatures) -> Clip:
        start, end = row.start or 0.0, row.end if row.end is not None else features.duration
        texts = tuple(replace(t, start=start, end=end) if row.end is not None else t for t in row.texts)
        return Clip(
            id=row.id,
            source=name,
            start=start,
            end=end,
            has_video=features.has("video", number),
            has_audio=features.has("audio", number),
            texts=texts,
            labels=row.labels,
            group=row.group or row.source,
            split=row.split,
            meta=row.meta,
        )

    def _check_widths(self, features: VideoFeatures, files: dict[str, FeatureFile]) -> None:
        """Sets files aside whose width differs from the first of their kind."""
        for stream in STREAMS:
            width = next((len(v) for v in features.vectors.get(stream.encoder, ()) if v is not None), None)
            if width is None:
                continue
            if stream.mel and self.widths.get(stream.encoder, width) != width:
                # `mel_frames` has changed: the old windows are deleted, and all are made again.
                if table_name("latents", stream.encoder) in self.library.tables():
                    self.library.drop(table_name("latents", stream.encoder))
                del self.widths[stream.encoder]
            if self.widths.setdefault(stream.encoder, width) != width:
                path = files[stream.suffix].name
                features.bad[path] = f"{path}: has {width} columns, the others {self.widths[stream.encoder]}"
                del features.vectors[stream.encoder]

    def _write(self) -> None:
        batch, self.batch, self.held, self.clips = self.batch, [], 0, 0
        if not batch:
            return
        clips = [clip for video in batch for clip in video.clips]
        stored, ids = set(self.library.clip_ids([v.source.source for v in batch])), {clip.id for clip in clips}
        self._remove(stored - ids)
        # A killed run may have written latents without the source: those of rewritten clips are deleted first.
        tables = self.library.tables() if stored & ids else []
        for stream in STREAMS:
            if table_name("latents", stream.encoder) in tables:
                for some in in_batches(sorted(stored & ids), 1000):
                    where = f"id IN ({', '.join(map(quote, some))})"
                    self.library.vectors("latents", stream.encoder).remove(where)
        self.library.put_clips(clips)
        for stream in STREAMS:
            self._write_latents(stream, batch)
        # Last: a source marks its clips and latents as complete.
        self.library.put_sources([video.source for video in batch])

    def _write_latents(self, stream: Stream, batch: Sequence[_Video]) -> None:
        rows = [
            (clip.id, content_key(clip, stream.modality, 0, {video.source.source: video.source}), vector)
            for video in batch
            # Not strict: a video without this kind of features has no list of vectors at all.
            for clip, vector in zip(video.clips, video.features.vectors.get(stream.encoder, ()), strict=False)
            if vector is not None
        ]
        if not rows:
            return
        ids, contents, vectors = zip(*rows, strict=True)
        self._about(stream, len(vectors[0]))
        self.library.vectors("latents", stream.encoder, width=len(vectors[0])).append(
            Vectors(
                ids=list(ids),
                items=np.zeros(len(ids), dtype=np.int32),
                modalities=[stream.modality] * len(ids),
                vectors=np.stack(vectors),
                makers=[stream.fingerprint] * len(ids),
                contents=list(contents),
            )
        )

    def _about(self, stream: Stream, width: int) -> None:
        about = {"modality": stream.modality, "width": width, "fingerprint": stream.fingerprint, "external": True}
        if stream.mel:
            about["shape"] = [MEL_BANDS, self.mel_frames]
        key, said = f"encoder:{stream.encoder}", json.dumps(about, sort_keys=True)
        # A write is a version of the table, whether or not it changes anything.
        if self.library.about().get(key) != said:
            self.library.set_about(key, said)

    def _remove(self, ids: set[str]) -> None:
        self.library.remove_clips(ids)
        self.tally.removed_clips += len(ids)

    def _write_texts(self) -> None:
        """Writes texts without media: the steps of a task."""
        clips = [
            Clip(id=row.id, texts=row.texts, labels=row.labels, group=row.group, split=row.split, meta=row.meta)
            for row in self.grouped.texts()
        ]
        before = {id for id in self.library.clip_ids([""]) if id.startswith(f"{self.wanted.name}/")}
        for some in in_batches(clips, BATCH_CLIPS):
            self.library.put_clips(some)
        self._remove(before - {clip.id for clip in clips})

    def _reject_again(self, source: Source) -> None:
        for path, reason in json.loads(source.info.get("bad", "{}")).items():
            self.rejects.append(Reject(path=path, stage="import", reason=reason, origin=self.wanted.name))

    def _settle_rejects(self) -> None:
        now = {reject.path: reject for reject in self.rejects}
        old = {r.path: r for r in self.library.rejects() if r.origin == self.wanted.name}
        self.library.remove_rejects(path for path in old if path not in now)
        # Unchanged ones are not written: a write is a version of the table.
        self.library.put_rejects([r for path, r in now.items() if old.get(path) != r])


def update_features(library: LibraryTables, index: Features, grouped: GroupedRows, options: ImportOptions) -> Tally:
    """Brings a library up to date with a set's features. Raises `SeehearError` for a library of media: media and
    features of a set are different clips with equal ids."""
    for source in library.sources().values():
        if source.info.get("kind") != "features":
            name = index.importer.name
            raise SeehearError(f"{library.uri} holds media: import the features of {name} into another library")
    update = _FeatureUpdate(library, index, grouped, options)
    update.run()
    return update.tally
