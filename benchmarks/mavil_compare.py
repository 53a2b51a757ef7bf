"""Numbers of `mavil_real.py` clip by clip: kept in files, and compared between arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seehear.evaluation.bootstrap import compare
from seehear.studies.grid import Cell, Result, cell_key

GROUPS, CHANCE, VAL, LAST = " groups", " chance", " val", ", last layer"
_PROBES = ("audio command", "audio color", "audio digit", "esc10 kind")
_GRID, _DIGITS = (tuple(f"{way} R@{k}" for way in ("audio->video", "video->audio")) for k in (10, 1))
HEADLINES = {
    "grid-s1": (*_GRID, *(f"{name}{LAST}" for name in _GRID), *_PROBES),
    "digits": (*_DIGITS, *(f"{name}{LAST}" for name in _DIGITS), "audio digit", "video digit"),
}
"""Measures of the summary, by set."""
PerClip = dict[str, np.ndarray]
"""By measure, of every test clip or query: right or not; and with these endings its recording, chance, and
the mean over validation clips."""


def measures(of: PerClip) -> list[str]:
    return [name for name in of if not name.endswith((GROUPS, CHANCE, VAL))]


def save(path: Path, kept: PerClip) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, **kept)
    part.replace(path)


def against(
    base: str, results: Sequence[Result], work: Path, known: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Each arm minus `base` (an arm, or 'untrained'), in percent, at the same seeds: means over seeds. Arms that `work`
    has no clips of are taken from `known`. Where both have numbers clip by clip, recordings are resampled; elsewhere
    the interval is that of two independent means, as wide as that of one seed."""
    here = {(r.cell["set"], r.cell["model"]) for r in results if per_clip_of(r.cell, work).exists()}
    found = [dict(d) for d in known if (d["set"], d["arm"]) not in here]
    before = {(d["set"], d["arm"]) for d in found}
    values = {(r.cell["set"], r.cell["model"], r.cell["seed"]): r for r in results if r.values}
    for name, arm in dict.fromkeys((s, m) for s, m, _ in values if m != base and (s, m) not in before):
        own = [r for (s, m, _), r in values.items() if (s, m) == (name, arm)]
        paths = [(per_clip_of({**r.cell, "model": base}, work), per_clip_of(r.cell, work)) for r in own]
        if paths and all(path.exists() for pair in paths for path in pair):
            pairs = [(per_clip(old), per_clip(new)) for old, new in paths]
            gains = {what: resampled(pairs, what) for what in measures(pairs[0][1])}
        elif pairs := [(values[name, base, r.cell["seed"]], r) for r in own if (name, base, r.cell["seed"]) in values]:
            gains = {
                w.removesuffix(CHANCE): independent(pairs, w.removesuffix(CHANCE))
                for w in own[0].values
                if w.endswith(CHANCE) and all(w in old.values for old, _ in pairs)
            }
        else:
            continue
        found += [{"set": name, "arm": arm, "what": w, "seeds": len(pairs), **gain} for w, gain in gains.items()]
    return found


def resampled(pairs: Sequence[tuple[PerClip, PerClip]], what: str) -> dict[str, float | str]:
    old, new = (np.concatenate([pair[side][what] for pair in pairs]) for side in (0, 1))
    gain = compare(old, new, np.concatenate([pair[1][what + GROUPS] for pair in pairs]))
    values = {"difference": gain.difference, "low": gain.low, "high": gain.high}
    return {k: round(100 * float(v), 2) for k, v in values.items()} | {"interval": "clip by clip"}


def independent(pairs: Sequence[tuple[Result, Result]], what: str) -> dict[str, float | str]:
    """Clips of all seeds are the same: more seeds do not make the interval narrower."""
    sides = [[r.values for r in side] for side in zip(*pairs, strict=True)]
    old, new = (np.mean([v[what] for v in side]) for side in sides)
    halves = [np.mean([(v[f"{what} high"] - v[f"{what} low"]) / 2 for v in side]) for side in sides]
    difference, half = float(new - old), float(np.hypot(*halves))
    values = {"difference": difference, "low": difference - half, "high": difference + half}
    return {k: round(v, 2) for k, v in values.items()} | {"interval": "two means"}


def per_clip(path: Path) -> PerClip:
    with np.load(path) as kept:
        return dict(kept)


def per_clip_of(cell: Cell, work: Path) -> Path:
    untrained = f"untrained-{cell['set']}-{cell['seed']}"
    return work / "clips" / f"{untrained if cell['model'] == 'untrained' else cell_key(cell)}.npz"


def summary(results: Sequence[Result], shares: Mapping[tuple[str, str], float]) -> Iterator[str]:
    """A row an arm: operations over those of `mavil`, then means over seeds on test clips, and on validation clips in
    brackets where the cells have them."""
    for name in dict.fromkeys(str(r.cell["set"]) for r in results):
        of = [r for r in results if r.cell["set"] == name and r.values]
        heads = HEADLINES[name.removesuffix("-196")]
        yield from ("", f"| {name} | seeds | operations | {' | '.join(heads)} |", f"|{'---|' * (3 + len(heads))}")
        for arm in dict.fromkeys(str(r.cell["model"]) for r in of):
            own = [r.values for r in of if r.cell["model"] == arm]
            cells = []
            for head in heads:
                test, val = ([v[name] for v in own if name in v] for name in (head, head + VAL))
                cells.append(f"{np.mean(test):.1f}" if test else "")
                cells[-1] += f" ({np.mean(val):.1f})" if val else ""
            yield f"| {arm} | {len(own)} | {shares[name, arm]:.2f} | {' | '.join(cells)} |"


def differences(base: str, found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from ("", f"| set | arm | measure | minus {base} |", "|---|---|---|---|")
    for one in found:
        interval = f"{one['difference']:+.1f} [{one['low']:+.1f}, {one['high']:+.1f}]"
        yield f"| {one['set']} | {one['arm']} | {one['what']} | {interval} |"
