"""The whole campaign: `make faults`, or `python -m benchmarks.faults [--part kill-train ...] [--seed 1] [--out FILE]`.

Prints a line as each part ends and a table at last; the status is 1 when anything went wrong. What is done is kept in
the file of `--out` after every part, and a second run with `--resume` and the same seed does the rest.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from benchmarks.common import machine
from benchmarks.faults import bombs, clocks, full, fuzz, kills, lost, malicious, mutants, together
from benchmarks.faults.stages import STAGES, Reference
from seehear.train.files import write_text
from tests.faults.outcome import Outcome


@dataclass
class Campaign:
    """State shared by the parts."""

    folder: Path
    seed: int
    scale: float
    """Factor of all counts: 1 is the campaign as documented."""

    @cached_property
    def reference(self) -> Reference:
        return Reference(self.folder / "reference")

    def many(self, count: int) -> int:
        return max(1, round(count * self.scale))


def _kills(c: Campaign, *, stage: str) -> list[Outcome]:
    return [kills.kills(c.reference, stage, times=c.many(13), seed=c.seed)]


PARTS: dict[str, Callable[[Campaign], list[Outcome]]] = {
    **{f"kill-{stage}": partial(_kills, stage=stage) for stage in STAGES},
    "studies": lambda c: kills.studies(c.reference, times=c.many(12), seed=c.seed),
    "terms": lambda c: kills.terms(c.reference, each=c.many(2), seed=c.seed),
    "full": lambda c: full.full_disk(c.folder / "full", each=c.many(4), seed=c.seed),
    "together": lambda c: together.together(c.reference, times=c.many(2)),
    "clocks": lambda c: clocks.clocks(c.reference, c.folder),
    "malicious": lambda c: malicious.malicious(c.reference, c.folder / "malicious"),
    "bombs": lambda c: bombs.bombs(c.reference, c.folder / "bombs"),
    "mutants": lambda c: mutants.damaged(c.folder / "mutants", count=c.many(2000), seed=c.seed),
    "fuzz": lambda c: fuzz.fuzz(c.folder / "fuzz", examples=c.many(200), seed_of_run=c.seed),
    "locales": lambda c: clocks.locales(c.folder),
    "loader": lambda c: lost.loader(c.folder / "loader", times=c.many(1), seed=c.seed),
    "ranks": lambda c: lost.ranks(c.reference, times=c.many(1), seed=c.seed),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS), help="only these")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all counts")
    parser.add_argument("--out", type=Path, help="JSON, written after every part")
    parser.add_argument("--resume", action="store_true", help="leave out the parts that --out holds already")
    options = parser.parse_args()
    settings = {"seed": options.seed, "scale": options.scale}
    done = _held(options.out, settings) if options.resume and options.out else {}
    print(f"seed {options.seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        campaign = Campaign(Path(folder), options.seed, options.scale)
        for name in options.part:
            if name in done:
                continue
            done[name] = [asdict(found) for found in PARTS[name](campaign)]
            for found in done[name]:
                print(_line(found), file=sys.stderr, flush=True)
            if options.out:
                kept = {"machine": machine(), **settings, "largest process, MB": _largest(done), "parts": done}
                write_text(options.out, json.dumps(kept, indent=1) + "\n")
    return _table([found for name in PARTS for found in done.get(name, [])])


def _held(out: Path, settings: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The parts that a file of the same settings holds."""
    held = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    return held["parts"] if all(held.get(name) == value for name, value in settings.items()) else {}


def _largest(done: Mapping[str, list[dict[str, Any]]]) -> int:
    """Peak memory of the largest process of all parts, MB."""
    return max((found.get("memory_mb", 0) for part in done.values() for found in part), default=0)


def _line(found: Mapping[str, Any]) -> str:
    state = f"{len(found['wrong'])} WRONG" if found["wrong"] else "right"
    memory = f"{found.get('memory_mb', 0):>8,} MB"
    return f"{found['what']:<52}{found['tried']:>7,}{state:>10}{found['seconds']:>9.0f} s{memory}"


def _table(all_found: Sequence[Mapping[str, Any]]) -> int:
    print(f"{'':<52}{'tried':>7}{'':>10}{'':>11}{'largest':>11}")
    for found in all_found:
        print(_line(found))
        for wrong in found["wrong"]:
            print(f"    {wrong}")
    return int(any(found["wrong"] for found in all_found))


if __name__ == "__main__":
    sys.exit(main())
