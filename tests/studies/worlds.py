"""Views of hidden vectors, as latents and as a library; some encoders see better than others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from seehear.inputs.latents import LatentData
from seehear.library.tables import Clip, LibraryTables, Source, Text, Vectors, content_key

WIDTH = 16


def views(n: int, noises: Sequence[float], *, seed: int = 0, hidden: int = 8) -> list[np.ndarray]:
    """One (n, 16) for each noise, of the same hidden vectors."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, hidden))
    return [z @ rng.normal(size=(hidden, WIDTH)) + noise * rng.normal(size=(n, WIDTH)) for noise in noises]


def data(
    n: int = 400,
    *,
    video: Sequence[float] = (2.0,),
    text: Sequence[float] = (2.0,),
    held_out: int = 150,
    clips_of_a_group: int = 2,
    seed: int = 0,
) -> LatentData:
    """Encoders `video0`, `video1`, ... with so much noise each, side by side; the last clips are val and test."""
    all_views = views(n, [*video, *text], seed=seed)
    own = {"video": all_views[: len(video)], "text": all_views[len(video) :]}
    info = {
        m: [{"name": f"{m}{i}", "modality": m, "width": WIDTH, "fingerprint": str(i)} for i in range(len(own[m]))]
        for m in own
    }
    half = held_out // 2
    return LatentData.from_arrays(
        {m: np.concatenate(v, axis=1).astype(np.float16) for m, v in own.items()},
        splits=["train"] * (n - 2 * half) + ["val"] * half + ["test"] * half,
        groups=np.arange(n) // clips_of_a_group,
        encoders=info,
    )


def put_latents(library: LibraryTables, clips: list[Clip], encoders: Mapping[str, tuple[str, np.ndarray]]) -> None:
    """Stores the clips, each of a file of its own, and (modality, a row a clip) of each encoder."""
    library.put_clips(clips)
    library.put_sources([Source(source=c.source, size=1, mtime_ns=1, fingerprint=c.source) for c in clips])
    sources, n = library.sources(), len(clips)
    for name, (m, latents) in encoders.items():
        width = latents.shape[1]
        library.set_about(f"encoder:{name}", json.dumps({"modality": m, "width": width, "fingerprint": "f" * 16}))
        contents = [content_key(c, m, 0, sources) for c in clips]
        rows = Vectors([c.id for c in clips], np.zeros(n, np.int32), [m] * n, latents, ["f" * 16] * n, contents)
        library.vectors("latents", name, width).append(rows)


def films_with_texts(folder: Path, video: np.ndarray, text: np.ndarray) -> LibraryTables:
    """A clip a row without media, three of four to train on, with latents of the encoders 'eyes' and 'words'."""
    made = LibraryTables.create(folder)
    clips = [
        Clip(
            id=f"c{i:03d}",
            source=f"v{i:03d}.mp4",
            has_video=True,
            texts=(Text(f"text {i}"),),
            group=f"g{i}",
            split=("train", "train", "train", "val")[i % 4],
        )
        for i in range(len(video))
    ]
    put_latents(made, clips, {"eyes": ("video", video), "words": ("text", text)})
    return LibraryTables.open(folder)


def library(folder: Path, n: int = 200) -> LibraryTables:
    """The same as a library, with one encoder of each modality."""
    made = LibraryTables.create(folder)
    splits = ["train"] * (n - 80) + ["val"] * 40 + ["test"] * 40
    clips = [
        Clip(id=f"c{i:03d}", texts=(Text(f"text {i}"),), has_video=True, group=f"g{i // 2}", split=splits[i])
        for i in range(n)
    ]
    made.put_clips(clips)
    for m, vectors in zip(("video", "text"), views(n, (1.0, 1.0)), strict=True):
        rows = Vectors(
            [c.id for c in clips],
            np.zeros(n, np.int32),
            [m] * n,
            vectors,
            [f"f-{m}"] * n,
            [content_key(c, m, 0, {}) for c in clips],
        )
        made.vectors("latents", f"enc-{m}", WIDTH).append(rows)
        made.set_about(f"encoder:enc-{m}", json.dumps({"fingerprint": f"f-{m}", "width": WIDTH, "modality": m}))
    return made
