"""Files made to do harm: pickles where tensors are expected, checkpoints that run code, paths that lead out of the
media, sizes that are not true. Refused in one line or set aside; nothing runs, and memory stays bounded."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.faults.stages import Reference
from seehear.library.tables import LibraryTables
from tests.faults.outcome import Ended, Outcome, outcome, run
from tests.library.makers import film, picture, sound

MOST_MEMORY = 3 * 2**30
"""Bytes that no process may come to need."""


class Harm:
    """A pickle of it makes a file when it is read."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.mark}'",)


def malicious(reference: Reference, folder: Path) -> list[Outcome]:
    folder.mkdir(parents=True)
    return [_code(reference, folder), _paths(folder / "paths"), _sizes(folder / "sizes"), _models(reference)]


# -- code --------------------------------------------------------------------------------------------------------------


def _code(reference: Reference, folder: Path) -> Outcome:
    """Pickles under every name that a run, a model, a shard or an encoder may have."""
    with outcome("pickles and checkpoints that run code") as found:
        mark = folder / "ran"
        harm = {"raw": pickle.dumps(Harm(mark)), "torch": _torch(folder / "harm.pt", Harm(mark))}
        work = reference.work
        for kind, content in harm.items():
            work.copy_of(reference.folder / "finished")
            checkpoint = max((work.run / "checkpoints").glob("step-*.safetensors"))
            checkpoint.write_bytes(content)
            resumed = run(work.words("train", again=True))
            found.check(resumed.status == 0, f"{kind} checkpoint: the one before it was not taken: {resumed.complaint}")
            wrong = reference.differences("index")
            found.check(not wrong, f"{kind} checkpoint: differs: {', '.join(wrong)}")
            for name in ("model.safetensors", "config.json"):
                work.copy_of(reference.folder / "finished")
                (work.run / "model" / name).write_bytes(content)
                _refused(found, f"{kind} as {name}", run(work.words("index")))
            work.copy_of(reference.folder / "finished")
            (work.run / "config.json").write_bytes(content)
            _refused(found, f"{kind} as the run's config.json", run(work.words("train", again=True)))
            _refused(found, f"{kind} in a hub folder", run(_hub(reference, folder / f"hub {kind}", content)))
            found.tried += 5
        found.check(not mark.exists(), "code of a file was run")
    return found


def _torch(path: Path, value: object) -> bytes:
    torch.save({"model/w": value}, path)
    return path.read_bytes()


