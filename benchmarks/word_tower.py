"""Text -> picture by packaged weights: `python benchmarks/word_tower.py --data ../shared/data --work /tmp/words`.

Items of even number were used to choose the tower's settings, and train FuseMix (emoji and drawings together, every
eighth of them to validate); numbers are of the odd ones: their texts against their pictures ("half"), and against all
pictures of the set ("whole").

    tower       as packaged, with ImageNet's mean as the centre
    own centre  the same with the mean feature of the set's pictures, which a library has without a label
    fusemix     the default, trained on the even items
    both        FuseMix + 0.5 x tower, the scores of each query standardised over the pictures; the share was chosen on
                the items that validate FuseMix

Also: milliseconds that the tower adds to a picture (one thread), beside those of the network.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from common import interleaved, write
from fusemix_sets import table

from seehear.encoders import Sample, load_encoder
from seehear.encoders.wordtower import WordMap
from seehear.inputs.latents import LatentData
from seehear.recipes.fusemix import base
from seehear.runs.config import LatentInputs
from seehear.runs.run import train_on
from seehear.space import SharedSpace
from seehear.types import Tensor

SETS = ("coco-cc", "art4apps", "emoji3d")
TOWER_SHARE = 0.5


def items(name: str, data: Path) -> tuple[list[str], list[str], list[int]]:
    """(picture files, texts, number of each text's picture)"""
    rows = table(data / name / "metadata.csv")
    pictures = [str(data / name / row["image"]) for row in rows]
    if name == "coco-cc":
        place = {row["id"]: n for n, row in enumerate(rows)}
        captions = table(data / name / "captions.csv")
        return pictures, [c["text"] for c in captions], [place[c["id"]] for c in captions]
    return pictures, [row["text_en"] for row in rows], list(range(len(rows)))


def latents(name: str, data: Path, work: Path) -> tuple[Tensor, Tensor, Tensor]:
    """(features of pictures, vectors of texts, owner of each text), made at the first call."""
    file = work / f"{name}.pt"
    if not file.exists():
        pictures, texts, owner = items(name, data)
        encoder = load_encoder("efficientnet-lite0", device="cpu")
        x_ND = np.concatenate([encoder.encode([encoder.prepare(Sample(path))]) for path in pictures])
        y_TD = load_encoder("minilm", device="cpu").encode(texts)
        torch.save([torch.from_numpy(x_ND), torch.from_numpy(y_TD), torch.tensor(owner)], file)
    x_ND, y_TD, owner_T = torch.load(file)
    return x_ND, y_TD, owner_T


def fusemix(data: Path, work: Path) -> Any:
    """FuseMix trained on the even emoji and drawings."""
    sets = [latents(name, data, work) for name in ("emoji3d", "art4apps")]
    x_ND = torch.cat([x_ND[::2] for x_ND, _, _ in sets])
    y_ND = torch.cat([y_TD[::2] for _, y_TD, _ in sets])
    splits = ["val" if n % 8 == 7 else "train" for n in range(len(x_ND))]
    pairs = LatentData.from_arrays({"video": x_ND, "text": y_ND}, splits=splits)
    shutil.rmtree(work / "run", ignore_errors=True)
    run = base()
    train_on(LatentInputs(pairs), replace(run, method=replace(run.method, head="linear")), work / "run")
    return SharedSpace.from_pretrained(work / "run").method


def recall(cosine_TN: Tensor, owner_T: Tensor, odd_only: bool) -> dict[str, float]:
    """R@1 and R@10 in percent of the texts of odd items."""
    queries_T = owner_T % 2 == 1
    gallery = slice(1, None, 2) if odd_only else slice(None)
    s_TN, own_T = cosine_TN[queries_T][:, gallery], owner_T[queries_T] // 2 if odd_only else owner_T[queries_T]
    rank_T = (s_TN > s_TN.gather(1, own_T[:, None])).sum(1) + 1
    numbers = {f"R@{k}": round(100 * float((rank_T <= k).float().mean()), 1) for k in (1, 10)}
    return numbers | {"chance R@10": round(1000 / s_TN.shape[1], 1)}


def standardised(s_TN: Tensor) -> Tensor:
    """Scores of each text with mean 0 and spread 1 over the pictures: texts differ in how far their scores spread."""
    return (s_TN - s_TN.mean(1, keepdim=True)) / s_TN.std(1, keepdim=True)


@torch.inference_mode()
def measure(name: str, model: Any, words: WordMap, data: Path, work: Path) -> dict[str, Any]:
    x_ND, y_TD, owner_T = latents(name, data, work)
    text_TW = words.words(y_TD)
    tower_TN = text_TW @ words.pictures(x_ND).T
    embedded = model.embed({"video": x_ND, "text": y_TD})
    fusemix_TN = F.normalize(embedded["text"], dim=1) @ F.normalize(embedded["video"], dim=1).T
    scores = {
        "tower": tower_TN,
        "own centre": text_TW @ words.pictures(x_ND, x_ND.mean(0)).T,
        "fusemix": fusemix_TN,
        "both": standardised(fusemix_TN) + TOWER_SHARE * standardised(tower_TN),
    }
    found: dict[str, Any] = {model: {"half": recall(s_TN, owner_T, True)} for model, s_TN in scores.items()}
    for own in ("tower", "own centre") if name != "coco-cc" else scores:  # FuseMix learned the even emoji and drawings
        found[own]["whole"] = recall(scores[own], owner_T, False)
    return found


@torch.inference_mode()
def cost(words: WordMap) -> dict[str, float]:
    """Process time on one thread."""
    network = load_encoder("efficientnet-lite0", device="cpu").network
    frames = torch.randint(0, 255, (8, 160, 160, 3), dtype=torch.uint8)
    x_BD, y_BD = torch.rand(16, 1280), torch.rand(256, 384)
    cases = {
        "network, ms a clip of 8 frames": lambda: network(frames),
        "tower, ms a clip": lambda: words.pictures(x_BD),
        "tower, ms a text": lambda: words.words(y_BD),
    }
    seconds = interleaved(cases, repeats=9)
    count = {"tower, ms a clip": 16, "tower, ms a text": 256}
    return {name: round(1000 * taken / count.get(name, 1), 3) for name, taken in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    data = options.data.resolve()
    model = fusemix(data, options.work)
    words = WordMap().eval()
    found = {name: measure(name, model, words, data, options.work) for name in SETS}
    for name, models in found.items():
        for own, galleries in models.items():
            print(f"{name:9} {own:10}", *(f"{g}: {numbers}" for g, numbers in galleries.items()))
    write("word_tower", {"text -> picture, percent": found, "cost": cost(words)}, options.out)


if __name__ == "__main__":
    main()
