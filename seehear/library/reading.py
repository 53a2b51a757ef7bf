"""Clips of one media file: the work of a worker process of `prepare`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import Any, TypeVar

from seehear.errors import DecodeError, SeehearError
from seehear.library.clips import (
    COARSE_FROM,
    PrepareOptions,
    coarse_windows,
    cut,
    divided,
    fixed_windows,
    placed,
    scene_windows,
)
from seehear.library.manifest import ManifestRow
from seehear.library.records import (
    COARSE,
    GIVEN,
    TIME_UP,
    UNCUT,
    Annotations,
    Clip,
    Reject,
    Source,
    clip_id,
    fingerprint,
    printable,
)
from seehear.library.scan import MediaFile
from seehear.library.subtitles import read_captions, read_embedded, read_json, read_subtitles
from seehear.media.files import MediaInfo, SubtitleStream, probe
from seehear.media.scenes import STEP, TimeUp, find_cuts, loudness

T = TypeVar("T")
_ROWS = " (rows "
# Seconds by which a part cut out of a recording may be too long: cuts fall on key frames.
_LONGER = 1.0


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A media file with all data that its clips depend on; read as a whole."""

    file: MediaFile
    origin: str
    """Folder or manifest that the file comes from."""
    recipe: str
    """Digest of the options, the text files beside it and its rows: another recipe gives other clips."""
    rows: tuple[ManifestRow, ...] = ()
    """Rows of a manifest; empty for a file of a folder."""
    sounds: tuple[MediaFile, ...] = ()
    """Second files, for the sound of rows."""
    known: tuple[tuple[str, str], ...] = ()
    """(source, fingerprint) in the library, for an unchanged recipe: with equal contents nothing is read."""
    coarse: bool = False
    """Give a long file a few short clips; its scenes and pauses are left for later."""

    @property
    def files(self) -> tuple[MediaFile, ...]:
        return (self.file, *self.sounds)


@dataclass(frozen=True, kw_only=True)
class ReadResult:
    """Result of reading a unit."""

    unit: Unit
    sources: tuple[Source, ...] = ()
    clips: tuple[Clip, ...] = ()
    rejects: tuple[Reject, ...] = ()
    same: bool = False
    """Only the file's time changed: the clips in the library are current."""


def read_unit(unit: Unit, *, options: PrepareOptions) -> ReadResult:
    """Clips of a unit, or the reason for which it gives none; called in worker processes."""
    try:
        # Far cheaper than opening it: a file that was only touched is not decoded.
        prints = {file.source: fingerprint(file.path) for file in unit.files}
        if unit.known and dict(unit.known) == prints:
            return ReadResult(unit=unit, same=True, sources=tuple(_seen(file, prints) for file in unit.files))
        info = probe(unit.file.path)
    except (DecodeError, OSError) as error:
        return ReadResult(unit=unit, rejects=(refused(unit, "probe", _why(error, unit.file)),))
    cutter = _Cutter(unit, info, options)
    clips = cutter.clips()
    if not clips:
        reason = "none of its rows can be used" if unit.rows else "it has no subtitles"
        return ReadResult(unit=unit, rejects=(*cutter.rejects, refused(unit, "clips", f"gives no clip: {reason}")))
    # Splits that the user gave stay as they are.
    note = {"split": GIVEN} if cutter.given else {}
    note |= {COARSE: UNCUT} if cutter.coarse else {}
    note |= {TIME_UP: repr(options.time_limit)} if cutter.time_up else {}
    sources = [_source(unit.file, prints, info, unit, cutter.rejects, note)]
    heard = ((file, cutter.heard.get(file.source)) for file in unit.sounds)
    sources += [_source(file, prints, sound, unit) for file, sound in heard if sound is not None]
    return ReadResult(unit=unit, sources=tuple(sources), clips=tuple(clips), rejects=tuple(cutter.rejects))


