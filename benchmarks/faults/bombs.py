"""Attacks by small files (`builders.py`): each is refused in one line, set aside, or borne; none takes the machine's
memory, hours of its time, files that are not part of the library, or runs code."""

from __future__ import annotations

import shutil
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults import builders
from benchmarks.faults.stages import Reference
from seehear.datasets.features import opened
from seehear.datasets.pickles import read_pickle
from seehear.encoders.wordfiles import open_word_file
from seehear.errors import SeehearError
from seehear.library.tables import LibraryTables
from tests.faults.outcome import Command, Ended, Outcome, called, outcome, run
from tests.library.makers import picture

MOST_MEMORY = 1200 << 20
"""Bytes: 600 MB for the file, and the 600 MB that a process with all packages needs for a good one."""
GUARD = 3 << 30
"""Bytes beyond which an attack is ended, so that it does not harm the machine that runs the campaign."""
_LIMITS = {"seconds": 60.0, "memory": GUARD}
_WAIT = 20.0
"""Seconds that the server may let others wait."""


def bombs(reference: Reference, folder: Path) -> list[Outcome]:
    folder.mkdir(parents=True)
    parts = [_pictures, _uploads, _storms, _readers, _code]
    return [part(reference, folder / part.__name__.strip("_")) for part in parts]


def note(found: Outcome, name: str, kind: str, *ended: Ended, allowed: int = MOST_MEMORY) -> None:
    """Count an attack by how it ended: refused, set aside, survived, or anything else, which is wrong."""
    memory = max((one.memory for one in ended), default=0)
    seconds = round(sum(one.seconds for one in ended), 1)
    good = kind in ("refused", "set aside", "survived")
    found.tried += 1
    found.memory_mb = max(found.memory_mb, memory >> 20)
    found.check(good, f"{name}: {kind}")
    found.check(memory < allowed, f"{name}: a process came to need {memory >> 20:,} MB")
    counts = Counter(found.numbers.get("counts", {})) + Counter([kind if good else "wrong"])
    attacks = found.numbers.get("attacks", {})
    attacks[name] = {"outcome": kind[:200], "seconds": seconds, "MB": memory >> 20}
    found.numbers = {"counts": dict(counts), "attacks": attacks}


# -- media -------------------------------------------------------------------------------------------------------------


def _prepared(media: Path, good: str, bad: str) -> tuple[str, list[Ended]]:
    """Fate of a file among the media, and the commands that read it."""
    library = media.parent / f"{media.name} lib"
    words: list[str | Path] = ["prepare", media, "--library", library, "--workers", "1", "--time-limit", "30"]
    ended = [run(words, limits=_LIMITS)]
    if not ended[0].status:
        words = ["encode", library, "--encoders", "grey", "--workers", "1"]
        ended.append(run(words, limits=_LIMITS))
    if ended[-1].status:
        return f"status {ended[-1].status}: {ended[-1].complaint.splitlines()[-1]}", ended
    made = LibraryTables.open(library)
    sources, rejects = {clip.source for clip in made.clips()}, {r.path: r.reason for r in made.rejects()}
    if good not in sources:
        return f"{good} was lost: {rejects.get(good, 'not counted')}", ended
    if slow := [reason for reason in rejects.values() if "time limit" in reason or "crashed" in reason]:
        return slow[0], ended
    return ("set aside" if rejects else "survived" if bad in sources else "not counted"), ended


def _pictures(_: Reference, folder: Path) -> Outcome:
    with outcome("picture bombs by bytes: prepare, encode") as found:
        for name, content in builders.PICTURES.items():
            media = folder / name.replace(".", " ")
            media.mkdir(parents=True)
            (media / name).write_bytes(content())
            picture(media / "good.png")
            kind, ended = _prepared(media, "good.png", name)
            note(found, name, kind, *ended)
    return found


def _storms(_: Reference, folder: Path) -> Outcome:
    with outcome("tag storms in subtitles") as found:
        for name in builders.STORMS:
            for embedded in (False, True):
                media = folder / f"{name} {embedded}".replace(".", " ")
                media.mkdir(parents=True)
                film = builders.storm(media, name, embedded=embedded).name
                kind, ended = _prepared(media, film, film)
                note(found, f"{name} {'embedded' if embedded else 'beside'}", kind, *ended)
    return found


# -- server ------------------------------------------------------------------------------------------------------------


def _uploads(reference: Reference, folder: Path) -> Outcome:
    """Six bombs at once, and somebody else who asks with a small picture."""
    with outcome("six picture bombs at once to the server") as found:
        reference.work.copy_of(reference.folder / "finished")
        folder.mkdir(parents=True)
        small = picture(folder / "small.png").read_bytes()
        for name in ("rgba.png", "progressive.jpg", "animated.png", "animated.webp"):
            words = ["serve", reference.work.library, "--port", "0", "--device", "cpu", "--cache", folder / "cache"]
            server = Command(words, group=True)
            try:
                kind = _sent(_address(server), builders.PICTURES[name](), small)
                largest = server.largest()
            finally:
                server.kill_group()
            ended = server.ended()
            note(found, f"6 x {name}", kind, Ended(0, "", "", ended.seconds, largest))
    return found


