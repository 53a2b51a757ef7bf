"""Exports: moments as media files, or as a list for a player or an editor; a library as Parquet files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seehear.errors import SeehearError, require
from seehear.library.current import current_content, why_stale
from seehear.library.records import printable
from seehear.library.tables import LibraryTables, quote, table_name
from seehear.library.vectors import one_of
from seehear.library.workers import map_in_processes
from seehear.media.remux import cut, suffix_of_cut
from seehear.progress import counted, progress, say
from seehear.search.answer import Moment
from seehear.search.index import indexes
from seehear.search.lists import Listed, check_list, list_text

if TYPE_CHECKING:
    import pyarrow as pa

# Time limit of saving a moment, seconds.
_SECONDS = 600.0
# Longest part of a film's name in the name of its moments, bytes; file systems allow 255 in all.
_STEM = 120
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


def listed(library: LibraryTables, moments: Sequence[Moment]) -> list[Listed]:
    """The moments with their files of pictures and of sound; moments of text alone are left out."""
    roots = library.roots()
    clips = {clip.id: clip for clip in library.clips(one_of("id", [m.clip for m in moments]))} if moments else {}
    rows = []
    for moment in moments:
        clip = clips.get(moment.clip)
        files = {m: str(library.path_of(clip.source_of(m), roots)) for m in ("video", "audio") if clip and clip.has(m)}
        if files:
            rows.append(Listed(start=moment.start, end=moment.end, kind=moment.kind, text=moment.text, **files))
    return rows


def check_outputs(folder: Path | None, list_file: Path | None) -> None:
    """Raises `SeehearError` for outputs that cannot be written; called before the search."""
    if folder is not None and folder.exists() and not folder.is_dir():
        raise SeehearError(f"{folder} is a file: give a folder to save clips in")
    if list_file is None:
        return
    check_list(list_file.suffix.lower())
    if list_file.exists():
        raise SeehearError(f"{list_file} exists already: delete it, or give another name")
    if not list_file.absolute().parent.is_dir():
        raise SeehearError(f"no folder {list_file.parent} for {list_file.name}: make it first")


def write_list(path: Path, moments: Sequence[Listed], *, title: str) -> None:
    """Writes a new file in the format of its suffix."""
    content = list_text(path.suffix.lower(), moments, title=title)
    # "x": a file that has appeared since the check is not overwritten.
    with path.open("x", encoding="utf-8", newline="") as file:
        file.write(content)
    say(f"{counted(len(moments), 'moment')} listed in {path}")


def save_clips(folder: Path, moments: Sequence[Listed]) -> list[Path]:
    """Writes a file for each moment, named by rank, film and time, and returns their paths. No file is overwritten; a
    moment that cannot be cut is reported and skipped."""
    folder.mkdir(parents=True, exist_ok=True)
    # The file systems of Windows and macOS ignore case.
    taken = {path.name.casefold() for path in folder.iterdir()}
    tasks, saved = [], []
    for rank, moment in enumerate(moments, start=1):
        name = unused_name(f"{rank:02} {clip_name(moment, suffix_of_cut(moment.video, moment.audio))}", taken)
        tasks.append((moment, str(folder / name)))
    with progress("saving", len(tasks), "clips") as bar:
        # In a process of its own: a film that crashes the library of codecs must not end the program.
        for (moment, path), result in map_in_processes(_save, tasks, workers=1, time_limit=_SECONDS):
            if isinstance(result, Exception):
                say(f"not saved: {moment.title}: {result}")
            else:
                saved.append(Path(path))
            bar.advance()
    say(f"{counted(len(saved), 'clip')} saved in {folder}")
    return saved


def _save(task: tuple[Listed, str]) -> None:
    moment, path = task
    cut(moment.video, moment.audio, moment.start, moment.end, path)


def clip_name(moment: Listed, suffix: str) -> str:
    """File name of a moment: 'morning 0h07m30s.mp4'."""
    stem = safe_stem(Path(moment.file).stem)
    if moment.end > moment.start:
        minutes, seconds = divmod(int(moment.start), 60)
        stem += f" {minutes // 60}h{minutes % 60:02}m{seconds:02}s"
    return stem + suffix


def safe_stem(name: str) -> str:
    """Beginning of a name, with characters that are invisible or forbidden in a file system replaced by '_'."""
    stem = "".join(
        "_" if unicodedata.category(letter)[0] == "C" or letter in '<>:"/\\|?*' else letter
        for letter in unicodedata.normalize("NFC", printable(name))
    )
    # By bytes, as file systems limit names; the half of a letter is dropped.
    stem = stem.encode()[:_STEM].decode(errors="ignore").strip(" .") or "clip"
    # Windows opens a device in place of a file of such a name.
    return f"{stem}_" if _RESERVED.fullmatch(stem) else stem


def unused_name(name: str, taken: set[str]) -> str:
    """The name, with a number if it is among `taken` (lower case), to which the result is added."""
    path, n, unused = Path(name), 1, name
    while unused.casefold() in taken:
        n += 1
        unused = f"{path.stem} ({n}){path.suffix}"
    taken.add(unused.casefold())
    return unused


# -- a library as Parquet files ----------------------------------------------------------------------------------------

# Rows that are read and written at a time: a row group of the file.
ROWS = 8192


def write_parquet(library: LibraryTables, folder: Path) -> dict[str, int]:
    """Writes the clips and media files of a library, and the current vectors of its encoders and indexes; returns the
    number of rows of each file by path.

        clips.parquet                  id, source, start, end, texts, labels, group, split, meta, ...
        sources.parquet                source, size, duration, info, ...
        latents_*, vectors_*.parquet   id of the clip, item, modality, vector (float32); item: see `library/current.py`
    """
    arrow = require("pyarrow")
    folder.mkdir(parents=True, exist_ok=True)
    makers = {table_name("latents", name): about["fingerprint"] for name, about in library.encoders().items()}
    makers |= {table_name("vectors", name): about["maker"] for name, about in indexes(library).items()}
    clips, sources = {clip.id: clip for clip in library.clips()}, library.sources()

    def current(rows: pa.RecordBatch, maker: str, schema: pa.Schema) -> pa.RecordBatch:
        keys = zip(*(rows[name].to_pylist() for name in ("id", "modality", "item", "content")), strict=True)
        keep = [
            not why_stale((maker, content), maker, current_content(clips.get(id), modality, item, sources))
            for id, modality, item, content in keys
        ]
        return rows.select(schema.names).cast(schema).filter(arrow.array(keep, arrow.bool_()))

    written = {}
    for name in ("clips", "sources", *sorted(makers.keys() & set(library.tables()))):
        table = library.table(name)
        schema, query = table.schema.remove_metadata(), table.search()
        if name in makers:
            query = query.where(f"maker = {quote(makers[name])}")
            # Few tools read half precision.
            vector = arrow.list_(arrow.float32(), schema.field("vector").type.list_size)
            columns = (schema.field(column) for column in ("id", "item", "modality"))
            schema = arrow.schema([*columns, ("vector", vector)])
        path, rows = folder / f"{name}.parquet", 0
        # An interruption leaves no half file.
        part = path.with_name(f".{path.name}.part")
        try:
            with require("pyarrow.parquet").ParquetWriter(part, schema, compression="zstd") as writer:
                for batch in query.limit(None).to_batches(ROWS):
                    batch = current(batch, makers[name], schema) if name in makers else batch
                    writer.write_batch(batch)
                    rows += len(batch)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        written[str(path)] = rows
    return written
