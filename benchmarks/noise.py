"""What each combination of modalities keeps of background and noise: the hypothesis of the study of modalities.

    OMP_NUM_THREADS=1 python benchmarks/noise.py --work /tmp/noise [--sets digits --levels 10]
    python benchmarks/noise.py      # the tables of what is in results/

Known noise and a known background are mixed into real clips (`noise_sets.py`). Frozen packaged encoders see them once;
`mcn.tiny` trains on each combination of modalities, without reconstruction, without clusters too, and with fine and
coarse spaces. Noise, background and content are then told from the vectors of sound and picture in every space, by a
linear probe (is it still in there?) and by nearest neighbours (does it decide what lies together, as in a search?):
fitted on training clips, their one setting chosen on validation clips, measured on test clips, which differ in content,
in the stretch of the background and in the voices that babble. Beside them chance, the frozen latents (an upper bound
of probes) and the same heads untrained. Three seeds; 95 % intervals over recordings and seeds; differences paired by
clip.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import DEVICE, RESULTS, write
from noise_sets import ENCODERS, LEVELS, NEW_SPEAKER, SCENES, SETS, Mixed, mixed

from seehear.evaluation.bootstrap import seeded_interval
from seehear.evaluation.classify import Labelled, knn, linear_probe
from seehear.evaluation.embedded import embed_latents
from seehear.nn.unit import unit
from seehear.runs.config import LatentInputs
from seehear.runs.run import build
from seehear.studies.grid import Cell, cell_key, run_grid
from seehear.studies.modality_report import Design, designs, latents_run, run_of
from seehear.studies.trained import about_data, finished, remove_run
from seehear.types import MODALITIES, Modality

RECIPE = "mcn.tiny"
ROWS = ("V+A", "V+T", "A+T", "V+A+T", "V+A+T, no reconstruction", "V+A+T, contrast only", "V+A+T, fine and coarse")
FINE, COARSE = "V+A+T, fine and coarse: fine", "V+A+T, fine and coarse: coarse"
FROZEN, UNTRAINED = "frozen latents", "V+A+T, untrained"
MEASURES = ("probe", "neighbours")
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
CONTRASTS = (
    ("does text in place of the picture take it from the sound?", "audio", "A+T", "V+A"),
    ("does text beside the picture take it from the sound?", "audio", "V+A+T", "V+A"),
    ("does a picture beside text bring it into the sound?", "audio", "V+A+T", "A+T"),
    ("does text in place of the sound take it from the picture?", "video", "V+T", "V+A"),
    ("does text beside the sound take it from the picture?", "video", "V+A+T", "V+A"),
    ("does the fine space keep more than one space?", "audio", FINE, "V+A+T"),
    ("does the coarse space keep less than one space?", "audio", COARSE, "V+A+T"),
    ("does the fine space keep more than the coarse one?", "audio", FINE, COARSE),
    ("does the fine space keep more than the coarse one?", "video", FINE, COARSE),
    ("does reconstruction keep it?", "audio", "V+A+T", "V+A+T, no reconstruction"),
    ("does training keep it?", "audio", "V+A+T", UNTRAINED),
)
"""(question, modality probed, the row with it, the row without)"""


def of_all(named: dict[str, np.ndarray], made: Mixed) -> dict[str, np.ndarray]:
    """Scores of the test clips by 'measure/row/modality/factor', for every factor that the modality may hold."""
    splits, found = made.data.splits, {}
    rows = {name: np.flatnonzero(splits == name) for name in ("train", "val", "test", "new")}
    for name, vectors in named.items():
        for factor, labels in made.factors.items():
            if name.endswith("video") and factor in ("noise", "speaker"):
                continue  # in the sound only
            asked = rows["test"] if factor == "speaker" else np.concatenate([rows["test"], rows["new"]])
            parts = [Labelled(vectors[own], labels[own].tolist()) for own in (rows["train"], rows["val"], asked)]
            told = {"probe": linear_probe(*parts, strengths=STRENGTHS), "neighbours": knn(*parts)}
            known = splits[asked] == "test"
            for measure, result in told.items():
                scores = result.per_query["top1"]
                found[f"{measure}/{name}/{factor}"] = scores[known]
                if not known.all():
                    found[f"{measure}/{name}/{factor}, new speaker"] = scores[~known]
    return found


def measure(levels: dict[int, Mixed], folder: Path, cell: Cell) -> dict[str, float]:
    made = levels[int(cell["level"] or 0)]
    design, seed = str(cell["design"]), int(cell["seed"] or 0)
    if design == FROZEN:
        named = {f"{FROZEN}/{m}": frozen(made, m) for m in ("video", "audio")}
    else:
        rows = {d.name: d for d in designs(MODALITIES)}
        named = embedded(made, rows[design.replace(", untrained", "")], folder, cell, seed)
    scores = of_all(named, made)
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    np.savez(folder / "scores" / f"{cell_key(cell)}.npz", **{k.replace("/", "|"): v for k, v in scores.items()})
    return {key: float(own.mean()) for key, own in scores.items()}


def frozen(made: Mixed, m: Modality) -> np.ndarray:
    """The latents as the heads read them: standardised, the encoders with an equal say."""
    x = made.data.one_each(m)
    learned = x[made.data.splits == "train"]
    x = (x - learned.mean(axis=0)) / (learned.std(axis=0) + 1e-6)
    edges = np.cumsum(made.data.widths[m])[:-1]
    return np.concatenate([unit(part) for part in np.split(x, edges, axis=1)], axis=1)


def embedded(made: Mixed, design: Design, folder: Path, cell: Cell, seed: int) -> dict[str, np.ndarray]:
    """Vectors of sound and picture in every space of the cell's model, by 'row/modality'."""
    part = made.data.only(design.modalities)
    run = run_of(design, latents_run(RECIPE), of=len(MODALITIES), seed=seed)
    row = str(cell["design"])
    if row == UNTRAINED:
        model = build(LatentInputs(part), run).eval()
    else:
        model = finished(LatentInputs(part), run, folder / "runs" / cell_key(cell))
        remove_run(folder / "runs" / cell_key(cell))
    found = {}
    for space in model.spaces:
        for m, own in embed_latents(model, part, space=space).items():
            if m != "text":
                found[f"{row if len(model.spaces) == 1 else f'{row}: {space}'}/{m}"] = own.one_each().vectors
    return found


