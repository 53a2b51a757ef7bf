"""The study of modalities on real data: `python benchmarks/mcn_real.py --data ../shared/data --work /tmp/mcn`.

    three      art4apps: a drawing, its name spoken, its name written; labels: the kind of thing
    grid-s1    one speaker's sentences: face, voice, words; labels: the colour that is named

The same rows, seeds and measures as `seehear study modalities`, with MCN and FuseMix on the same latents and the closed
forms beside them; held-out groups. What is finished stays in the work folder: a second call goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from common import write
from fusemix_sets import Row, latents, split, table

from seehear.methods.fusemix import FuseMixConfig
from seehear.recipes import fusemix
from seehear.runs.config import Run
from seehear.runs.run import recipes
from seehear.studies.modalities import ModalityOptions, study_of

FUSEMIX = "fusemix.linear"
LABELS: dict[str, tuple[str, Callable[[Row], str]]] = {
    "three": ("art4apps", lambda r: r["categories"] if r["categories"].isalpha() else ""),
    "grid-s1": ("grid-s1", lambda r: r["color"]),
}
"""Set -> its folder, and a row's one label; '' for none, or for several."""


def fusemix_linear() -> Run[FuseMixConfig]:
    run = fusemix.base()
    return replace(
        run,
        recipe=FUSEMIX,
        method=replace(run.method, head="linear"),
        train=replace(run.train, epochs=40, evaluations=10),
    )


def main() -> None:
    recipes()[FUSEMIX] = fusemix_linear
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=sorted(LABELS), default=list(LABELS))
    parser.add_argument("--methods", nargs="+", default=["mcn.tiny", FUSEMIX])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in options.sets:
        folder, label = LABELS[name]
        of = {r["id"]: label(r) for r in table(options.data / folder / "metadata.csv")}
        data = split(latents(name, options.data, options.work), 0)
        study = options.work / f"study-{name}"
        chosen = ModalityOptions(methods=tuple(options.methods), seeds=options.seeds)
        print(study_of(data, [of[i] for i in data.ids.tolist()], study, chosen), flush=True)
        plain = json.loads((study / "study.json").read_text(encoding="utf-8"))
        found[name] = {key: plain[key] for key in ("about", "tables", "answers")}
    write("mcn_real", found, options.out)


if __name__ == "__main__":
    main()
