"""Small media for tests: sounds with titles, pictures with names and short films, made of the demo's photos and sounds
and of what is drawn here; and the recipe of a space in which words join both."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from PIL import Image

from seehear.demo import MEDIA
from seehear.media.files import read_window
from seehear.methods.fusemix import FuseMixConfig
from seehear.nn.random import seed_of
from seehear.recipes import fusemix
from seehear.runs.config import LatentsConfig, Run

TITLES = {
    "dog": "a dog barks",
    "rain": "rain on a window",
    "cat": "a cat meows",
    "cow": "cows on a meadow",
    "train": "a train comes in",
    "car": "a car starts its engine",
    "piano": "somebody plays the piano",
    "trumpet": "a trumpet fanfare",
    "frogs": "frogs in a pond",
    "owl": "an owl hoots at night",
}
"""Class of a sound, and what its recordings are called."""
RATE = 48_000  # which Opus has
_COLUMNS = ("audio", "image", "video", "texts", "labels", "group", "split")


def hub_run() -> Run[LatentsConfig, FuseMixConfig]:
    """Text as the hub of sounds and pictures, a linear head, two epochs."""
    base = fusemix.base()
    pairs = (("video", "text"), ("audio", "text"))
    training = replace(base.train, epochs=2, evaluations=1, device="cpu")
    return replace(base, method=replace(base.method, pairs=pairs, head="linear"), train=training)


def row(kind: str, source: str, text: str, label: str = "", split: str = "") -> dict[str, str]:
    share = seed_of(source, "split") / 2**63
    split = split or ("test" if share < 0.2 else "val" if share < 0.35 else "train")
    return dict.fromkeys(_COLUMNS, "") | {
        kind: source, "texts": text, "labels": label, "group": source, "split": split
    }  # fmt: skip


def write_manifest(folder: Path, rows: Sequence[dict[str, str]]) -> Path:
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def sounds(folder: Path, each: int) -> list[dict[str, str]]:
    """`each` sounds of every class, in `folder`/sounds: one recording, higher or lower, from another moment on."""
    (folder / "sounds").mkdir(parents=True, exist_ok=True)
    rows = []
    for label, title in TITLES.items():
        wave = read_window(MEDIA / "sounds" / f"{label}.opus", 0.0, 10.0, rate=RATE).waveform
        for n in range(each):
            rng = np.random.default_rng(seed_of(label, n))
            times = np.arange(int(2.5 * RATE)) * rng.uniform(0.85, 1.15) + rng.uniform(0, len(wave))
            varied = np.interp(times % len(wave), np.arange(len(wave)), wave)
            varied += 0.003 * rng.standard_normal(len(varied))
            write_sound(folder / "sounds" / f"{label}-{n}.opus", varied.astype(np.float32))
            rows.append(row("audio", f"sounds/{label}-{n}.opus", f"{title}, take {n + 1}", label))
    return rows


def pictures(folder: Path, count: int) -> list[dict[str, str]]:
    """Photos with their names, in `folder`/pictures; when all are used, again from left to right."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    photos = sorted((MEDIA / "photos").glob("*.jpg"), key=lambda p: seed_of(p.name))
    rows = []
    for n in range(count):
        photo, again = photos[n % len(photos)], n // len(photos)
        source = f"pictures/{photo.stem}{'-mirrored' * again}.jpg"
        with Image.open(photo) as image:
            small = image.resize((160, 120))
            (small.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if again else small).save(folder / source)
        rows.append(row("image", source, photo.stem.replace("-", " ")))
    return rows


def films(folder: Path, count: int, *, inside: str = "") -> list[dict[str, str]]:
    """Short films, each of its own colours and pitch, in `folder`/`inside`."""
    (folder / inside).mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(count):
        colours = ((20 * n % 200, 60, 220 - 15 * n % 200), (240, 30 * n % 255, 90))
        source = f"{inside}/film-{n:02}.mp4".lstrip("/")
        film(folder / source, "libx264", "aac", seconds=1.5, colours=colours, pitch=150.0 + 60 * n)
        rows.append(row("video", source, f"square number {n} goes by", split="train"))
    return rows


def film(
    path: Path,
    picture: str,
    sound: str,
    *,
    seconds: float = 6.0,
    size: tuple[int, int] = (192, 128),
    colours: tuple[tuple[int, int, int], tuple[int, int, int]] = ((40, 60, 90), (240, 200, 90)),
    pitch: float = 220.0,
) -> None:
    """A square that moves from left to right over a ground, and a tone that rises."""
    width, height = size
    with av.open(str(path), "w") as container:
        video = container.add_stream(picture, rate=12, options={"preset": "ultrafast"} if picture == "libx264" else {})
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
        _encode(container, audio, samples, 44_100, 1152)


def write_sound(path: Path, samples: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        _encode(container, container.add_stream("libopus", rate=RATE, layout="mono"), samples, RATE, 960)


def _encode(container, stream, samples: np.ndarray, rate: int, step: int) -> None:
    for at in range(0, len(samples), step):
        part = av.AudioFrame.from_ndarray(samples[None, at : at + step], format="fltp", layout="mono")
        part.sample_rate, part.pts = rate, at
        container.mux(stream.encode(part))
    container.mux(stream.encode())


def copy_photos(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(MEDIA / "photos" / f"{name}.jpg", folder)