def _address(server: Command) -> str:
    for _ in range(600):
        for word in server.said_so_far().split():
            if word.startswith("http://"):
                return word.rstrip("/")
        time.sleep(0.1)
    raise AssertionError(f"no server: {server.said_so_far()}")


def _sent(address: str, bomb: bytes, small: bytes) -> str:
    first, _ = _post(address, small)  # opens the model and starts the decoders
    if first != 201:
        return f"a small picture was answered with {first}"
    answers: list[tuple[int, float]] = []
    threads = [threading.Thread(target=lambda: answers.append(_post(address, bomb))) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    status, waited = _post(address, small)
    for thread in threads:
        thread.join()
    if bad := sorted({code for code, _ in answers} - {201, 413, 422, 429, 503}):
        return f"answered with {bad}"
    if status not in (201, 429, 503) or waited > _WAIT:
        return f"others waited {waited:.0f} s for {status}"
    return "survived" if {code for code, _ in answers} == {201} else "refused"


def _post(address: str, body: bytes) -> tuple[int, float]:
    """(status, seconds); 0 where no answer came."""
    began = time.monotonic()
    request = urllib.request.Request(f"{address}/api/uploads", body, {"Content-Type": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request, timeout=150) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError:
        status = 0
    return status, time.monotonic() - began


# -- readers -----------------------------------------------------------------------------------------------------------


def two_rows(path: Path) -> str:
    with opened(path) as array:
        return f"read {np.asarray(array[:2]).ravel()[:4].tolist()}"


def of_pickle(path: Path) -> str:
    read_pickle(path)
    return "survived"


def of_words(path: Path) -> str:
    open_word_file(path)
    return "read"


def reading(read: Callable[[Path], str], path: Path) -> str:
    """In a process of its own: what came of it."""
    try:
        return read(path)
    except SeehearError as error:
        return "refused" if "\n" not in str(error) else f"not one line: {error}"


def _readers(_: Reference, folder: Path) -> Outcome:
    with outcome("pickles, npz and h5") as found:
        folder.mkdir(parents=True)
        for number, (name, content) in enumerate(builders.PICKLES.items()):
            path = folder / f"{number}.pkl"
            path.write_bytes(content())
            _one(found, f"pickle: {name}", of_pickle, path)
        for member, read in (("features", two_rows), ("words", of_words)):
            for held in (True, False):
                path = builders.npz(folder / f"{member}.npz", member, held=held)
                _one(found, f"npz: {member} of 8 GB{'' if held else ', by its header alone'}", read, path)
                path.unlink()
        secret = folder / "secret.bin"
        secret.write_bytes(bytes(range(64)))
        for number, how in enumerate(builders.H5):
            _one(found, f"h5: {how}", two_rows, builders.h5(folder / f"{number}.h5", how, secret))
    return found


def _one(found: Outcome, name: str, read: Callable[[Path], str], path: Path) -> None:
    kind, ended = called(reading, read, path, limits=_LIMITS)
    # Two rows of zeros out of a large member are a right answer, if they did not cost its size.
    right = "survived" if kind.startswith("read [0.0") else kind
    note(found, name, right, ended)


# -- code --------------------------------------------------------------------------------------------------------------


def _code(reference: Reference, folder: Path) -> Outcome:
    """Folders that want their own code run, named by the user or by a run's model; whoever is asked says yes."""
    with outcome("hub folders and runs with code of their own") as found:
        folder.mkdir(parents=True)
        answers = folder / "answers"
        answers.write_text("y\n" * 100)
        for how in builders.HUB:
            for modality, of_run in (("text", False), ("video", False), ("text", True)):
                if (how, modality) in (("processor", "text"), ("tokenizer", "video")):
                    continue
                name, mark = f"{how}, {modality}{' of a run' * of_run}", folder / "ran"
                hub = builders.hub(folder / name, how, mark)
                reference.work.copy_of(reference.folder / "finished")
                encoder = f"hub:{hub}#modality={modality}"
                library = str(reference.work.library)
                words = ["encode", library, "--encoders", encoder, "--workers", "1", "--device", "cpu"]
                if of_run:
                    _runs_encoder(reference, encoder)
                    words = ["search", library, "some words"]
                ended = run(words, {"FAULTS_ANSWERS": str(answers), "HF_HOME": str(folder / "home")}, limits=_LIMITS)
                note(found, name, _ran(ended, mark), ended)
                mark.unlink(missing_ok=True)
        shutil.rmtree(reference.work.folder)
    return found


def _runs_encoder(reference: Reference, encoder: str) -> None:
    """Name another text encoder in the run's model."""
    config = reference.work.run / "model" / "config.json"
    config.write_text(config.read_text().replace('"name": "letters"', f'"name": "{encoder}"'))


def _ran(ended: Ended, mark: Path) -> str:
    said: Any = ended.out + ended.err
    if mark.exists():
        return "its code was run"
    if "[y/N]" in said:
        return "asked whether to run its code"
    return "refused" if ended.is_clear else f"status {ended.status}: {ended.complaint}"