# -- what is told of it ------------------------------------------------------------------------------------------------


def summary(folder: Path, cells: list[Cell], made: Mixed) -> dict[str, Any]:
    """Means with intervals by level and 'measure/row/modality/factor', chance, and the contrasts."""
    runs: dict[tuple[int, str], list[np.ndarray]] = {}
    for cell in cells:
        with np.load(folder / "scores" / f"{cell_key(cell)}.npz") as held:
            for key in held.files:
                runs.setdefault((int(cell["level"] or 0), key.replace("|", "/")), []).append(held[key])
    group = {name: made.data.groups.numpy()[made.data.splits == name] for name in ("test", "new")}

    def groups(key: str) -> np.ndarray:
        return group["new" if key.endswith("new speaker") else "test"]

    def estimate(key: str, own: list[np.ndarray], minus: list[np.ndarray] | None = None) -> list[float]:
        low, high = seeded_interval(own, groups(key), minus=minus or ())
        mean = float(np.mean(own)) - (float(np.mean(minus)) if minus else 0.0)
        return [round(100 * x, 1) for x in (mean, low, high)]

    rows: dict[str, Any] = {}
    for (level, key), own in runs.items():
        rows.setdefault(str(level), {})[key] = estimate(key, own)
    told = []
    for (level, key), own in runs.items():
        measure, row, m, what = key.split("/")
        for question, of, more, less in CONTRASTS:
            minus = runs.get((level, f"{measure}/{less}/{m}/{what}"))
            if (row, m) == (more, of) and minus is not None:
                names = {"question": question, "measure": measure, "of": of, "what": what, "level": level}
                told.append(names | {"more": more, "less": less, "difference": estimate(key, own, minus)})
    chance = {k: round(100 / len(set(v[made.data.splits != "new"].tolist())), 1) for k, v in made.factors.items()}
    counts = {name: int((made.data.splits == name).sum()) for name in ("train", "val", "test", "new")}
    return {"clips": counts, "chance": chance, "right": rows, "contrasts": told}


def of_set(name: str, data: Path, work: Path, levels: list[int], seeds: int) -> dict[str, Any]:
    at_level = mixed(name, data, work)
    made = at_level[LEVELS[0]]
    folder = work / f"cells-{name}"
    cells: list[Cell] = []
    for level in levels:
        cells.append({"design": FROZEN, "level": level, "seed": 0})
        cells += [{"design": d, "level": level, "seed": s} for d in (*ROWS, UNTRAINED) for s in range(seeds)]
    results = run_grid(folder, cells, partial(measure, at_level, folder), about=about_data(made.data))
    return summary(folder, [r.cell for r in results if not r.error], made)


# -- tables ------------------------------------------------------------------------------------------------------------


def as_tables(sets: dict[str, Any]) -> str:
    """A table a set and modality: a line a row, a column a factor: 'probe, neighbours', levels between slashes."""
    parts = []
    for name, own in sets.items():
        levels = list(own["right"])
        keys = [key.split("/") for key in own["right"][levels[0]]]
        rows = list(dict.fromkeys([FROZEN, UNTRAINED, *(row for _, row, _, _ in keys)]))
        for m, title in (("audio", "sound"), ("video", "picture")):
            factors = list(dict.fromkeys(factor for _, _, of, factor in keys if of == m))
            lines = [f"| {name}, {title}, at {' / '.join(levels)} dB | " + " | ".join(factors) + " |"]
            lines.append("|---|" + "---:|" * len(factors))
            lines.append("| chance | " + " | ".join(f"{own['chance'][f.split(',')[0]]:.0f}" for f in factors) + " |")
            for row in rows:
                if [row, m] not in [[r, of] for _, r, of, _ in keys]:
                    continue
                cells = [
                    " / ".join(
                        ", ".join(f"{own['right'][level][f'{measure}/{row}/{m}/{f}'][0]:.0f}" for measure in MEASURES)
                        for level in levels
                    )
                    for f in factors
                ]
                lines.append(f"| {row} | " + " | ".join(cells) + " |")
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, help="folder of latents and cells; what is finished there stays")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--levels", nargs="+", type=int, choices=LEVELS, default=list(LEVELS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    out = options.out or RESULTS / f"noise-{DEVICE.type}.json"
    sets: dict[str, Any] = json.loads(out.read_text())["sets"] if out.exists() else {}
    about = {"recipe": RECIPE, "encoders": ENCODERS, "scenes": SCENES, "new speaker": NEW_SPEAKER}
    for name in options.sets if options.work else ():
        sets[name] = of_set(name, options.data.resolve(), options.work, options.levels, options.seeds)
        write("noise", {"percent": "right labels; mean, low, high", "about": about, "sets": sets}, out)
    print(as_tables(sets))


if __name__ == "__main__":
    main()
