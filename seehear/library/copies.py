"""Files with the same content: the first of them gives the clips, the others are further places of these.

A file is a copy when its size, its fingerprint and at last every byte are another's, both stand in folders, and no text
beside either says something of it. What is known of a copy is in its entry of `sources`, which names the file that it
is a copy of. When that file goes or changes, the copy is read as any other file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from filecmp import cmp

from seehear.library.clips import PrepareOptions
from seehear.library.manifest import Row
from seehear.library.reading import File, Unit
from seehear.library.records import COARSE, COPY_OF, digest
from seehear.library.scan import Beside
from seehear.library.tables import Library, Reject, Source


def plain_recipe(options: PrepareOptions) -> str:
    """Recipe of a file in a folder that no text stands beside."""
    return digest(options.recipe(), Beside().state())


def settle_copies(library: Library, options: PrepareOptions) -> list[Source]:
    """Takes out the clips of files that are copies of others. Returns copies whose original is no longer what it was:
    they are to be read."""
    groups: dict[tuple[str, int, str], list[Source]] = {}
    for source in library.sources().values():
        if source.info.get("recipe") == plain_recipe(options) or COPY_OF in source.info:
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
        same = [source for source in own[1:] if _same(library, roots, own[0].source, source.source)]
        for source in same:
            facts = {name: value for name, value in source.info.items() if name != COARSE}
            new.append(replace(source, info=facts | {COPY_OF: own[0].source}))
    # Noted before their clips go: a run that is killed in between takes them out when it is repeated.
    if new:
        library.put_sources(new)
    library.remove_clips(library.clip_ids(source.source for source in copies + new))
    return orphans


def _same(library: Library, roots: dict[str, str], one: str, other: str) -> bool:
    try:
        return cmp(library.path_of(one, roots), library.path_of(other, roots), shallow=False)
    except OSError:
        return False


class OrphanInput:
    """Copies whose original is gone, of one folder, to be read; all else that was found there stays as it is."""

    def __init__(self, library: Library, orphans: list[Source], options: PrepareOptions):
        self.origin = orphans[0].info["origin"]
        self.rejects: list[Reject] = []
        self.notes: list[str] = []
        self._units = []
        roots, recipe = library.roots(), plain_recipe(options)
        for orphan in orphans:
            path = str(library.path_of(orphan.source, roots))
            if os.path.isfile(path):
                stat = os.stat(path)
                file = File(source=orphan.source, path=path, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
                self._units.append(Unit(file=file, origin=self.origin, recipe=recipe))
        # What is not known is read; nothing of a copy is lost, for it has no clips.
        library.remove_sources(unit.file.source for unit in self._units)

    def __len__(self) -> int:
        return len(self._units)

    def units(self) -> Iterator[Unit]:
        return iter(self._units)

    def texts(self) -> Iterator[Row]:
        return iter(())

    def fingerprint(self) -> str:
        return ""

    def is_hidden(self, source: str) -> bool:
        return True

    def is_primary(self, source: str) -> bool:
        return True
