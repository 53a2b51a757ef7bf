"""Migration of names in older libraries: a name that begins with '@' stood for a file below the first root, of a later
root, or both. Names below the first root now begin with './@' (`inputs._name`)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from seehear.library.records import Clip, Reject, Source, unprintable
from seehear.library.tables import LibraryTables

# Entry of `about` in a library whose names are unambiguous.
_KEY, _SCHEME = "names", "2"


def settle_names(library: LibraryTables) -> list[str]:
    """Renames ambiguous names, once a library, and returns notes on files that may be missing. To be called by a writer
    before it adds a root.

    Vectors are renamed with their clips, so that nothing is encoded again. The sources decide about the names and are
    written last, so the next run repeats a killed one.
    """
    if library.about().get(_KEY) == _SCHEME:
        return []
    sources, rejects = library.sources(), library.rejects()
    names = _Names(library, sources, rejects)
    if names.files or names.origins or any(names.sets_aside(reject) for reject in rejects):
        _rename_clips(library, names)
        put_aside = {r.path: renamed for r in rejects if (renamed := names.reject(r)) != r}
        library.put_rejects(list(put_aside.values()))
        library.remove_rejects(path for path, renamed in put_aside.items() if renamed.path != path)
        moved = {name: new for name, source in sources.items() if (new := names.source(source)) != source}
        library.put_sources(list(moved.values()))
        library.remove_sources(name for name, new in moved.items() if new.source != name)
    library.set_about(_KEY, _SCHEME)
    return names.notes()


def _rename_clips(library: LibraryTables, names: _Names) -> None:
    clips = library.clips("id LIKE '@%' OR source LIKE '@%' OR audio_source LIKE '@%'")
    changed = [(clip, new) for clip in clips if (new := names.clip(clip)) != clip]
    moved = [(clip, new) for clip, new in changed if new.id != clip.id]
    # If a later root had a file of the same name, encoders read that one: those vectors are deleted.
    library.rename_vectors({clip.id: new.id for clip, new in moved if not names.is_doubled(clip)})
    library.put_clips([new for _, new in changed])
    library.remove_clips(clip.id for clip, _ in moved)


class _Names:
    """Files and origins (manifests) of the first root, among those whose names begin with '@'."""

    def __init__(self, library: LibraryTables, sources: dict[str, Source], rejects: Iterable[Reject]):
        self._library, self._roots, self._sources = library, library.roots(), sources
        self._first = Path(unprintable(self._roots.get("", "")))
        self._doubtful = {prefix for prefix in self._roots if prefix and (self._first / unprintable(prefix)).is_dir()}
        """Prefixes that are also folders of the first root."""
        origins = {source.info.get("origin", "") for source in sources.values()} | {r.origin for r in rejects}
        origins = {origin for origin in origins if origin.startswith("@") and origin not in self._roots}
        self.origins = {origin for origin in origins if self._is_first(origin)}
        self.files = {
            name
            for name, s in sources.items()
            if name.startswith("@")
            # Names of features are keys of a data set, not paths.
            and s.info.get("kind") not in ("manifest", "features")
            and self._is_first(name, s.info.get("origin", ""), s.size, s.mtime_ns)
        }

    def _is_first(self, name: str, origin: str = "", size: int = -1, mtime_ns: int = -1) -> bool:
        prefix = name.partition("/")[0]
        if prefix not in self._roots or origin == ".":
            return True
        if prefix not in self._doubtful or origin in self._roots:
            return False
        # The root of a manifest is unknown: the file with the size and time of the reading decides.
        first, later = self._stats(name)
        if size < 0:
            return later is None and first is not None
        seen = (size, mtime_ns)
        return first is not None and _look(first) == seen and (later is None or _look(later) != seen)

    def _stats(self, name: str) -> tuple[os.stat_result | None, os.stat_result | None]:
        """Files of a name below the first root and in the later root."""
        return _stat(self._first / unprintable(name)), _stat(self._library.path_of(name, self._roots))

    # -- renamed rows ------------------------------------------------------------------------------------------------

    def _file(self, name: str) -> str:
        return f"./{name}" if name in self.files else name

    def _origin(self, origin: str) -> str:
        return f"./{origin}" if origin in self.origins else origin

    def clip(self, clip: Clip) -> Clip:
        source, audio_source = self._file(clip.source), self._file(clip.audio_source)
        id = clip.id
        # An id is made of the files' names (`reading.py`), or begins with the origin, or is the user's own.
        heads = {f"{clip.source}+{clip.audio_source}": f"{source}+{audio_source}"} if clip.audio_source else {}
        heads |= {clip.source: source}
        for old, new in heads.items():
            if old and (id == old or id.startswith(f"{old}#")):
                id = new + id[len(old) :]
                break
        else:
            if any(id.startswith(f"{origin}#") for origin in self.origins):
                id = f"./{id}"
        group = id if clip.group == clip.id else self._file(clip.group)
        return replace(clip, id=id, source=source, audio_source=audio_source, group=group)

    def is_doubled(self, clip: Clip) -> bool:
        """True if a file of the clip has the name of a file of a later root."""
        names = [
            n for n in (clip.source, clip.audio_source) if n in self.files and n.partition("/")[0] in self._doubtful
        ]
        return any(self._stats(name)[1] is not None for name in names)

    def sets_aside(self, reject: Reject) -> bool:
        """True for a reject of the first root: a file, a line of a manifest, or a clip that an encoder set aside."""
        path = reject.path
        if not path.startswith("@"):
            return False
        if path.rpartition(":")[0] in self.origins or path.partition(" (")[0].partition("#")[0] in self.files:
            return True
        return self._is_first(path, reject.origin, reject.size, reject.mtime_ns)

    def reject(self, reject: Reject) -> Reject:
        path = f"./{reject.path}" if self.sets_aside(reject) else reject.path
        return replace(reject, path=path, origin=self._origin(reject.origin))

    def source(self, source: Source) -> Source:
        info = dict(source.info)
        if "origin" in info:
            info["origin"] = self._origin(info["origin"])
        name = self._origin(source.source) if info.get("kind") == "manifest" else self._file(source.source)
        if '"@' in info.get("rejects", ""):
            rows = json.loads(info["rejects"])
            rows = [
                [self.reject(Reject(path=at, stage=stage, reason=why)).path if isinstance(at, str) else at, stage, why]
                for at, stage, why in rows
            ]
            info["rejects"] = json.dumps(rows, ensure_ascii=False)
        return replace(source, source=name, info=info)

    def notes(self) -> list[str]:
        """A note for each root with files that may be missing, as another file had the same name."""
        lost: dict[str, list[str]] = {}
        for name in self._sources:
            prefix = name.partition("/")[0]
            if prefix in self._doubtful and None not in self._stats(name):
                lost.setdefault(self._roots[prefix if name in self.files else ""], []).append(name)
        return [
            f"{len(names):,} {'file' if len(names) == 1 else 'files'} of {folder} may be missing, for an older seehear "
            f"gave one name to two files (first: {min(names)}): run 'seehear prepare {folder} --library "
            f"{self._library.uri}', or prepare its manifest again, unless this run reads it"
            for folder, names in sorted(lost.items())
        ]


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _look(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns
