"""Real clips with known noise and a known background mixed in, as latents: what `noise.py` trains and probes on.

    grid-s1    one speaker's sentences: face, voice, words; content: the colour and the digit that are named
    digits     spoken digits of six speakers beside drawn ones; one speaker is kept for the test. Content: the digit
    esc10      sounds of ten kinds with the titles their authors gave them; content: the kind

noise        in the sound only: white, brown, mains hum, clicks or babble (voices of another set)
background   in sound and picture: one of eight scenes of `home`, its frames around the content's picture, its sound
             under the content's. Train, val and test take the first half of a scene, the next 15 % and the rest
level        dB of the content's power over that of the noise, and over that of the background's sound

Background and noise are drawn independently of the content and of each other.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from fusemix_sets import table
from scipy.signal import resample_poly

from seehear.encoders.base import Encoder
from seehear.encoders.registry import load_encoder
from seehear.inputs.latents import LatentData
from seehear.media.files import VideoSpec, probe, read_window
from seehear.nn.random import seed_of

RATE, SIDE, FPS = 16_000, 160, 2.0
LEVELS = (20, 10, 0)
"""dB."""
NOISES = ("white", "brown", "hum", "clicks", "babble")
SCENES = {
    "crossing": ("IMG_0061.mp4", 0.0, 10.0),
    "fire": ("PXL_0003.mp4", 0.0, 12.0),
    "coffee shop": ("Office_day.mkv", 52.0, 190.0),
    "keyboard": ("Office_day.mkv", 0.0, 41.0),
    "rain": ("PXL_0006.mp4", 0.0, 12.0),
    "birds": ("IMG_0052.mp4", 0.0, 10.2),
    "wind": ("Summer_2019.mp4", 98.3, 115.3),
    "motor": ("small.webm", 0.0, 31.0),
}
"""File of `home`, start and end in seconds."""
_PART = {"train": (0.0, 0.5), "val": (0.5, 0.65), "test": (0.65, 1.0)}
ENCODERS = {"audio": ("aisfx", "speech#pool=segments:4"), "video": ("efficientnet-lite0",), "text": ("minilm",)}
NEW_SPEAKER = "yweweler"
_AT_ONCE = 60  # clips of a file of latents


@dataclass(frozen=True)
class Item:
    id: str
    split: str
    """train, val, test, or new: of the speaker who is in none of the others."""
    group: str
    """Source recording."""
    sound: np.ndarray
    """(S,) float32 at `RATE`."""
    frames: np.ndarray | None
    """(T, side, side, 3) uint8, what is pasted into the scene's frames; None: the scene alone is seen."""
    text: str
    factors: dict[str, str] = field(default_factory=dict)


def read_sound(path: Path) -> np.ndarray:
    sound = read_window(path, 0.0, probe(path).duration, rate=RATE).waveform
    assert sound is not None
    return sound


def grid(data: Path) -> Iterator[Item]:
    for r in table(data / "grid-s1" / "metadata.csv"):
        window = read_window(
            data / "grid-s1" / r["file"],
            0.0,
            float(r["duration"]),
            video=VideoSpec(num_frames=2, size=112, fit="crop"),
            rate=RATE,
        )
        share = random.Random(f"{r['id']} 0").random()
        split = "train" if share < 0.72 else "val" if share < 0.82 else "test"
        assert window.waveform is not None
        factors = {"colour": r["color"], "digit": r["digit"]}
        yield Item(r["id"], split, r["id"], window.waveform, window.frames, r["text"], factors)


def digits(data: Path) -> Iterator[Item]:
    """A second of sound with the digit in its middle, beside a drawn digit that no other clip has."""
    with np.load(data / "digits" / "mnist10k.npz") as drawings:
        of = {str(d): iter(drawings["images"][drawings["labels"] == d]) for d in range(10)}
    for r in table(data / "digits" / "audio.csv"):
        if (take := int(r["take"])) >= 12:
            continue
        split = "test" if take < 3 else "val" if take < 5 else "train"
        split = "new" if r["speaker"] == NEW_SPEAKER else split
        sound = read_sound(data / "digits" / r["file"])[:RATE]
        left = (RATE - len(sound)) // 2
        sound = np.pad(sound, (left, RATE - len(sound) - left))
        drawing = np.kron(next(of[r["digit"]]), np.ones((4, 4), np.uint8))[..., None].repeat(3, axis=-1)
        factors = {"digit": r["digit"], "speaker": r["speaker"]}
        yield Item(Path(r["file"]).stem, split, r["file"], sound, drawing[None], r["word"], factors)


