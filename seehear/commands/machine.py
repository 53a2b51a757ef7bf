"""`doctor` and `demo`: whether seehear works on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from seehear.commands.parsing import show
from seehear.errors import SeehearError


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Try each part on this machine: versions, devices, extras, decoding a film, writing a library, training steps.

    Example: seehear doctor lib
    """

    library: Positional[str] = ""
    """Library to check as well: whether its media are still in place, and what is encoded."""
    device: str = "auto"
    """Device of the training steps: auto, cpu, cuda or mps."""
    json: bool = False
    """Print the checks as JSON."""

    def run(self) -> None:
        from seehear.doctor import diagnose

        found = diagnose(self.library, device=self.device)
        show(found, as_json=self.json)
        if not found.works:
            wrong = [check.name for check in found.checks if check.state == "wrong"]
            raise SeehearError(f"not everything works: {', '.join(wrong)}")


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Search the packaged films, photos and sounds, none with subtitles, by typed words: seen, heard, spoken, written
    on screen. Each way is scored on questions with known answers, before and after learning.

    Example: seehear demo --out seehear-demo
    """

    out: Path = Path("seehear-demo")
    """Folder of the media, the library and the run; finished parts are not repeated."""
    json: bool = False
    """Print the scores and hits as JSON."""

    def run(self) -> None:
        from seehear.demo import demo

        show(demo(self.out), as_json=self.json)
