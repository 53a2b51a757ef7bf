"""The rule for current vectors: made by the present version of the encoder, from the present content of the clip's file
or text. Stale vectors are encoded again, and no reader uses them.

A film has one vector as item 0 and, from encoders of frames, one for each distinct frame: its item is 1 + the
milliseconds from the start of the clip. All are made and removed together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seehear.errors import SeehearError
from seehear.library.records import Clip, Source, content_key
from seehear.library.tables import LibraryTables, Vectors, VectorTable, quote, table_name

OTHER_MAKER = "another version of the encoder"
# SQL condition over a table of vectors that leaves frames out.
NO_FRAMES = "(modality = 'text' OR item = 0)"


def frame_item(seconds: float) -> int:
    """Item of the frame at some seconds after the start of its clip."""
    # Item 0 is the vector of the whole clip.
    return 1 + round(1000 * seconds)


def is_frame(modality: str, item: int) -> bool:
    return modality != "text" and item > 0


def frame_seconds(clip: Clip, item: int) -> float:
    """Time of a frame in its file, in seconds."""
    return clip.start + (item - 1) / 1000


def current_content(clip: Clip | None, modality: str, item: int, sources: Mapping[str, Source]) -> str | None:
    """Fingerprint of the present content for a vector; None if the clip no longer has that file, frame or text."""
    if clip is None or not clip.has(modality):
        return None
    exists = frame_seconds(clip, item) <= clip.end if is_frame(modality, item) else item < clip.count(modality)
    return content_key(clip, modality, item, sources) if exists else None


def why_stale(made: tuple[str, str], maker: str, current: str | None) -> str:
    """Reason for which a vector, `made` by (maker, content), is stale; '' for a current one. `maker` is the encoder's
    present fingerprint, `current` the `current_content`."""
    if made[0] != maker:
        return OTHER_MAKER
    if current is None:
        return "the clip was deleted"
    return "" if made[1] == current else "the file, window or text has changed"


def latent_table(library: LibraryTables, name: str) -> VectorTable:
    """Table of an encoder's latents. Raises `SeehearError` if there is none."""
    if not library.has(table_name("latents", name)):
        raise SeehearError(f"{library.uri} has no latents of {name}: run 'seehear encode {library.uri}' with it")
    return library.vectors("latents", name)


def read_current(
    library: LibraryTables,
    encoder: Mapping[str, Any],
    clips: Mapping[str, Clip],
    sources: Mapping[str, Source],
    *,
    prefix: str = "",
) -> tuple[Vectors, int]:
    """(current latents of the clips by `encoder`, {name, fingerprint}; number of stale ones). One row a clip or text,
    none for frames."""
    # Rows of another maker are stale in any case: they are not even read.
    where = f"maker = {quote(encoder['fingerprint'])} AND {NO_FRAMES}" + (f" AND id LIKE '{prefix}%'" if prefix else "")
    rows = latent_table(library, encoder["name"]).read(where)
    keep, stale = [], 0
    for i, made in enumerate(zip(rows.makers, rows.contents, strict=True)):
        if clip := clips.get(rows.ids[i]):
            content = current_content(clip, rows.modalities[i], int(rows.items[i]), sources)
            if why_stale(made, encoder["fingerprint"], content):
                stale += 1
            else:
                keep.append(i)
    return rows.take(keep), stale