class _Cutter:
    """Reads the texts of a file, and cuts it. Unusable rows and texts are collected in `rejects`."""

    def __init__(self, unit: Unit, info: MediaInfo, options: PrepareOptions):
        self.unit, self.info, self.options = unit, info, options
        self.rejects: list[Reject] = []
        self.heard: dict[str, MediaInfo] = {}
        # True once scenes and pauses were left for later.
        self.coarse = False
        # True once the search for them ran out of time.
        self.time_up = False

    @property
    def given(self) -> bool:
        """True if the user gave a split for clips of the file."""
        # Rows with texts of their own do without the texts beside the file, which are then not read.
        read: Annotations | None = vars(self).get("annotations")
        return any(row.split for row in self.unit.rows) or bool(read and read.split)

    def clips(self) -> list[Clip]:
        if not self.unit.rows:
            return cut(self._whole("", sound_only=False), self.annotations, self.options, self._scenes)
        for file in self.unit.sounds:
            try:
                info = probe(file.path)
                if not info.has_audio:
                    raise DecodeError("there is no sound in it")
                self.heard[file.source] = info
            except (DecodeError, OSError) as error:
                self.rejects.append(replace(_refused(file, "probe", _why(error, file)), origin=self.unit.origin))
        clips: dict[str, Clip] = {}
        for row in self.unit.rows:
            try:
                for clip in self._of_row(row):
                    clips[clip.id] = _joined(clips[clip.id], clip) if clip.id in clips else clip
            except SeehearError as error:
                self._set_aside(row.place(self.unit.origin), "clips", str(error))
        return list(clips.values())

    def _whole(self, audio_source: str, *, sound_only: bool) -> Clip:
        """The whole file, with its own sound or that of a second file. A picture lasts as long as its sound."""
        sound = self.heard.get(audio_source)
        if sound_only and not self.info.has_audio:
            raise SeehearError("names a file for its sound, and there is no sound in it")
        return Clip(
            id="",
            source=self.unit.file.source,
            audio_source=audio_source if sound else "",
            end=sound.duration if sound and self.info.is_picture else self.info.duration,
            has_video=self.info.has_video and not sound_only,
            has_audio=self.info.has_audio or sound is not None,
        )

    def _of_row(self, row: ManifestRow) -> list[Clip]:
        whole = self._whole(row.audio_source, sound_only=row.sound_only)
        # A clip of two files is named by both.
        name = row.id or "+".join(file for file in (whole.source, whole.audio_source) if file)
        if whole.end and (row.start is not None or row.end is not None):
            start, end = row.start or 0.0, whole.end if row.end is None else row.end
            is_part = row.cut_out and whole.end <= end - start + _LONGER
            start, end = (0.0, whole.end) if is_part else (start, min(end, whole.end))
            if start >= end:
                raise SeehearError(f"starts at {start:g} s, and the file ends at {whole.end:g} s")
            clip = replace(whole, id=row.id or clip_id(name, start, end), start=start, end=end)
            clip = replace(clip, texts=row.texts, labels=row.labels, meta=row.meta)
            return [placed(clip, row.group, row.split, self.options)]
        given = Annotations(
            texts=row.texts or self.annotations.texts,
            labels=row.labels,
            group=row.group,
            split=row.split,
            meta=row.meta,
            id=name,
        )
        # A caption is of the whole file, however long that is, unless the user asks for pieces.
        whole_only = self.options.clips == "auto" and bool(row.texts) and not given.lines
        return cut(whole, given, replace(self.options, clips="whole") if whole_only else self.options, self._scenes)

    def _scenes(self, whole: Clip) -> list[tuple[float, float]]:
        """Windows between cuts and pauses; fixed ones where the search takes too long."""
        if self.unit.coarse and whole.end >= COARSE_FROM:
            self.coarse = True
            return coarse_windows(whole.end)
        paths = {file.source: file.path for file in self.unit.files}
        limit = self.options.time_limit
        try:
            # The search may take half of the time limit, and pauses a quarter: the file itself has to be read, too.
            film = whole.has_video and not self.info.is_picture
            cuts = find_cuts(paths[whole.source], whole.end, seconds=limit / 2) if film else []
            windows = scene_windows(whole.end, cuts, self.options)
            longest = max(end - start for start, end in windows)
            levels: Sequence[int] = ()
            if whole.has_audio and longest > self.options.seconds:
                heard = paths[whole.source_of("audio")]
                levels = loudness(heard, whole.end, seconds=limit / 4).tolist()
            return divided(windows, levels, STEP, self.options)
        except (DecodeError, OSError) as error:
            # Noted in the source, so that a higher limit tries again.
            self.time_up = isinstance(error, TimeUp)
            reason = f"is cut every {self.options.seconds:g} s: {_why(error, self.unit.file)}"
            self._set_aside(f"{whole.source}#scenes", "scenes", reason)
            return fixed_windows(whole.end, self.options)

    @cached_property
    def annotations(self) -> Annotations:
        """Contents of the text files beside the media file, and of the text streams inside it."""
        sidecars = self.unit.file.sidecars
        facts = self._try(sidecars.facts, read_json) or Annotations()
        captions = self._try(sidecars.captions, read_captions) or []
        lines = self._try(sidecars.subtitles, read_subtitles) or []
        if not sidecars.subtitles and self.info.subtitles:
            stream = min(self.info.subtitles, key=lambda s: _rank(s, self.options.language))
            lines = self._try(self.unit.file.path, partial(read_embedded, index=stream.index)) or []
        # Such lines are of another edition: the times of all others are in doubt.
        late = [line for line in lines if self.info.duration and (line.start or 0.0) >= self.info.duration]
        if late:
            many = f"{len(late)} of {len(lines)} lines come after the end of the file at {self.info.duration:.1f} s"
            self._set_aside(self._name(sidecars.subtitles or self.unit.file.path), "subtitles", many)
        return replace(facts, texts=(*facts.texts, *captions, *lines))

    def _try(self, path: str, read: Callable[[str], T]) -> T | None:
        if not path:
            return None
        try:
            return read(path)
        except SeehearError as error:
            self._set_aside(self._name(path), "subtitles", printable(str(error).removeprefix(f"{path}: ")))
            return None

    def _name(self, path: str) -> str:
        """Library name of a text file; '#text' for a text stream, as the media file itself is not set aside."""
        if path == self.unit.file.path:
            return f"{self.unit.file.source}#text"
        return (PurePosixPath(self.unit.file.source).parent / printable(os.path.basename(path))).as_posix()

    def _set_aside(self, path: str, stage: str, reason: str) -> None:
        self.rejects.append(Reject(path=path, stage=stage, reason=reason, origin=self.unit.origin))