def _hub(reference: Reference, folder: Path, content: bytes) -> list[str]:
    """A folder of a transformers model whose weights are a pickle."""
    folder.mkdir()
    config = {"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config |= {"intermediate_size": 8, "image_size": 8, "patch_size": 4, "architectures": ["ViTModel"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "pytorch_model.bin").write_bytes(content)
    return ["encode", str(reference.work.library), "--encoders", f"hub:{folder}", "--workers", "1", "--device", "cpu"]


def _refused(found: Outcome, what: str, ended: Ended) -> None:
    _bounded(found, ended)
    found.check(ended.is_clear, f"{what}: status {ended.status}, not one clear line: {ended.complaint}")


# -- paths -------------------------------------------------------------------------------------------------------------


def _paths(folder: Path) -> Outcome:
    """A manifest whose paths lead out of the media folder."""
    with outcome("paths that lead out of the media folder") as found:
        media, secret = folder / "media", folder / "secret"
        for place in (media, secret):
            place.mkdir(parents=True)
            sound(place / "a.wav", seconds=0.2, rate=8000)
        (media / "loop").symlink_to(media, target_is_directory=True)
        (media / "nowhere.wav").symlink_to(folder / "no such file.wav")
        os.mkfifo(media / "pipe.wav")
        rows = [
            "a.wav",
            "../secret/a.wav",
            "x/../../secret/a.wav",
            "..\\\\secret\\\\a.wav",
            "a\\u0000.wav",
            "/dev/zero",
        ]
        rows += ["file:///etc/passwd", "nowhere.wav", "pipe.wav", "/proc/self/mem", "n" * 5000 + ".wav", ".", "loop"]
        lines = ['{"file": "' + name + '", "text": "words"}' for name in rows]
        (media / "m.jsonl").write_text("\n".join(lines) + "\n")
        done = run(["prepare", media / "m.jsonl", "--library", folder / "lib", "--workers", "1", "--time-limit", "20"])
        found.tried = len(rows)
        found.check(done.status == 0, f"status {done.status}: {done.complaint}")
        library = LibraryTables.open(folder / "lib")
        found.check([clip.source for clip in library.clips()] == ["a.wav"], f"{[c.source for c in library.clips()]}")
        found.numbers["set aside"] = len(library.rejects())
        found.check(len(library.rejects()) == len(rows) - 1, f"{len(library.rejects())} set aside of {len(rows) - 1}")
        walked = run(["prepare", media, "--library", folder / "walked", "--workers", "1", "--time-limit", "20"])
        found.check(walked.status == 0, f"a folder with a pipe and a loop of links: {walked.complaint}")
    return found


# -- sizes -------------------------------------------------------------------------------------------------------------


def _sizes(folder: Path) -> Outcome:
    with outcome("declared sizes that are not true") as found:
        media, library = folder / "media", folder / "lib"
        media.mkdir(parents=True)
        for make in (_bomb, _wav, _mp4, _long, _gif):
            make(media)
        picture(media / "good.png")
        film(media / "good.mp4", seconds=0.5, audio=None)
        files = len(list(media.iterdir()))
        limits = ["--workers", "1", "--time-limit", "60"]
        done = run(["prepare", media, "--library", library, *limits])
        found.check(done.status == 0, f"prepare: status {done.status}: {done.complaint}")
        encoded = run(["encode", library, "--encoders", "grey", "logmel", "--workers", "1"])
        found.check(encoded.status == 0, f"encode: status {encoded.status}: {encoded.complaint}")
        made = LibraryTables.open(library)
        sources = {clip.source for clip in made.clips()}
        refused = {reject.path for reject in made.rejects()}
        found.tried = files
        found.check({"good.png", "good.mp4"} <= sources, f"the good ones are missing: {sorted(sources)}")
        found.check(made.count_clips() < 20 * files, f"{made.count_clips()} clips of {files} files")
        counted = {path.name for path in media.iterdir()}
        found.check(counted <= sources | refused, f"not counted: {sorted(counted - sources - refused)}")
        found.numbers = {"usable": len(sources), "clips": made.count_clips()}
        _bounded(found, done, encoded)
    return found


def _bounded(found: Outcome, *ended: Ended) -> None:
    most = max([found.numbers.get("most memory, MB", 0), *(one.memory >> 20 for one in ended)])
    found.numbers["most memory, MB"] = found.memory_mb = most
    found.check(most < MOST_MEMORY >> 20, f"a process came to need {most:,} MB")


def _bomb(media: Path) -> None:
    """PNGs of a few KB that claim, and hold, a great many pixels."""
    for name, side in (("bomb.png", 30_000), ("claim.png", 2**31 - 1)):
        head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        packed = zlib.compress(bytes(min(side, 30_000) * (min(side, 30_000) // 8 + 1)), 9)
        chunks = [(b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")]
        content = b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
        (media / name).write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def _wav(media: Path) -> None:
    """Headers that declare 4 GB of samples, 65,535 channels, 4 GHz."""
    content = bytearray(sound(media / "huge.wav", seconds=0.2, rate=8000).read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = content[4:8] = b"\xf0\xff\xff\xff"
    (media / "huge.wav").write_bytes(content)
    for name, place, value in (("channels.wav", 22, b"\xff\xff"), ("rate.wav", 24, b"\xff\xff\xff\xff")):
        other = bytearray(content)
        other[place : place + len(value)] = value
        (media / name).write_bytes(other)


def _mp4(media: Path) -> None:
    """Track and sample tables that declare 65,535 x 65,535 pixels, four thousand million samples."""
    content = film(media / "wide.mp4", seconds=0.5, audio=None).read_bytes()
    wide = bytearray(content)
    at = content.index(b"avc1")
    wide[at + 28 : at + 32] = b"\xff\xff\xff\xff"
    (media / "wide.mp4").write_bytes(wide)
    for box in (b"stsz", b"stts", b"stco", b"stsc"):
        other, at = bytearray(content), content.index(box)
        place = at + (12 if box == b"stsz" else 8)
        other[place : place + 4] = b"\xff\xff\xff\xff"
        (media / f"{box.decode()}.mp4").write_bytes(other)


def _long(media: Path) -> None:
    """A Matroska file whose last frame comes after thirty years."""
    times = [0.0, 0.1, 0.2, 1e9]
    film(media / "long.mkv", audio=None, times=times)


def _gif(media: Path) -> None:
    """65,535 x 65,535 pixels in 800 bytes."""
    (media / "wide.gif").write_bytes(
        b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b"," + bytes(4) + b"\xff\xff\xff\xff\0"
    )


# -- models ------------------------------------------------------------------------------------------------------------


def _models(reference: Reference) -> Outcome:
    """A model folder that asks for more than it holds."""
    with outcome("models that ask for memory they do not fill") as found:
        work, finished = reference.work, reference.folder / "finished"
        config = json.loads((finished / "run" / "model" / "config.json").read_text())
        heads = {"header of 2**62 bytes": struct.pack("<Q", 2**62), "header of 90 MB": struct.pack("<Q", 90_000_000)}
        claims = b'{"w":{"dtype":"F32","shape":[1000000000,1000000],"data_offsets":[0,4000000000000000]}}'
        heads["tensors of 4 PB"] = struct.pack("<Q", len(claims)) + claims
        for what, content in heads.items():
            work.copy_of(finished)
            (work.run / "model" / "model.safetensors").write_bytes(content)
            _refused(found, what, run(work.words("index")))
            found.tried += 1
        for change in ({"dim": 10**9}, {"widths": {"video": 10**12, "text": 16, "audio": 128}}, {"dim": "wide"}):
            work.copy_of(finished)
            asked = config | {"config": config["config"] | change}
            (work.run / "model" / "config.json").write_text(json.dumps(asked))
            _refused(found, f"config {change}", run(work.words("index")))
            found.tried += 1
        odd = json.dumps(config | {"encoders": {"video": [{"name": "x"}]}})
        for text in (odd, "[]", "3", '{"method": 1, "config": 2, "encoders": 3}', "{" * 9000, "\x00"):
            work.copy_of(finished)
            (work.run / "model" / "config.json").write_text(text)
            _refused(found, f"config.json {text[:40]!r}", run(work.words("index")))
            found.tried += 1
        shutil.rmtree(work.folder)
    return found
