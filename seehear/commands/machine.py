"""`doctor` and `demo`: whether seehear works on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from seehear.commands.parsing import show
from seehear.errors import SeehearError


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """What works on this machine: versions, devices, extras; a film decoded, a library written, training steps done.

    Example: seehear doctor lib
    """

    library: Positional[str] = ""
    """A library to look at as well: whether its media are where they were, and what is encoded."""
    device: str = "auto"
    """Where the training steps are tried: auto, cpu, cuda or mps."""
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
    """Films, photos and sounds that ship with the package, without one subtitle, found by typed words: seen, heard,
    spoken, written on screen. Each way is measured on questions with known answers, and so is what learning adds.

    Example: seehear demo --out seehear-demo
    """

    out: Path = Path("seehear-demo")
    """Folder for the media, the library and the run; what is there already is not done again."""
    json: bool = False
    """Print the scores and hits as JSON."""

    def run(self) -> None:
        from seehear.demo import demo

        show(demo(self.out), as_json=self.json)
