"""Inputs of `prepare`, a folder or a manifest, as units to read one after the other; files with equal content."""

from __future__ import annotations

import os
import pickle
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from filecmp import cmp
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from seehear.errors import SeehearError
from seehear.library.clips import PrepareOptions
from seehear.library.manifest import SUFFIXES as MANIFESTS
from seehear.library.manifest import ManifestRow, read_manifest
from seehear.library.reading import Unit
from seehear.library.records import COARSE, COPY_OF, Reject, bare, digest, fingerprint, printable, unprintable
from seehear.library.scan import MEDIA, Folder, Listing, MediaFile, Sidecars
from seehear.library.tables import LibraryTables, Source


def check_input(path: Path, options: PrepareOptions, skip: str | Path) -> None:
    """Raises `SeehearError` when there is nothing to read. Stops at the first file or row; JSONL is read whole for its
    columns."""
    if path.is_dir():
        if next(iter(Folder(path, language=options.language, skip=skip)), None) is None:
            if not os.access(path, os.R_OK | os.X_OK):
                raise SeehearError(f"{path}: this folder may not be read: change its permissions")
            raise SeehearError(f"{path}: there is no video, sound or picture in this folder")
    elif not path.exists():
        raise SeehearError(f"{path}: there is no such folder or manifest")
    elif path.suffix.lower() in MANIFESTS:
        next(read_manifest(path, options.columns))
    elif path.suffix.lower() in MEDIA:
        raise SeehearError(f"{path}: is a single media file: give the folder it is in")
    else:
        raise SeehearError(f"{path}: is neither a folder nor a manifest ({', '.join(MANIFESTS)})")


class Input:
    """Media files of one origin, as units in a fixed order."""

    origin: str
    """Folder prefix or manifest name that its sources and rejects are stored under."""

    def __init__(self) -> None:
        self.rejects: list[Reject] = []
        self.notes: list[str] = []
        self._units: list[Unit] = []

    def __len__(self) -> int:
        return len(self._units)

    def units(self) -> Iterator[Unit]:
        return iter(self._units)

    def texts(self) -> Iterator[ManifestRow]:
        """Rows without a media file."""
        return iter(())

    def fingerprint(self) -> str:
        """Fingerprint of the rows without a media file."""
        return ""

    def is_hidden(self, source: str) -> bool:
        """True for a missing file that may still exist: in an unreadable part of the folder, or incomplete."""
        return False

    def is_primary(self, source: str) -> bool:
        """True for a file with a unit of its own; False for the second file of another unit."""
        return True

    def close(self) -> None:
        self._units = []


class FolderInput(Input):
    """All media of a folder, each with the text files beside it."""

    def __init__(
        self,
        folder: Path,
        library: LibraryTables,
        options: PrepareOptions,
        *,
        rests: Callable[[MediaFile], bool] = lambda _: True,
    ):
        """`rests` returns True for a complete file; one that is still being copied is left as it was."""
        super().__init__()
        walk = Folder(folder, language=options.language, skip="" if "://" in library.uri else library.uri)
        prefix, recipe = library.add_root(walk.folder), options.recipe()
        self.origin = prefix or "."
        self._incomplete: set[str] = set()
        for file in walk:
            file = replace(file, source=_name(prefix, printable(file.source)))
            if rests(file):
                state = digest(recipe, file.sidecars.state())
                self._units.append(Unit(file=file, origin=self.origin, recipe=state))
            else:
                self._incomplete.add(file.source)
        self.rejects = [replace(r, path=_name(prefix, r.path)) for r in walk.unreadable]
        # The user may have meant the table, whose texts a folder of media lacks.
        tables = sorted(p.name for p in Path(walk.folder).iterdir() if p.suffix.lower() in MANIFESTS)
        if tables:
            self.notes = [f"{tables[0]} lies in the folder and was not read: give it instead to use its columns"]

    def is_hidden(self, source: str) -> bool:
        unreadable = any(source == r.path or source.startswith(f"{r.path}/") for r in self.rejects)
        return unreadable or source in self._incomplete