def _joined(one: Clip, other: Clip) -> Clip:
    """Two rows of the same clip as one: several captions of a picture."""
    if (one.start, one.end, one.audio_source) != (other.start, other.end, other.audio_source):
        raise SeehearError(f"has the id {one.id!r} of another part of the same file")
    return replace(
        one,
        has_video=one.has_video or other.has_video,
        texts=tuple(dict.fromkeys(one.texts + other.texts)),
        labels=tuple(dict.fromkeys(one.labels + other.labels)),
        meta=other.meta | one.meta,
    )


def _rank(stream: SubtitleStream, language: str) -> int:
    """Order of text streams, the language asked for first: libav writes three letters where a user writes two."""
    return 0 if language and stream.language[:2].lower() == language[:2].lower() else 1


def refused(unit: Unit, stage: str, reason: str) -> Reject:
    """Reject of the unit's file, with the rows that are lost with it."""
    if unit.rows:
        places = [row.place("") if row.table else str(row.line) for row in unit.rows[:5]]
        lines = ", ".join(places) + (", ..." if len(unit.rows) > 5 else "")
        reason = f"{reason.partition(_ROWS)[0]}{_ROWS}{lines})"
    return replace(_refused(unit.file, stage, reason), origin=unit.origin)


def _refused(file: MediaFile, stage: str, reason: str) -> Reject:
    return Reject(path=file.source, stage=stage, reason=reason, size=file.size, mtime_ns=file.mtime_ns)


def _why(error: Exception, file: MediaFile) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror})"
    return printable(str(error).removeprefix(f"{file.path}: "))


def _seen(file: MediaFile, prints: dict[str, str]) -> Source:
    return Source(source=file.source, size=file.size, mtime_ns=file.mtime_ns, fingerprint=prints[file.source])


def _source(
    file: MediaFile,
    prints: dict[str, str],
    info: MediaInfo,
    unit: Unit,
    rejects: Sequence[Reject] = (),
    note: Mapping[str, str] | None = None,
) -> Source:
    kind = "picture" if info.is_picture else "video" if info.has_video else "audio"
    facts: dict[str, Any] = {"kind": kind, "width": info.width, "height": info.height, "rate": info.rate}
    facts |= {"fps": round(info.fps, 3), "rotation": info.rotation, "damage": "; ".join(info.errors)}
    known = {name: str(value) for name, value in facts.items() if value}
    known |= {"origin": unit.origin}
    if file is unit.file:
        set_aside = [[_place(reject, unit), reject.stage, reject.reason] for reject in rejects]
        known |= {"recipe": unit.recipe, "rejects": json.dumps(set_aside, ensure_ascii=False)}
        known |= note or {}
    return replace(_seen(file, prints), duration=info.duration, info=known)


def _place(reject: Reject, unit: Unit) -> int | str:
    """Number of a row in its unit, as its line may move; or the file."""
    lines = {row.place(unit.origin): number for number, row in enumerate(unit.rows)}
    return lines.get(reject.path, reject.path)


def kept_rejects(unit: Unit, source: Source) -> list[Reject]:
    """Rejects from the reading of an unchanged unit, with the current lines of its rows."""
    files = {file.source: file for file in unit.sounds}
    kept = []
    for place, stage, reason in json.loads(source.info.get("rejects", "[]")):
        path = unit.rows[place].place(unit.origin) if isinstance(place, int) else place
        bare = _refused(files[path], stage, reason) if path in files else Reject(path=path, stage=stage, reason=reason)
        kept.append(replace(bare, origin=unit.origin))
    return kept
