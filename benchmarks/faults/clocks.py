"""Clocks that jump, files from the future, and other locales: the result is the same, and nothing is read again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.faults.stages import STAGES, Reference, Work, digests, make_media
from tests.faults.outcome import Outcome, outcome, run, run_alone

_YEARS = 365.25 * 86400
_SHIFTS = (-10 * _YEARS, 10 * _YEARS, -3600.0, 30 * 86400.0)
"""Offsets of the wall clock, one for each stage."""
_ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
_BUILT = {"tr_TR.UTF-8": ("tr_TR", "UTF-8"), "de_DE.ISO-8859-1": ("de_DE", "ISO-8859-1")}


def clocks(reference: Reference, folder: Path) -> list[Outcome]:
    with outcome("clock set back and forward between the stages") as jumped:
        reference.work.clear()
        for stage, shift in zip(STAGES, _SHIFTS, strict=True):
            done = run(reference.work.words(stage), {"FAULTS_CLOCK": str(shift)})
            jumped.tried += 1
            jumped.check(done.status == 0, f"{stage}: status {done.status}: {done.complaint}")
            wrong = reference.differences(stage)
            jumped.check(not wrong, f"{stage} differs: {', '.join(wrong)}")
    return [jumped, _times(folder)]


def _times(folder: Path) -> Outcome:
    with outcome("files from the future and from 1970") as found:
        work = Work(folder / "times", make_media(folder / "times media", files=8))
        work.clear()
        for n, path in enumerate(sorted(work.media.iterdir())):
            os.utime(path, (0, 0) if n % 2 else (4e9, 4e9))
        for _ in range(2):
            done = run(work.words("prepare"))
            found.tried += 1
            found.check(done.status == 0, done.complaint)
        found.check("7 unchanged" in done.out, f"read again: {done.out}")
    return found


def locales(folder: Path) -> list[Outcome]:
    """Prepared in UTF-8, and then again in every other locale: no file has another name there."""
    with outcome("locales") as found:
        work = _strange(folder)
        plain = run_alone(work.words("prepare"), {"LC_ALL": "C.UTF-8"})
        found.check(plain.status == 0, plain.complaint)
        before = digests(work)
        for name, environment in _locales(folder).items():
            again = run_alone(work.words("prepare"), environment)
            found.tried += 1
            found.check(again.status == 0, f"{name}: status {again.status}: {again.complaint}")
            found.check(digests(work) == before, f"{name}: the library is another: {again.out}")
            work.clear()
            anew = run_alone(work.words("prepare"), environment)
            found.check(anew.status == 0, f"{name}, anew: status {anew.status}: {anew.complaint}")
            found.check(digests(work) == before, f"{name}: made in it, the library is another: {anew.out}")
            listed = run_alone(["info", work.library, "--rejects"], environment)
            found.check(listed.status == 0, f"{name}: info: {listed.complaint}")
        found.numbers["locales"] = sorted(_locales(folder))
    return [found]


def _strange(folder: Path) -> Work:
    """Names in several alphabets, one that is no text, in a folder with such a name."""
    media = make_media(folder / "größe 动物", files=8)
    for name in ("ışık İ.png", "日本.png", "\udcff\udcfe.png"):
        shutil.copy(next(media.glob("*.png")), media / name)
    (media / "ışık İ.txt").write_text("İstanbul'da bir ışık\n", encoding="utf-8")
    work = Work(folder / "locales", media)
    work.clear()
    return work


def _locales(folder: Path) -> dict[str, dict[str, str]]:
    """Available locales: ASCII always, others where the system can build them."""
    found = {"ASCII": _ASCII}
    built = folder / "built"
    built.mkdir(exist_ok=True)
    for name, (language, charset) in _BUILT.items():
        command = ["localedef", "-i", language, "-f", charset, str(built / name)]
        if shutil.which("localedef") and not (built / name).exists():
            subprocess.run(command, capture_output=True)
        if (built / name).exists():
            found[name] = {"LC_ALL": name, "LOCPATH": str(built), "PYTHONUTF8": "0"}
    return found
