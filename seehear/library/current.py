"""The one rule of which stored vectors are current: made by the encoder as it is now, of the clip's file or text as it
is now. What is not current is encoded again, and no reader takes it.

A film has a vector of its own as item 0 and, by encoders that see frames, one of each frame that differs: its item is
1 + the milliseconds from the start of the clip. They are made together and go together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seehear.errors import SeehearError
from seehear.library.records import Clip, Source, content_key
from seehear.library.tables import Library, Vectors, VectorTable, quote, table_name

OTHER_MAKER = "another version of the encoder"
NO_FRAMES = "(modality = 'text' OR item = 0)"
"""SQL condition over a table of vectors: those of clips and texts alone."""


def frame_item(seconds: float) -> int:
    """Item of the frame that is on show so many seconds after the start of its clip."""
    return 1 + round(1000 * seconds)


def is_frame(modality: str, item: int) -> bool:
    return modality != "text" and item > 0


def frame_seconds(clip: Clip, item: int) -> float:
    """Time in its file of the frame with that item."""
    return clip.start + (item - 1) / 1000


def current_content(clip: Clip | None, modality: str, item: int, sources: Mapping[str, Source]) -> str | None:
    """Content that a vector of the clip is to be made from; None where the clip has no such file or text any more."""
    if clip is None or not clip.has(modality):
        return None
    there = frame_seconds(clip, item) <= clip.end if is_frame(modality, item) else item < clip.count(modality)
    return content_key(clip, modality, item, sources) if there else None


def why_stale(made: tuple[str, str], maker: str, current: str | None) -> str:
    """Reason why a stored vector, `made` by (maker, content), is out of date; '' for a current one. `maker` is the
    encoder's fingerprint now, `current` the `current_content`."""
    if made[0] != maker:
        return OTHER_MAKER
    if current is None:
        return "the clip is gone"
    return "" if made[1] == current else "the file, window or text has changed"


def latent_table(library: Library, name: str) -> VectorTable:
    """The latents of an encoder. Raises `SeehearError` where there are none."""
    if table_name("latents", name) not in library.tables():
        raise SeehearError(f"{library.uri} has no latents of {name}: run 'seehear encode {library.uri}' with it")
    return library.vectors("latents", name)


def read_current(
    library: Library,
    encoder: Mapping[str, Any],
    clips: Mapping[str, Clip],
    sources: Mapping[str, Source],
    *,
    prefix: str = "",
) -> tuple[Vectors, int]:
    """(current latents that `encoder`, {name, fingerprint}, made of these clips; number of its stale ones). One row a
    clip or text: frames are left out."""
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