class RowsInput(Input):
    """Manifest rows grouped by media file. Closing the input closes them."""

    def __init__(self, rows: GroupedRows, library: LibraryTables, options: PrepareOptions, *, root: Path, origin: str):
        super().__init__()
        self._rows, self._root, self.origin = rows, root, origin
        self._prefix, self._recipe = library.add_root(root), options.recipe()
        self.rejects = list(rows.rejects)
        self._primary = {_name(self._prefix, name) for name in rows.sources}
        language = options.language
        # Rows usually come folder by folder: a few listings are enough.
        self._listing = lru_cache(64)(lambda folder: Listing(folder, os.listdir(folder), language=language))

    def __len__(self) -> int:
        return len(self._rows.sources)

    def units(self) -> Iterator[Unit]:
        """One a media file; rows whose file is missing are set aside on the way."""
        for source, rows in self._rows:
            file = self._file(source)
            if file is None:
                self._missing(source, rows)
                continue
            sounds = {}
            for name in dict.fromkeys(row.audio_source for row in rows if row.audio_source):
                sounds[name] = self._file(name)
                if sounds[name] is None:
                    self._missing(name, [row for row in rows if row.audio_source == name])
            rows = [
                replace(row, audio_source=sound.source if (sound := sounds.get(row.audio_source)) else "")
                for row in rows
            ]
            # Rows with texts or times of their own do without the texts beside the file.
            if any(not row.texts and row.start is None for row in rows):
                directory, name = os.path.split(file.path)
                file = replace(file, sidecars=self._listing(directory).sidecars(name))
            # Line numbers may move, and './' is a matter of the library: neither changes the clips.
            states = [repr(replace(row, line=0, audio_source=bare(row.audio_source))) for row in rows]
            yield Unit(
                file=file,
                origin=self.origin,
                recipe=digest(self._recipe, file.sidecars.state(), *states),
                rows=tuple(rows),
                sounds=tuple(sound for sound in sounds.values() if sound is not None),
            )

    def texts(self) -> Iterator[ManifestRow]:
        return self._rows.texts()

    def is_primary(self, source: str) -> bool:
        return source in self._primary

    def close(self) -> None:
        self._rows.close()

    def _file(self, name: str) -> MediaFile | None:
        try:
            return MediaFile.at(os.path.join(self._root, unprintable(name)), _name(self._prefix, name))
        except (OSError, ValueError):
            return None

    def _missing(self, name: str, rows: list[ManifestRow]) -> None:
        reason = f"{name}: there is no such file in {printable(str(self._root))}"
        self.rejects += [Reject(path=row.place(self.origin), stage="manifest", reason=reason) for row in rows]


class ManifestInput(RowsInput):
    """The rows of a manifest file."""

    def __init__(self, path: Path, library: LibraryTables, options: PrepareOptions):
        self._path = path
        root, full = (options.media or path.parent).resolve(), path.resolve()
        prefix, origin = library.add_root(root), printable(str(full))
        if full.is_relative_to(root):
            origin = _name(prefix, printable(full.relative_to(root).as_posix()))
        rows = GroupedRows(read_manifest(path, options.columns, name=origin), name=origin)
        super().__init__(rows, library, options, root=root, origin=origin)
        # A wrong --media would set aside every row of the manifest, one by one.
        if len(self) and not any(self._file(source) for source in self._rows.sources):
            self.close()
            raise SeehearError(
                f"{path}: none of its {len(self):,} media files is in {root}: "
                "say with --media which folder their paths begin in"
            )

    def fingerprint(self) -> str:
        return fingerprint(self._path)


def _name(prefix: str, name: str) -> str:
    """Name of a file in the library: its path below the media root, after the root's prefix. A file outside the root
    keeps its absolute path."""
    if not prefix:
        # Without './' a folder '@b' of the first root would pass for the prefix of a later root `b`.
        return f"./{name}" if name.startswith("@") else name
    return name if os.path.isabs(name) else f"{prefix}/{name}"


# -- rows by media file ------------------------------------------------------------------------------------------------

# Rows with the id of an earlier row of another file. Every row of text alone (owner 0) is a clip of its own, and so
# another claimant.
_SECOND_CLAIMS = """
    SELECT row.number, row.content FROM row
    JOIN (SELECT id, MIN(number) AS number FROM row WHERE id != x'' GROUP BY id HAVING COUNT(*) > 1) AS first USING (id)
    JOIN row AS owner ON owner.number = first.number
    WHERE row.number != first.number AND (row.owner != owner.owner OR row.owner = 0) ORDER BY row.number
"""


