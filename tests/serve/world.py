"""A small library of real media from the packaged demo, with two runs and a file that browsers do not play."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from seehear.data.clips import PrepareOptions
from seehear.data.encode import encode_library
from seehear.data.latents import load_latents
from seehear.data.library import Library
from seehear.data.prepare import prepare
from seehear.demo import MEDIA, run
from seehear.nn.random import seed_of
from seehear.recipes.data import LatentInputs
from seehear.recipes.run import finish
from seehear.search.index import build_index
from seehear.space import SharedSpace

SOUNDS, PICTURES, CLIPS = 6, 45, 8
"""Sounds of each class; pictures and clips in all."""
TALK = "talk/morning.avi"
SECONDS = 6.0
TRAIN = "talk/train.mp4"
TOLD = [
    (0, 5, [{"text": "the lamps are lit one by one", "start": 1.0, "end": 3.0}]),
    (
        5,
        11,
        [
            {"text": "the last train leaves the station", "start": 7.5, "end": 9.0},
            {"text": "and the platform is empty", "start": 9.0, "end": 10.5},
        ],
    ),
]
"""Clips of one recording of 12 seconds, with what is said when."""
NIGHT = 'night <3 & "day"'
"""A label that a page must not take for markup."""


def build(folder: Path) -> Path:
    """`folder/lib`, its media in `folder/media`."""
    media = folder / "media"
    rows = chosen()
    for row in rows:
        for kind in ("audio", "image", "video"):
            if row[kind]:
                (media / row[kind]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(MEDIA / row[kind], media / row[kind])
    (media / "talk").mkdir()
    film(media / TALK, "mpeg4", "mp3")
    rows = [row | {"start": "", "end": ""} for row in rows]
    rows.append(dict.fromkeys(rows[0], "") | {"video": TALK, "texts": "a square moves from left to right"})
    film(media / TRAIN, "libx264", "aac", seconds=12.0, colours=((230, 225, 210), (160, 30, 40)), pitch=900.0)
    for start, end, texts in TOLD:
        told = {"video": TRAIN, "start": start, "end": end, "texts": json.dumps(texts), "labels": NIGHT}
        rows.append(dict.fromkeys(rows[0], "") | told)
    with open(media / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    prepare(media / "manifest.csv", folder / "lib", PrepareOptions(workers=0))
    library = Library.open(folder / "lib")
    encode_library(library, ["efficientnet-lite0", "logmel", "minilm"], workers=0, device="cpu")
    data = load_latents(library)
    for name, dim in (("early", 64), ("late", 256)):
        base = run()
        short = replace(base.train, epochs=2, evaluations=1)
        finish(
            LatentInputs(data), replace(base, train=short, method=replace(base.method, dim=dim)), folder / "runs" / name
        )
        space = SharedSpace.from_pretrained(folder / "runs" / name, device="cpu")
        build_index(library, space, name=name, model=str(folder / "runs" / name))
    return folder / "lib"


def chosen() -> list[dict[str, str]]:
    with open(MEDIA / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: seed_of(row["audio"], row["image"], row["video"]))
    kept, of_label = [], {}
    for row in rows:
        label = row["labels"] if row["audio"] else "picture" if row["image"] else "clip"
        of_label[label] = of_label.get(label, 0) + 1
        if of_label[label] <= {"picture": PICTURES, "clip": CLIPS}.get(label, SOUNDS):
            kept.append(row)
    return kept


def film(
    path: Path,
    picture: str,
    sound: str,
    *,
    seconds: float = SECONDS,
    size: tuple[int, int] = (192, 128),
    colours: tuple[tuple[int, int, int], tuple[int, int, int]] = ((40, 60, 90), (240, 200, 90)),
    pitch: float = 220.0,
) -> None:
    """A square that moves from left to right over a ground, and a tone that rises."""
    width, height = size
    with av.open(str(path), "w") as container:
        video = container.add_stream(picture, rate=12)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream(sound, rate=44_100, layout="mono")
        frames = int(12 * seconds)
        for n in range(frames):
            pixels = np.full((height, width, 3), colours[0], np.uint8)
            left = int((width - 32) * n / frames)
            pixels[height // 2 - 16 : height // 2 + 16, left : left + 32] = colours[1]
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")))
        container.mux(video.encode())
        times = np.arange(int(44_100 * seconds)) / 44_100
        samples = (0.4 * np.sin(2 * np.pi * (pitch + 60 * times) * times)).astype(np.float32)
        for at in range(0, len(samples), 1152):
            part = av.AudioFrame.from_ndarray(samples[None, at : at + 1152], format="fltp", layout="mono")
            part.sample_rate, part.pts = 44_100, at
            container.mux(audio.encode(part))
        container.mux(audio.encode())
