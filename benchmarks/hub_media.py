"""Sounds with their titles, pictures with their names and talking clips of ../shared/data as one folder with a
manifest: what `demo_folds.py` and `generate.py` measure. Splits are decided here: ESC-10's official fold 4 is test,
the other sounds are train or val by a hash of their source, pictures by a hash of their id, except that the pictures
which show one of the sounds' classes are all train."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from pathlib import Path

COLUMNS = ["audio", "image", "video", "texts", "labels", "group", "split", "fold", "title", "author", "licence", "url"]
CLOCKS = ["1f55b", "231a"]
SETS = ("esc10", "emoji3d", "grid-s1", "av-samples")
PICTURES_OF = {  # class of a sound -> emoji that show it
    "dog": ["1f436", "1f415", "1f415-200d-1f9ba"],
    "rooster": ["1f414"],
    "rain": ["2614"],
    "sea waves": ["1f30a"],
    "crying baby": ["1f476"],
    "clock tick": CLOCKS,
    "helicopter": ["1f681"],
    "crackling fire": ["1f525"],
    "chainsaw": ["1fa9a"],
}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def as_text(title: str) -> str:
    """'My_DogBark-02.wav' -> 'my dog bark': a file name as a person would say it."""
    title = re.sub(r"\.(wav|aiff?|mp3|ogg|flac|m4a)$", "", title, flags=re.I)
    title = re.sub(r"([a-z])([A-Z])", r"\1 \2", re.sub(r"[_\-.]+", " ", title))
    return re.sub(r"\s+", " ", re.sub(r"\d+", " ", title)).strip().lower()


def hashed_split(key: str, *, val: float = 0.1, test: float = 0.1) -> str:
    share = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32
    return "test" if share < test else "val" if share < test + val else "train"


def copy(source: Path, out: Path, folder: str) -> str:
    (out / folder).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, out / folder / source.name)
    return f"{folder}/{source.name}"


def sounds(data: Path, out: Path) -> list[dict[str, str]]:
    rows = []
    for r in read(data / "esc10" / "metadata.csv"):
        title = r["freesound_title"]
        rows.append(
            {"audio": copy(data / "esc10" / r["file"], out, "sounds"), "texts": as_text(title), "title": title}
            | {"labels": r["label"].replace("_", " "), "group": r["freesound_url"], "fold": r["fold"]}
            | {"split": "test" if r["fold"] == "4" else hashed_split(r["freesound_url"], val=0.15, test=0.0)}
            | {"author": r["author"], "licence": r["licence"], "url": r["freesound_url"]}
        )
    return rows


def pictures(data: Path, out: Path) -> list[dict[str, str]]:
    shown = {i for ids in PICTURES_OF.values() for i in ids}
    rows = []
    for r in read(data / "emoji3d" / "metadata.csv"):
        texts = [r["text_en"], ", ".join([r["text_en"], *r["tags_en"].split("|")])]
        rows.append(
            {
                "image": copy(data / "emoji3d" / r["image"], out, "pictures"),
                "texts": json.dumps(texts, ensure_ascii=False),
            }
            | {"group": f"emoji {r['id']}", "split": "train" if r["id"] in shown else hashed_split(r["id"])}
            | {"title": r["text_en"], "author": "Microsoft", "licence": "MIT"}
        )
    return rows


def talking(data: Path, out: Path) -> list[dict[str, str]]:
    rows = []
    for r in read(data / "grid-s1" / "metadata.csv")[::22][:40]:
        rows.append(
            {"video": copy(data / "grid-s1" / r["file"], out, "clips"), "texts": r["text"], "group": r["id"]}
            | {"split": hashed_split(r["id"]), "author": "Cooke et al.", "licence": "CC BY 4.0"}
        )
    for r in read(data / "av-samples" / "metadata.csv"):
        if r["id"].startswith(("bbb", "mdn_frog", "mdn_pig")):
            rows.append(
                {"video": copy(data / "av-samples" / r["file"], out, "clips"), "texts": r["text"], "group": r["id"][:7]}
                | {"split": "train", "author": r["source"], "licence": r["licence"]}
            )
    return rows


def make(data: Path, out: Path) -> Path:
    """The manifest of the folder, which is made where it is not there."""
    manifest = out / "manifest.csv"
    if manifest.is_file():
        return manifest
    if missing := [name for name in SETS if not (data / name / "metadata.csv").is_file()]:
        raise SystemExit(f"no {', '.join(missing)} in {data}: set SEEHEAR_DATA or --data to the folder that holds them")
    out.mkdir(parents=True, exist_ok=True)
    rows = sounds(data, out) + pictures(data, out) + talking(data, out)
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return manifest
