"""What `prepare` is given, a folder or a manifest, as units to read one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG

from seehear.errors import SeehearError
from seehear.library.clips import PrepareOptions
from seehear.library.grouped import GroupedRows
from seehear.library.manifest import SUFFIXES as MANIFESTS
from seehear.library.manifest import ManifestRow, read_manifest
from seehear.library.reading import File, Unit
from seehear.library.records import bare, digest, fingerprint, printable, unprintable
from seehear.library.scan import MEDIA, Beside, Folder, Listing, ScannedFile
from seehear.library.tables import Library, Reject


def check_input(path: Path, options: PrepareOptions, skip: str | Path) -> None:
    """Raises `SeehearError` when there is nothing in it to read. Looks no further than the first file or row, and
    at the columns: JSONL is read whole for them."""
    if path.is_dir():
        if next(iter(Folder(path, language=options.language, skip=skip)), None) is None:
            raise SeehearError(f"{path}: there is no video, sound or picture in this folder")
    elif not path.exists():
        raise SeehearError(f"{path}: there is no such folder or manifest")
    elif path.suffix.lower() in MANIFESTS:
        next(read_manifest(path, options.columns))
    elif path.suffix.lower() in MEDIA:
        raise SeehearError(f"{path}: is a single media file: give the folder it is in")
    else:
        raise SeehearError(f"{path}: is neither a folder nor a manifest ({', '.join(MANIFESTS)})")


class FolderInput:
    """All media of a folder, each with the texts beside it."""

    def __init__(
        self,
        folder: Path,
        library: Library,
        options: PrepareOptions,
        *,
        rests: Callable[[ScannedFile], bool] = lambda _: True,
    ):
        """`rests` says whether a file is complete: one that is still being copied is left as it was."""
        walk = Folder(folder, language=options.language, skip="" if "://" in library.uri else library.uri)
        self._prefix = library.add_root(walk.folder)
        self.origin = self._prefix or "."
        self._recipe = options.recipe()
        self._found, self._restless = [], set()
        for found in walk:
            if rests(found):
                self._found.append(found)
            else:
                self._restless.add(_name(self._prefix, printable(found.name)))
        self.rejects = [
            Reject(path=_name(self._prefix, r.path), stage=r.stage, reason=r.reason) for r in walk.unreadable
        ]
        tables = sorted(p.name for p in Path(walk.folder).iterdir() if p.suffix.lower() in MANIFESTS)
        self.notes = (
            [f"{tables[0]} lies in the folder and was not read: give it instead to use its columns"] if tables else []
        )

    def __len__(self) -> int:
        return len(self._found)

    def units(self) -> Iterator[Unit]:
        for found in self._found:
            source = _name(self._prefix, printable(found.name))
            file = File(source=source, path=found.path, size=found.size, mtime_ns=found.mtime_ns)
            recipe = digest(self._recipe, found.beside.state())
            yield Unit(file=file, origin=self.origin, recipe=recipe, beside=found.beside)

    def texts(self) -> Iterator[ManifestRow]:
        return iter(())

    def fingerprint(self) -> str:
        return ""

    def is_hidden(self, source: str) -> bool:
        """Whether a file that was not found may still be there: in a part of the folder that cannot be read,
        or not complete."""
        hidden = any(source == r.path or source.startswith(f"{r.path}/") for r in self.rejects)
        return hidden or source in self._restless

    def is_primary(self, source: str) -> bool:
        return True

    def close(self) -> None:
        self._found = []


class RowsInput:
    """Rows by media file, wherever they come from. Closes them."""

    def __init__(self, rows: GroupedRows, library: Library, options: PrepareOptions, *, root: Path, origin: str):
        self._rows, self._root, self.origin = rows, root, origin
        self._prefix = library.add_root(root)
        self._recipe = options.recipe()
        self.rejects = [Reject(path=r.path, stage=r.stage, reason=r.reason) for r in rows.rejects]
        self.notes: list[str] = []
        self._primary = {_name(self._prefix, name) for name in rows.sources}
        self._listing = lru_cache(64)(lambda directory: Listing.of(directory, language=options.language))

    def __len__(self) -> int:
        return len(self._rows.sources)

    def units(self) -> Iterator[Unit]:
        """One a media file; rows whose file is not there are set aside on the way."""
        for source, rows in self._rows:
            file = self._file(source)
            if file is None:
                self._missing(source, rows)
            else:
                yield self._unit(file, rows)

    def texts(self) -> Iterator[ManifestRow]:
        """The rows without a media file."""
        return self._rows.texts()

    def fingerprint(self) -> str:
        """Of the rows without a media file."""
        return ""

    def is_hidden(self, source: str) -> bool:
        return False

    def is_primary(self, source: str) -> bool:
        return source in self._primary

    def close(self) -> None:
        self._rows.close()

    def _unit(self, file: File, rows: list[ManifestRow]) -> Unit:
        sounds = {}
        for name in dict.fromkeys(row.audio_source for row in rows if row.audio_source):
            sounds[name] = self._file(name)
            if sounds[name] is None:
                self._missing(name, [row for row in rows if row.audio_source == name])
        rows = [
            replace(row, audio_source=sound.source if (sound := sounds.get(row.audio_source)) else "") for row in rows
        ]
        beside = self._beside(file) if any(not row.texts and row.start is None for row in rows) else Beside()
        return Unit(
            file=file,
            origin=self.origin,
            recipe=digest(
                self._recipe,
                beside.state(),
                *(repr(replace(row, line=0, audio_source=bare(row.audio_source))) for row in rows),
            ),
            beside=beside,
            rows=tuple(rows),
            sounds=tuple(sound for sound in sounds.values() if sound is not None),
        )

    def _file(self, name: str) -> File | None:
        path = os.path.join(self._root, unprintable(name))
        try:
            stat = os.stat(path)
        except (OSError, ValueError):
            return None
        if not S_ISREG(stat.st_mode):
            return None
        source = _name(self._prefix, name)
        return File(source=source, path=path, size=stat.st_size, mtime_ns=stat.st_mtime_ns)

    def _beside(self, file: File) -> Beside:
        directory, name = os.path.split(file.path)
        return self._listing(directory).beside(name)

    def _missing(self, name: str, rows: list[ManifestRow]) -> None:
        reason = f"{name}: there is no such file in {printable(str(self._root))}"
        self.rejects += [Reject(path=row.place(self.origin), stage="manifest", reason=reason) for row in rows]


class ManifestInput(RowsInput):
    """The rows of a manifest, by media file."""

    def __init__(self, path: Path, library: Library, options: PrepareOptions):
        self._path = path
        root = (options.media or path.parent).resolve()
        origin = self._origin(path.resolve(), root, library)
        rows = GroupedRows(read_manifest(path, options.columns, name=origin), name=origin)
        super().__init__(rows, library, options, root=root, origin=origin)
        if len(self) and not any(self._file(source) for source in self._rows.sources):
            self.close()
            raise SeehearError(
                f"{path}: none of its {len(self):,} media files is in {root}: "
                "say with --media which folder their paths begin in"
            )

    @staticmethod
    def _origin(path: Path, root: Path, library: Library) -> str:
        prefix = library.add_root(root)
        if not path.is_relative_to(root):
            return printable(str(path))
        return _name(prefix, printable(path.relative_to(root).as_posix()))

    def fingerprint(self) -> str:
        return fingerprint(self._path)


def _name(prefix: str, name: str) -> str:
    """A file's name in the library: its path below the media root, after the root's prefix. One outside of the root
    keeps its absolute path."""
    if not prefix:
        # Without './' a folder '@b' of the first root would pass for the prefix of a later root `b`.
        return f"./{name}" if name.startswith("@") else name
    return name if os.path.isabs(name) else f"{prefix}/{name}"