def sounds(data: Path) -> Iterator[Item]:
    """Fold 4 is the test set; an eighth of the other recordings validate. A sound without a word in its title is left
    out."""
    for r in table(data / "esc10" / "metadata.csv"):
        title = re.sub(r"[^a-z]+", " ", Path(r["freesound_title"]).stem.lower()).strip()
        share = random.Random(r["freesound_url"]).random()
        split = "test" if r["fold"] == "4" else "val" if share < 0.125 else "train"
        sound = read_sound(data / "esc10" / r["file"])
        if title:
            yield Item(r["file"], split, r["freesound_url"], sound, None, title, {"kind": r["label"]})


SETS: dict[str, Callable[[Path], Iterator[Item]]] = {"grid-s1": grid, "digits": digits, "esc10": sounds}


# -- mixing ------------------------------------------------------------------------------------------------------------


@cache
def scene(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """((S,) sound, (T, SIDE, SIDE, 3) frames, `FPS` a second)"""
    file, start, end = SCENES[name]
    spec = VideoSpec(fps=FPS, size=SIDE, fit="crop")
    window = read_window(data / "home" / "files" / file, start, end, video=spec, rate=RATE)
    assert window.waveform is not None
    assert window.frames is not None
    return window.waveform, window.frames


def cut_scene(data: Path, name: str, split: str, length: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """A random stretch of the split's part of a scene, `length` samples; the part is repeated where it is shorter."""
    sound, frames = scene(data, name)
    low, high = _PART["test" if split == "new" else split]
    part = sound[int(low * len(sound)) : int(high * len(sound))]
    start = int(rng.integers(len(part)))
    seconds = low * len(sound) / RATE + start / RATE
    shown = [int((seconds + k / FPS) * FPS) for k in range(2)]
    limit = int(high * len(frames)) - 1
    return np.resize(np.roll(part, -start), length), frames[[min(n, limit) for n in shown]]


@cache
def voices(data: Path, of: str, split: str) -> tuple[np.ndarray, ...]:
    """Recordings that babble is made of: 60 for training, 60 others for the rest."""
    folder = {"digits": data / "digits" / "audio", "grid-s1": data / "grid-s1" / "clips"}[of]
    files = sorted(folder.iterdir(), key=lambda p: random.Random(p.name).random())
    return tuple(read_sound(p) for p in (files[:60] if split == "train" else files[60:120]))


def make_noise(kind: str, length: int, rng: np.random.Generator, spoken: tuple[np.ndarray, ...]) -> np.ndarray:
    if kind == "white":
        return rng.normal(size=length)
    if kind == "brown":
        spectrum = np.fft.rfft(rng.normal(size=length))
        return np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)) * RATE / length, 20.0), length)
    if kind == "hum":
        time, base = np.arange(length) / RATE, rng.uniform(45, 65)
        return sum(np.sin(2 * np.pi * (base * k * time + rng.random())) / k for k in range(1, 12))
    if kind == "clicks":
        hits = (rng.random(length) < rng.uniform(6, 14) / RATE) * rng.normal(size=length)
        hits[int(rng.integers(length))] = 1.0
        decay = np.exp(-np.arange(200) / 30.0) * rng.choice([-1.0, 1.0], 200)
        return np.convolve(hits, decay)[:length]
    parts = [spoken[int(n)] for n in rng.integers(len(spoken), size=6)]
    return sum(np.roll(np.resize(p, length), int(rng.integers(length))) / (p.std() + 1e-9) for p in parts)


def mix(sound: np.ndarray, parts: list[np.ndarray], level: float) -> np.ndarray:
    """`sound` with each part `level` dB below it, scaled into [-1, 1]."""
    power = np.mean(sound**2.0)
    scaled = [p * np.sqrt(power / max(np.mean(p**2.0), 1e-12)) * 10 ** (-level / 20) for p in parts]
    mixed = sound + np.sum(scaled, axis=0)
    return (0.9 * mixed / np.abs(mixed).max()).astype(np.float32)


