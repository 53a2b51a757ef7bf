"""`demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seehear.commands.parsing import show


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Everything at once, on real clips that ship with the package: 318 sounds with their titles, 1,403 pictures with
    their names, 48 short films. Makes a library, trains a space, measures it on held-out clips and searches it.

    Example: seehear demo --out seehear-demo
    """

    out: Path = Path("seehear-demo")
    """Folder for the library and the run; what is there already is not done again."""
    json: bool = False
    """Print the scores and hits as JSON."""

    def run(self) -> None:
        from seehear.demo import demo

        show(demo(self.out), as_json=self.json)
