"""A library of made-up clips, and a space whose model and encoders are arithmetic."""

import numpy as np

from seehear.library.tables import Clip, LibraryTables, Text, Vectors, content_key

WIDTH = 8
ANIMALS = ["dog", "cat", "bird", "horse", "bell", "rain"]


def unit(x):
    x = np.asarray(x, np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def meaning(word):
    return np.random.default_rng(ANIMALS.index(word)).normal(size=WIDTH)


def latent(word, modality, clip):
    """What an encoder would say: the meaning, some noise of the clip, and an offset of the modality."""
    noise = np.random.default_rng([hash_of(clip), len(modality)]).normal(size=WIDTH)
    return meaning(word) + 0.2 * noise + (0.5 if modality == "text" else 0.0)


def hash_of(text):
    return sum((i + 1) * ord(c) for i, c in enumerate(text))


class Space:
    """The model: divide by the norm. The encoders: a text is its first known word, a file is the word in its name."""

    dim = WIDTH
    modalities = ("video", "audio", "text")
    locked = ()

    def __init__(self, fingerprint="model-1", encoder="f1"):
        self.fingerprint = fingerprint
        self.encoders = {m: ({"name": f"toy-{m}", "fingerprint": encoder, "width": WIDTH},) for m in self.modalities}
        self.embedded = 0

    def encode_latents(self, latents):
        self.embedded += sum(len(x) for x in latents.values())
        return {m: unit(x) for m, x in latents.items()}

    def encode_query(self, items):
        found = []
        for item in items:
            kind = next(k for k in ("text", "audio", "video", "image") if k in item)
            word = next(w for w in ANIMALS if w in item[kind])
            found.append(unit(meaning(word) + (0.5 if kind == "text" else 0.0)))
        return np.stack(found)


def clip(n):
    word = ANIMALS[n % len(ANIMALS)]
    return Clip(
        id=f"{word}{n:02d}",
        source=f"{'farm' if n % 2 else 'town'}/{word}{n:02d}.mp4",
        start=0.0,
        end=1.0 + n,
        has_video=True,
        has_audio=n % 3 != 0,
        texts=(Text(f"here a {word} number {n}"), Text(f"it is {word} again", 0.25, 0.75)),
        labels=(word,) if n % 4 else (word, "it's loud"),
        group=f"g{n // 2}",
        split="test" if n >= 18 else "train",
        meta={"place": 'the "old" barn' if n % 2 else "street"},
    )


def rows(clips, modality, maker="f1"):
    """Latents of one modality of some clips."""
    own = {c.id: c for c in clips}
    keys = [(c.id, n) for c in clips if c.has(modality) for n in range(len(c.texts) if modality == "text" else 1)]
    words = [next(w for w in ANIMALS if w in i) for i, _ in keys]
    return Vectors(
        ids=[i for i, _ in keys],
        items=np.array([n for _, n in keys], np.int32),
        modalities=[modality] * len(keys),
        vectors=np.stack([latent(w, modality, f"{i}{n}") for w, (i, n) in zip(words, keys, strict=True)]),
        makers=[maker] * len(keys),
        contents=[content_key(own[i], modality, n, {}) for i, n in keys],
    )


def library(folder, num=24):
    made = LibraryTables.create(folder / "lib")
    made.add_root(folder)
    clips = [clip(n) for n in range(num)]
    made.put_clips(clips)
    for m in ("video", "audio", "text"):
        if any(c.has(m) for c in clips):
            made.vectors("latents", f"toy-{m}", WIDTH).append(rows(clips, m))
    return made