class GroupedRows:
    """Rows in any order, grouped by file. An id that two files claim stays with the first; other rows are set aside.

    They lie in a temporary database on disk: a manifest may have more rows than memory holds.
    """

    def __init__(self, rows: Iterable[ManifestRow | Reject], *, name: str):
        self.rejects: list[Reject] = []
        self._sources: dict[str, int] = {"": 0}
        # A file without a name, deleted when it is closed.
        self._db = sqlite3.connect("", check_same_thread=False)
        try:
            self._db.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, owner INTEGER, id BLOB, content BLOB)")
            self._db.executemany("INSERT INTO row (owner, id, content) VALUES (?, ?, ?)", self._values(rows))
            self._db.execute("CREATE INDEX by_owner ON row (owner)")
            self._db.execute("CREATE INDEX by_id ON row (id) WHERE id != x''")
            for number, content in self._db.execute(_SECOND_CLAIMS).fetchall():
                row = pickle.loads(content)
                reason = f"has the id {row.id!r} of an earlier row with another file"
                self.rejects.append(Reject(path=row.place(name), stage="manifest", reason=reason))
                self._db.execute("DELETE FROM row WHERE number = ?", (number,))
        except BaseException:
            self.close()
            raise

    def _values(self, rows: Iterable[ManifestRow | Reject]) -> Iterator[tuple[int, bytes, bytes]]:
        for row in rows:
            if isinstance(row, Reject):
                self.rejects.append(row)
            else:
                owner = self._sources.setdefault(row.source, len(self._sources))
                # Bytes, as SQLite refuses text with lone surrogates.
                yield owner, row.id.encode("utf-8", "surrogatepass"), pickle.dumps(row)

    def close(self) -> None:
        self._db.close()

    @property
    def sources(self) -> list[str]:
        """Media files in order of first mention."""
        return list(self._sources)[1:]

    def __iter__(self) -> Iterator[tuple[str, list[ManifestRow]]]:
        """(media file, its rows) in order of first mention."""
        names = list(self._sources)
        rows = self._db.execute("SELECT owner, content FROM row WHERE owner > 0 ORDER BY owner, number")
        for owner, own in groupby(rows, key=lambda row: row[0]):
            yield names[owner], [pickle.loads(content) for _, content in own]

    def texts(self) -> Iterator[ManifestRow]:
        """Rows without a media file."""
        for (content,) in self._db.execute("SELECT content FROM row WHERE owner = 0 ORDER BY number"):
            yield pickle.loads(content)


# -- files with the same content ---------------------------------------------------------------------------------------

# The first of them gives the clips, the others are further places of these. A copy has the size, the fingerprint and
# every byte of another file; both stand in folders, without text files beside them. Its entry of `sources` names the
# original. When the original changes or is deleted, the copy is read like any other file.


def _plain_recipe(options: PrepareOptions) -> str:
    """Recipe of a file in a folder without text files beside it."""
    return digest(options.recipe(), Sidecars().state())


def settle_copies(library: LibraryTables, options: PrepareOptions) -> list[Source]:
    """Removes the clips of copies. Returns copies whose original has changed or is deleted: they are to be read."""
    # These facts are known without reading: only files that share them are compared byte by byte.
    groups: dict[tuple[str, int, str], list[Source]] = {}
    for source in library.sources().values():
        if source.info.get("recipe") == _plain_recipe(options) or COPY_OF in source.info:
            groups.setdefault((source.fingerprint, source.size, source.info["recipe"]), []).append(source)
    copies: list[Source] = []
    new: list[Source] = []
    orphans: list[Source] = []
    roots = library.roots()
    for group in groups.values():
        known = {source.info.get(COPY_OF) for source in group}
        own = [source for source in group if COPY_OF not in source.info]
        # One that others are copies of already stays the first, else one that had a split, and so perhaps vectors,
        # before this run, else the first by name, those of the first folder before others.
        own.sort(key=lambda s: (s.source not in known, "split" not in s.info, s.info["origin"] != ".", s.source))
        names = {source.source for source in own}
        for source in group:
            if COPY_OF in source.info:
                (copies if source.info[COPY_OF] in names else orphans).append(source)
        for source in own[1:]:
            try:
                same = cmp(library.path_of(own[0].source, roots), library.path_of(source.source, roots), shallow=False)
            except OSError:
                # A file that has vanished is no copy; the next run finds it deleted.
                same = False
            if same:
                facts = {name: value for name, value in source.info.items() if name != COARSE}
                new.append(replace(source, info=facts | {COPY_OF: own[0].source}))
    # Noted before their clips go: a run that is killed in between takes them out when it is repeated.
    if new:
        library.put_sources(new)
    library.remove_clips(library.clip_ids(source.source for source in copies + new))
    return orphans


class OrphanInput(Input):
    """Copies of one folder that have lost their original. All other files of the folder stay as they are."""

    def __init__(self, library: LibraryTables, orphans: list[Source], options: PrepareOptions):
        super().__init__()
        self.origin = orphans[0].info["origin"]
        roots, recipe = library.roots(), _plain_recipe(options)
        for orphan in orphans:
            with suppress(OSError):
                file = MediaFile.at(str(library.path_of(orphan.source, roots)), orphan.source)
                self._units += [Unit(file=file, origin=self.origin, recipe=recipe)] if file else []
        # An unknown file is read, and a copy has no clips to lose.
        library.remove_sources(unit.file.source for unit in self._units)

    def is_hidden(self, source: str) -> bool:
        return True
