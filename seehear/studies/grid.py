"""Grid of a study: a list of cells, each a few settings, and a function that measures one cell.

    STUDY/cells/KEY.json     a finished cell: settings, facts shared by all cells, numbers, seconds
    STUDY/failed/KEY.json    a cell that could not be measured, and the error; the next call tries it again

A cell is written atomically and never measured twice: a study resumes after Ctrl-C or kill -9, and one with more cells
measures only the new ones. Every cell notes the shared facts (data revision, options), so that a folder with cells of
other data is refused or measured again.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seehear.errors import SeehearError, read_json
from seehear.evaluation.report import finite
from seehear.progress import Interrupted, clock, counted, hushed, say, stop_requests
from seehear.train.config import flat
from seehear.train.files import write_text

Value = str | int | float | bool | None
Cell = Mapping[str, Value]
"""Settings by name, the seed among them: {"recipe": "fusemix", "pairs": 500, "seed": 0}."""
Measure = Callable[[Cell], Mapping[str, float]]


@dataclass(frozen=True)
class Result:
    """Outcome of one cell."""

    cell: dict[str, Value]
    values: dict[str, float] = field(default_factory=dict)
    """Numbers by measure; empty for a failed cell."""
    seconds: float = 0.0
    error: str = ""
    """Reason of a failure."""


def run_grid(
    folder: str | Path,
    cells: Sequence[Cell],
    run: Measure,
    *,
    about: Mapping[str, Any],
    redo: bool = False,
    verbose: bool = False,
) -> list[Result]:
    """Results of all cells in order; those that `folder` lacks are measured. `about`: facts that all cells share and
    the numbers depend on. Finished cells with another `about` are an error that names the difference, or measured again
    with `redo`. A cell that raises `SeehearError` counts as failed. `verbose`: cells print their own output, besides
    the line per cell. Keep the seeds of a setting together in `cells`: a stopped study then has complete rows."""
    folder, keys = Path(folder), [cell_key(cell) for cell in cells]
    if twice := [dict(cell) for cell, key in zip(cells, keys, strict=True) if keys.count(key) > 1]:
        raise ValueError(f"a cell is in the study twice: {twice[0]}")
    # Tuples become lists, as in the files that it is compared with.
    about = finite(about)
    for part in ("cells", "failed"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    found = {k: stored for k in keys if (stored := _read(folder / "cells" / f"{k}.json", about, redo=redo)) is not None}
    todo = [(key, cell) for key, cell in zip(keys, cells, strict=True) if key not in found]
    if found:
        say(f"{folder}: {len(found):,} of {len(cells):,} cells are measured already")
    started = time.monotonic()
    # A stop is looked at between cells: none is lost that is measured.
    with stop_requests() as stop:
        for number, (key, cell) in enumerate(todo, start=1):
            found[key] = _measured(folder, key, cell, run, about, verbose=verbose)
            left = len(todo) - number
            say(_line(found[key], len(found), len(cells), (time.monotonic() - started) / number * left))
            if stop and left:
                raise Interrupted(
                    f"stopped by {stop.name}, {counted(left, 'cell')} left: run the same command again to continue"
                )
    if failed := sum(bool(result.error) for result in found.values()):
        say(f"{failed:,} of {len(cells):,} cells could not be measured: see {folder / 'failed'}")
    return [found[key] for key in keys]


def cell_key(cell: Cell) -> str:
    """Readable and unique file name of the settings: 'pairs=500.seed=0-1f2e3d4c'."""
    # Sorted: the key depends on the settings, not on the order in which they are named.
    plain = json.dumps(dict(cell), sort_keys=True, ensure_ascii=False)
    words = ".".join(f"{name}={cell[name]}" for name in sorted(cell))
    readable = re.sub(r"[^A-Za-z0-9=.+-]+", "-", words)[:100].strip(".-")
    return f"{readable}-{hashlib.blake2b(plain.encode(), digest_size=6).hexdigest()}"


def _measured(folder: Path, key: str, cell: Cell, run: Measure, about: Mapping[str, Any], *, verbose: bool) -> Result:
    started = time.monotonic()
    failed = folder / "failed" / f"{key}.json"
    try:
        # The progress of a cell would hide that of the study.
        with nullcontext() if verbose else hushed():
            values = run(cell)
    # Neither finished nor failed: nothing is written, and the cell is measured again.
    except Interrupted as stopped:
        raise Interrupted("stopped in the middle of a cell: run the same command again to continue") from stopped
    except SeehearError as error:
        result = Result(dict(cell), seconds=time.monotonic() - started, error=str(error))
        # A failed cell does not end the study: the other cells do not depend on it.
        _write(failed, result, about)
        return result
    plain = {name: float(value) for name, value in values.items()}
    result = Result(dict(cell), plain, time.monotonic() - started)
    _write(folder / "cells" / f"{key}.json", result, about)
    failed.unlink(missing_ok=True)
    return result


def _write(path: Path, result: Result, about: Mapping[str, Any]) -> None:
    plain = {"cell": result.cell, "about": about, "values": result.values, "seconds": round(result.seconds, 3)}
    plain |= {"error": result.error} if result.error else {}
    write_text(path, json.dumps(finite(plain), indent=1, ensure_ascii=False) + "\n")


def _read(path: Path, about: Mapping[str, Any], *, redo: bool) -> Result | None:
    """The stored result; None if there is none, it is damaged, or it is outdated and `redo`."""
    if not path.is_file():
        return None
    try:
        plain = read_json(path, "it is measured again")
        before, cell, values, seconds = plain["about"], plain["cell"], plain["values"], plain["seconds"]
    except (SeehearError, KeyError, TypeError):
        say(f"{path} is not a cell of a study: it is measured again")
        return None
    old, new = dict(flat(before)), dict(flat(about))
    if different := [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]:
        name = different[0]
        changed = f"{name} = {json.dumps(old.get(name))}, now it is {json.dumps(new.get(name))}"
        if not redo:
            raise SeehearError(f"{path} was measured with {changed}: choose another folder, or measure again by --redo")
        say(f"{path.name} was measured with {changed}: measured again")
        return None
    return Result(cell, {name: math.nan if value is None else value for name, value in values.items()}, seconds)


def _line(result: Result, done: int, total: int, left: float) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in result.cell.items())
    said = result.error or ", ".join(f"{name} {value:.4g}" for name, value in list(result.values.items())[:3])
    ending = f", {clock(left)} left" if done < total else ""
    return f"cell {done} of {total} ({settings}), {result.seconds:.1f} s{ending}: {said}"
