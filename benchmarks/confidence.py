"""Whether confidence means the same in other libraries: `python benchmarks/confidence.py --work /tmp/words`.

Photos with captions (coco-cc), drawings and emoji with their names, by the packaged word tower. A library holds half of
a set's pictures; the texts of all pictures are asked, so that half of the queries have no answer. Of the first hit of
each query: the share that is right, by confidence and by word; AUC of the best score, queries with an answer against
those without, with plain cosines and with heights. Settings were chosen on other halves of the drawings and emoji.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import write
from home import auc, reliability
from word_tower import SETS, latents

from seehear.encoders.wordtower import WordMap
from seehear.search.calibrate import PICTURES, confidence, evidence, fit_scale, heights, in_words
from seehear.search.calibrate import background_phrases as phrases


def measure(pictures_NE: np.ndarray, texts_TE: np.ndarray, owner_T: np.ndarray, bank_BE: np.ndarray) -> dict[str, Any]:
    order = np.random.default_rng(1).permutation(len(pictures_NE))
    library = order[: len(order) // 2]
    rows_NE, mean_E = pictures_NE[library], bank_BE.mean(axis=0)
    scale = fit_scale(rows_NE, bank_BE)
    hits, best, plain = [], {True: [], False: []}, {True: [], False: []}
    for text_E, owner in zip(texts_TE, owner_T.tolist(), strict=True):
        height_N, there = heights(rows_NE, text_E, mean_E, scale), owner in library
        sure = float(confidence(evidence(height_N.max(), PICTURES)))
        hits.append({"confidence": sure, "words": in_words(sure), "right": library[height_N.argmax()] == owner})
        best[there].append(height_N.max())
        plain[there].append((rows_NE @ text_E).max())
    found = {"pictures": len(library), "queries": len(hits), "first hit": reliability(hits)}
    return found | {"AUC": auc(best[True], best[False]), "AUC of cosines": auc(plain[True], plain[False])}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("/tmp/words"), help="vectors are kept here")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    from seehear.encoders import load_encoder

    tower = WordMap()
    bank = torch.from_numpy(load_encoder("minilm", device="cpu").encode(phrases()))
    found = {}
    for name in SETS:
        x_ND, y_TD, owner_T = latents(name, options.data, options.work)
        sides = (tower.pictures(x_ND), tower.words(y_TD), owner_T, tower.words(bank))
        found[name] = measure(*(side.numpy() for side in sides))
        print(name, found[name])
    write("confidence", {"sets": found}, None)


if __name__ == "__main__":
    main()
