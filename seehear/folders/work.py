"""The work on a folder of `find` and `open`: in parts and breadth first, so that searchable clips cover the folder
early. The next part follows from the folder and its library alone: interrupted work continues where it was, and new,
changed and deleted files are handled by the next part.

    look     new and changed files into the library, with a few short clips of long ones
    encode   clips in no index, spread over the files
    cut      scenes and pauses of long files, a few files at a time
    settle   rows of all encoders brought up to date
    read     speech, then text on screen, some recordings at a time
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from seehear.encoders import Encoder
from seehear.encoders.registry import preset_encoders, strongest_at_hand
from seehear.errors import SeehearError, refusal
from seehear.folders.indexes import Spaces, index_frozen, index_learned
from seehear.folders.standing import Pace, Standing, State
from seehear.library.encode import encode_library, load_all, modalities_of
from seehear.library.prepare import PrepareOptions, Share, prepare_share
from seehear.library.recordings import Portion
from seehear.library.records import COARSE, UNCUT, digest
from seehear.library.scan import Folder, MediaFile
from seehear.library.tables import Clip, LibraryTables, Source
from seehear.library.transcripts import main_language, unread
from seehear.library.vectors import one_of
from seehear.progress import Interrupted, StatusLine, counted, overheard
from seehear.search.index import indexed_clips, versions

# Least number of clips of a part of looking, and of cutting.
REGISTERED, CUT = 1024, 16
# Clips of the first and of the largest part of encoding; parts double in size.
ENCODED = (16, 128)
# Media of a part of reading, seconds: starting the processes and loading their models takes seconds.
READ_SECONDS = 3600.0
# Pause between two indexings, as a multiple of the time of the last one: indexing reads all vectors.
_PAUSE = 4.0
# Seconds until a retry after an error.
_AGAIN = 10.0
# Seconds until a folder without reported changes is scanned: not every file system reports changes.
_LOOK_AGAIN = 600.0
_READERS: tuple[tuple[Literal["speech", "screen"], str, str, str, str], ...] = (
    ("speech", "has_audio", "faster_whisper", "asr", "what is spoken"),
    ("screen", "has_video", "rapidocr", "ocr", "what is written on screen"),
)


class Work:
    """One folder and its library. `rest_seconds`: time without changes after which a file counts as complete."""

    def __init__(
        self, folder: str | Path, uri: str, *, preset: str = "", device: str = "auto", rest_seconds: float = 0.0
    ):
        self.folder, self.uri, self.preset, self.device = Path(folder), uri, preset, device
        self.rest_seconds = rest_seconds
        # Set by whoever sees the folder change: it is to be looked through.
        self.changed = threading.Event()
        self.changed.set()
        self._restless = False
        # Files that were not complete: size and time, and since when they have been so.
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}
        self._looked, self._uncut = False, True
        # Clips that were given to the encoders, each with the content of its file.
        self._tried: set[tuple[str, str]] = set()
        self._settled: list[int] = []
        self._part = ENCODED[0]
        self._towers: dict[str, list[Encoder]] = {}
        self._spaces: Spaces = {}
        self._due, self._indexed_at, self._index_took, self._found = False, 0.0, 0.0, 0
        self._portions = {kind: Portion(seconds=READ_SECONDS) for kind, *_ in _READERS}
        self._pace, self._standing, self._line = Pace(), Standing(), StatusLine(lambda: str(self.standing()))
        self._noted: set[str] = set()

    def step(self) -> bool:
        """Does the next part; returns False when all is done."""
        library = self._library()
        # After registering files, some are encoded first: in a large folder, the first can be found early.
        first = (self._encode, self._look) if self._looked else (self._look, self._encode)
        for part in (*first, self._cut, self._settle, self._read):
            if part(library):
                self._looked = part == self._look
                return True
            if part == self._look:
                # It may have applied edits, or settled splits.
                library = self._library()
        if self._due:
            self.index(learned=True)
            return True
        if self._standing.state == "working":
            library = self._library()
            self._found = len(indexed_clips(library)) if library else 0
            aside = len(library.rejects()) if library else 0
            note = f"{counted(aside, 'file')} set aside: seehear info {self.uri} --rejects"
            self._stand("ready", note=note if aside else "")
        return False

    def follow(self) -> None:
        """Works, and continues whenever the folder changes, until interrupted. Errors are reported and retried: the
        page stays."""
        while True:
            try:
                if self.step():
                    continue
                seconds = self.rest_seconds if self._restless else _LOOK_AGAIN
            except Interrupted:
                raise
            except Exception as error:
                if not isinstance(error, SeehearError) and refusal(error) is None:
                    raise
                self._stand("waiting", note=str(error) if isinstance(error, SeehearError) else str(refusal(error)))
                self._note(self._standing.note)
                seconds = _AGAIN
            self.changed.wait(seconds)
            self.changed.set()

    def _look(self, library: LibraryTables | None) -> bool:
        if not self.changed.is_set():
            return False
        self.changed.clear()
        self._restless = False
        if next(iter(Folder(self.folder, language="", skip=self.uri)), None) is None:
            # Nothing is deleted from the library: an unmounted drive looks like an empty folder.
            what = "has no video, sound or picture yet" if self.folder.is_dir() else "is not there"
            self._stand("waiting", note=f"{self.folder} {what}: waiting for files")
            return False
        # A scan without changes is not worth a line.
        if self._standing.state != "ready":
            self._stand("working", "looking through the folder")
        share = Share(coarse=True, clips=REGISTERED, rests=self._rests)
        tally = prepare_share(self.folder, self.uri, PrepareOptions(), share)
        # Clips indexed by an earlier call are searchable from the start.
        if library and not self._found:
            self._found = len(indexed_clips(library))
        if tally.written:
            self._stand("working", "looking through the folder")
        if tally.left:
            self.changed.set()
        self._uncut |= tally.written
        self._due |= tally.written
        return tally.written

    def _rests(self, file: MediaFile) -> bool:
        """True if a file is complete, by its time, or by observation if the clock of its disk is ahead."""
        if self.rest_seconds <= time.time() - file.mtime_ns / 1e9:
            return True
        state, now = (file.size, file.mtime_ns), time.monotonic()
        if self._seen.get(file.path, (None,))[0] != state:
            self._seen[file.path] = state, now
        rests = now - self._seen[file.path][1] >= self.rest_seconds
        self._restless |= not rests
        return rests

    def _encode(self, library: LibraryTables | None) -> bool:
        """Encodes some of the clips in no index that were not tried."""
        if library is None:
            return False
        indexed, sources = indexed_clips(library), library.sources()
        files: dict[str, list[Clip]] = {}
        for clip in library.clips():
            if clip.id not in indexed and _content(clip, sources) not in self._tried:
                files.setdefault(clip.source or clip.id, []).append(clip)
        # In rounds with one clip of each file; by a hash of the name, so that the first clips are from all over the
        # folder, and always the same ones.
        ranked = [
            (rank, digest(file), clip)
            for file, own in files.items()
            for rank, clip in enumerate(spread(sorted(own, key=lambda clip: clip.start)))
        ]
        left = [clip for _, _, clip in sorted(ranked, key=lambda row: row[:2])]
        if not left:
            return False
        # Parts double: the first clips can be found early, and later ones need fewer indexings.
        some, self._part = left[: self._part], min(2 * self._part, ENCODED[1])
        self._expect(library, sum(map(_seconds, left)))
        self._stand("working", "looking and listening")
        began = time.monotonic()
        encoders = self._encoders(library)
        encode_library(library, encoders, device=self.device, where=one_of("id", [clip.id for clip in some]))
        self._pace.add("encode", time.monotonic() - began, sum(map(_seconds, some)))
        self._tried |= {_content(clip, sources) for clip in some}
        self._due = True
        self._index_now_and_then()
        return True

    def _encoders(self, library: LibraryTables) -> list[Encoder]:
        """Encoders of the preset, loaded once."""
        modalities = modalities_of(library.clips())
        preset = self.preset or library.about().get("preset", "") or strongest_at_hand(modalities)
        language = main_language(library)
        key = " ".join((preset, language, *modalities))
        if key not in self._towers:
            names = [encoder.name for encoder in preset_encoders(preset, modalities, language)]
            self._towers = {key: load_all(names, modalities, self.device)}
        # Noted after loading: a preset without models must not be tried at every start.
        library.set_about("preset", preset)
        return self._towers[key]

    def _cut(self, library: LibraryTables | None) -> bool:
        if library is None or not self._uncut:
            return False
        before = self._expect(library)
        self._stand("working", "finding scenes")
        began = time.monotonic()
        share = Share(coarse=False, clips=CUT, rests=self._rests, indexed=not self._due)
        tally = prepare_share(self.folder, self.uri, PrepareOptions(), share)
        self._pace.add("cut", time.monotonic() - began, max(0.0, before - self._expect(LibraryTables.open(self.uri))))
        self._uncut = bool(tally.left or tally.coarse)
        self._due |= tally.written
        return tally.written or tally.removed_clips > 0

    def _settle(self, library: LibraryTables | None) -> bool:
        """Brings rows of clips with a changed text or file up to date, which encoding does not cover."""
        if library is None or not library.count_clips() or versions(library) == self._settled:
            return False
        self._expect(library)
        self._stand("working", "bringing texts and changed files up to date")
        self._settled = versions(library)
        encode_library(library, self._encoders(library), device=self.device)
        self._due = True
        self._index_now_and_then()
        return True

    def _read(self, library: LibraryTables | None) -> bool:
        """Reads some speech or text on screen, with the installed packages."""
        from seehear.library.ocr import ocr
        from seehear.library.transcribe import transcribe

        for kind, where, package, extra, what in _READERS if library else ():
            assert library is not None
            portion = self._portions[kind]
            if not library.table("clips").count_rows(where):
                continue
            if find_spec(package) is None:
                self._note(f"{what} is not read: pip install 'seehear[{extra}]'")
                continue
            self._expect(library)
            self._stand("working", "reading speech" if kind == "speech" else "reading text on screen")
            began, before = time.monotonic(), len(portion.tried)
            try:
                (transcribe if kind == "speech" else ocr)(library, portion=portion)
            except Interrupted:
                raise
            except SeehearError as error:
                # Without a model for it, search works by the other ways.
                self._note(str(error))
                continue
            if len(portion.tried) > before:
                self._pace.add(kind, time.monotonic() - began, portion.taken)
                return True
        return False

    def index(self, *, learned: bool = False) -> None:
        """Indexes the latents; with `learned` also for the newest trained run, whose model is loaded for it."""
        library = self._library()
        # An index of the frozen spaces alone leaves the trained run to be indexed in the end.
        self._due = not learned
        if library is None or not library.encoders():
            return
        began, loaded = time.monotonic(), bool(self._spaces)
        try:
            index_frozen(library, device=self.device, spaces=self._spaces)
            if learned:
                index_learned(library, device=self.device)
        except SeehearError as error:
            # No latents, or the trained model is missing.
            self._note(str(error))
        self._indexed_at = time.monotonic()
        # The first indexing also loads models, and says nothing of the next.
        self._index_took = self._indexed_at - began if loaded else 0.0
        self._found = len(indexed_clips(LibraryTables.open(self.uri)))
        self._standing = replace(self._standing, found=self._found)

    def _index_now_and_then(self) -> None:
        if time.monotonic() - self._indexed_at >= _PAUSE * self._index_took:
            self.index()

    def _library(self) -> LibraryTables | None:
        """The library as it is now; None before the first file is registered."""
        if "://" not in self.uri and not Path(self.uri, "clips.lance").is_dir():
            return None
        return LibraryTables.open(self.uri)

    def standing(self) -> Standing:
        if self._standing.state != "working":
            return self._standing
        done, left = self._pace.seconds()
        return replace(self._standing, done=done, left=left)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Shows the progress as one line on the terminal."""
        with overheard(lambda _: self._line.tell()):
            try:
                yield
            finally:
                self._line.end()

    def _stand(self, state: State, step: str = "", *, note: str = "") -> None:
        self._standing = Standing(state=state, step=step, note=note, found=self._found)
        self._line.tell(now=state != "working")

    def _note(self, message: str) -> None:
        """Prints a line for the user, once."""
        if message not in self._noted:
            self._noted.add(message)
            self._line.note(message)

    def _expect(self, library: LibraryTables, unindexed: float = 0.0) -> float:
        """Estimates the remaining work from the library; returns seconds of files without scenes."""
        sources = library.sources()
        coarse = sum(s.duration for s in sources.values() if s.info.get(COARSE) == UNCUT)
        left = {"cut": coarse, "encode": unindexed + coarse}
        for kind, _, package, *_ in _READERS:
            if find_spec(package):
                portion = self._portions[kind]
                left[kind] = portion.left if portion.tried else sum(unread(library, kind, sources).values())
        self._pace.expect(left)
        return coarse


def spread(items: Sequence[Clip]) -> list[Clip]:
    """Items in breadth-first order of halving, so that any beginning covers the whole evenly."""
    order: list[Clip] = []
    spans = [(0, len(items))]
    # The list grows while it is read: breadth first.
    for low, high in spans:
        if low < high:
            middle = (low + high) // 2
            order.append(items[middle])
            spans += [(low, middle), (middle + 1, high)]
    return order


def _seconds(clip: Clip) -> float:
    """Seconds of a clip for the pace, at least one: pictures and texts have none."""
    return max(1.0, clip.end - clip.start)


def _content(clip: Clip, sources: Mapping[str, Source]) -> tuple[str, str]:
    """(id, fingerprint of its file)."""
    return clip.id, sources[clip.source].fingerprint if clip.source in sources else ""