def compose(background: np.ndarray, frames: np.ndarray | None) -> np.ndarray:
    """The content's frames in the middle of the scene's."""
    if frames is None:
        return background[:1]
    shown = background[: len(frames)].copy()
    edge = (SIDE - frames.shape[1]) // 2
    shown[:, edge : SIDE - edge, edge : SIDE - edge] = frames
    return shown


# -- latents -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mixed:
    data: LatentData
    factors: dict[str, np.ndarray]
    """Labels by factor, one a clip: noise, background and those of the content."""


def mixed(name: str, data: Path, work: Path) -> dict[int, Mixed]:
    """Latents of a set at every level, encoded at the first call. A clip has the same noise and background at each."""
    parts = encoded(name, data, work)
    arrays = {key: np.concatenate([p[key] for p in parts]) for key in parts[0] if not key.startswith("widths/")}
    infos = {
        m: [
            {"name": n, "modality": m, "width": int(w), "fingerprint": ""}
            for n, w in zip(names, parts[0][f"widths/{m}"], strict=True)
        ]
        for m, names in ENCODERS.items()
    }
    groups = np.unique(arrays["group"], return_inverse=True)[1]
    columns = {"ids": arrays["id"].tolist(), "splits": arrays["split"].tolist(), "groups": groups, "encoders": infos}
    factors = {k.removeprefix("is/"): v for k, v in arrays.items() if k.startswith("is/")}
    made = {}
    for level in LEVELS:
        latents = {"video": arrays["video"], "audio": arrays[f"audio/{level}"], "text": arrays["text"]}
        made[level] = Mixed(LatentData.from_arrays(latents, **columns), factors)
    return made


def encoded(name: str, data: Path, work: Path) -> list[dict[str, np.ndarray]]:
    """What `encode` gives of every `_AT_ONCE` clips; a part that is finished is not made again."""
    work.mkdir(parents=True, exist_ok=True)
    if not (done := work / f"{name}.done").exists():
        encoders = {m: [load_encoder(n, device="cpu") for n in names] for m, names in ENCODERS.items()}
        items = SETS[name](data)
        for number in count():
            if not (some := list(islice(items, _AT_ONCE))):
                break
            if not (file := work / f"{name}-{number:02d}.npz").exists():
                np.savez(file.with_suffix(".part.npz"), **encode(name, some, data, encoders))
                file.with_suffix(".part.npz").replace(file)
        done.touch()
    parts = []
    for file in sorted(work.glob(f"{name}-[0-9][0-9].npz")):
        with np.load(file, allow_pickle=False) as held:
            parts.append(dict(held))
    return parts


def encode(name: str, items: list[Item], data: Path, encoders: Mapping[str, list[Encoder]]) -> dict[str, np.ndarray]:
    """Arrays with a row a clip: latents, `id`, `split`, `group`, and its factors as `is/FACTOR`."""
    rows: dict[str, list[np.ndarray]] = {}
    about: dict[str, list[str]] = {}

    def note(key: str, m: str, prepared: list[Any]) -> None:
        vectors = [e.encode([x])[0] for e, x in zip(encoders[m], prepared, strict=True)]
        rows.setdefault(key, []).append(np.concatenate(vectors).astype(np.float16))

    for item in items:
        rng = np.random.default_rng(seed_of(0, name, item.id))
        drawn = {"noise": str(rng.choice(NOISES)), "background": str(rng.choice(list(SCENES)))}
        under, frames = cut_scene(data, drawn["background"], item.split, len(item.sound), rng)
        spoken = voices(data, "digits" if name == "grid-s1" else "grid-s1", item.split)
        noise = make_noise(drawn["noise"], len(item.sound), rng, spoken)
        for level in LEVELS:
            sound = mix(item.sound, [noise, under], level)
            note(f"audio/{level}", "audio", [resample_poly(sound, 441, 160).astype(np.float32), sound])
        note("video", "video", [compose(frames, item.frames)])
        note("text", "text", [item.text])
        columns = {"id": item.id, "split": item.split, "group": item.group}
        for key, value in (columns | {f"is/{k}": v for k, v in (drawn | item.factors).items()}).items():
            about.setdefault(key, []).append(value)
    arrays = {key: np.stack(own) for key, own in rows.items()} | {key: np.array(own) for key, own in about.items()}
    return arrays | {f"widths/{m}": np.array([e.width for e in own]) for m, own in encoders.items()}
