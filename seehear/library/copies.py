"""Files with the same content: the first of them gives the clips, the others are further places of these.

A copy has the size, the fingerprint and every byte of another file; both stand in folders, without text files beside
them. Its entry of `sources` names the original. When the original changes or is deleted, the copy is read like any
other file.
"""

from __future__ import annotations

import os
from dataclasses import replace
from filecmp import cmp

from seehear.library.clips import PrepareOptions
from seehear.library.inputs import Input
from seehear.library.reading import File, Unit
from seehear.library.records import COARSE, COPY_OF, digest
from seehear.library.scan import Sidecars
from seehear.library.tables import LibraryTables, Source


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
            path = str(library.path_of(orphan.source, roots))
            if os.path.isfile(path):
                stat = os.stat(path)
                file = File(source=orphan.source, path=path, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
                self._units.append(Unit(file=file, origin=self.origin, recipe=recipe))
        # An unknown file is read, and a copy has no clips to lose.
        library.remove_sources(unit.file.source for unit in self._units)

    def is_hidden(self, source: str) -> bool:
        return True
