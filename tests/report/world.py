"""A small library of real pictures and sounds with hostile names and words, and a run that was trained and evaluated on
it. Latents are made up: noisy views of the word that a clip is of."""

import json
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from seehear.encoders.base import Encoder
from seehear.library.records import fingerprint
from seehear.library.tables import Clip, LibraryTables, Reject, Source, Text, Vectors, content_key
from seehear.runs.config import recipe
from seehear.runs.run import train_run

HOSTILE = "<script>alert('x')</script> & \"quotes\""
WORDS = ["dog", HOSTILE, "rain", "crow"]
WIDTHS = {"video": 12, "audio": 10, "text": 9}
MAPS = {m: np.random.default_rng(w).normal(size=(6, w)) for m, w in WIDTHS.items()}
CLIPS = 96


class Says(Encoder):
    """A text encoder that knows the words."""

    name, modality, width, fingerprint = "says", "text", WIDTHS["text"], "f-text"

    def prepare(self, sample):
        return sample.text

    def encode(self, prepared):
        return np.stack([hidden(t) @ MAPS["text"] for t in prepared]).astype(np.float32)


def hidden(word):
    return np.random.default_rng(WORDS.index(word)).normal(size=6)


def clip(n):
    word = WORDS[n % 4]
    picture = f"pictures/{n:02d} {'<b>' if n % 4 == 1 else ''}.png"
    return Clip(
        id=picture,
        source=picture,
        audio_source=f"sounds/{n:02d}.wav" if n % 3 else "",
        start=0.0,
        end=0.5 if n % 3 else 0.0,
        texts=(Text(word),) if n % 5 else (Text(word), Text("crow")),
        has_video=True,
        has_audio=n % 3 != 0,
        labels=(word,),
        group=f"g{n // 2}",
        split="train" if n < 40 else "val" if n < 56 else "test",
    )


def put_media(folder, clips):
    for n, one in enumerate(clips):
        path = folder / one.source
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(n).integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        if one.has_audio:
            put_sound(folder / one.audio_source, 0.5, 300 + 5 * n)


def put_sound(path, seconds, hertz, rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((0.5 * 32767 * tone).astype("<i2").tobytes())


def latents(clips, m, sources):
    keys = [(c, i) for c in clips if c.has(m) for i in range(len(c.texts) if m == "text" else 1)]
    rng = np.random.default_rng(len(m))
    z = [hidden(c.texts[i].text) if m == "text" else hidden(c.labels[0]) for c, i in keys]
    own = [np.random.default_rng(CLIPS + int(c.id[9:11])).normal(size=6) for c, _ in keys]
    x = (np.stack(z) + 0.7 * np.stack(own) + 0.3 * rng.normal(size=(len(keys), 6))) @ MAPS[m]
    contents = [content_key(c, m, i, sources) for c, i in keys]
    items = np.array([i for _, i in keys], np.int32)
    return Vectors([c.id for c, _ in keys], items, [m] * len(keys), x, [f"f-{m}"] * len(keys), contents)


def make_library(folder: Path) -> LibraryTables:
    media = folder / "media"
    clips = [clip(n) for n in range(CLIPS)]
    put_media(media, clips)
    library = LibraryTables.create(folder / "lib")
    library.add_root(media)
    paths = dict.fromkeys(p for c in clips for p in (c.source, c.audio_source) if p)
    library.put_sources(
        [Source(source=p, size=1, mtime_ns=1, fingerprint=fingerprint(media / p), duration=0.5) for p in paths]
    )
    library.put_clips(clips)
    library.put_rejects([Reject(path="<i>bad</i>.mp4", stage="prepare", reason="no film & no sound")])
    for m, width in WIDTHS.items():
        name = "says" if m == "text" else f"enc-{m}"
        library.vectors("latents", name, width).append(latents(clips, m, library.sources()))
        library.set_about(f"encoder:{name}", json.dumps({"fingerprint": f"f-{m}", "width": width, "modality": m}))
    return library


def train(library: LibraryTables, folder: Path) -> Path:
    run = recipe("fusemix")
    method = replace(run.method, dim=6, head="linear", dropout=0.1)
    training = replace(run.train, device="cpu", epochs=6, evaluations=3, batch_size=32, fast_matmul=False, log_every=1)
    train_run(library, replace(run, method=method, train=training), folder, command="seehear train lib <fusemix>")
    return folder
