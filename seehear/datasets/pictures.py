"""Pictures with captions: Flickr30K and COCO by Karpathy's splits, or COCO by its own files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from seehear.datasets.base import DatasetItem, ImportOptions, Items
from seehear.datasets.files import Files, captions, objects, read_json
from seehear.errors import SeehearError

_SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}


def flickr30k(files: Files, options: ImportOptions) -> Items:
    yield from _karpathy(files, files.need("dataset_flickr30k.json"), "flickr30k")


def coco(files: Files, options: ImportOptions) -> Items:
    karpathy = files.find("dataset_coco.json")
    if karpathy is not None:
        yield from _karpathy(files, karpathy, "coco")
        return
    official = {split: (f"captions_{split}2017.json", f"captions_{split}2014.json") for split in ("train", "val")}
    for split, path in files.of_splits(official, options).items():
        yield from _captions_json(files, path, split)
    files.notes.append("without dataset_coco.json there is no test split: COCO 5K is Karpathy's, not the official val")


def _karpathy(files: Files, path: Path, dataset: str) -> Items:
    """Items of {"images": [{"filename", "split", "sentences": [{"raw", "tokens"}], "cocoid"}], "dataset"}."""
    found = read_json(path, "images")
    if found.get("dataset", dataset) != dataset:
        raise SeehearError(f"{path}: is of {found['dataset']!r}, expected {dataset!r}")
    yield from _each(files, path, found["images"], _of_karpathy)


def _of_karpathy(image: dict[str, Any]) -> DatasetItem:
    stem = PurePosixPath(image["filename"]).stem
    if image["split"] not in _SPLITS:
        raise SeehearError(f"split {image['split']!r} is none of {', '.join(_SPLITS)}")
    # The pictures of COCO 2014 are those of 2017, under their number alone.
    number = (f"{int(image['cocoid']):012d}",) if "cocoid" in image else ()
    return DatasetItem(
        keys=(stem, *number),
        id=stem,
        split=_SPLITS[image["split"]],
        texts=captions(*(sentence["raw"] for sentence in image["sentences"])),
        meta={"karpathy": image["split"]},
    )


def _captions_json(files: Files, path: Path, split: str) -> Items:
    """Items of {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}."""
    found = read_json(path, "images")
    said: dict[str, list[str]] = {}
    for annotation in objects(found, "annotations"):
        said.setdefault(str(annotation.get("image_id")), []).append(annotation.get("caption", ""))

    def item(image: dict[str, Any]) -> DatasetItem:
        stem = PurePosixPath(image["file_name"]).stem
        return DatasetItem(keys=(stem,), id=stem, split=split, texts=captions(*said.get(str(image["id"]), ())))

    yield from _each(files, path, found["images"], item)


def _each(files: Files, path: Path, images: list[dict[str, Any]], make: Any) -> Items:
    """Items that `make` returns for every image of a JSON list; its number is its line."""

    def checked(image: Any) -> DatasetItem:
        try:
            made = make(image)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SeehearError(f"is no image with a file name, a split and captions ({error!r})") from error
        assert isinstance(made, DatasetItem)
        return made

    records: Any = enumerate(images, start=1)  # whatever the JSON holds: `checked` turns it into an item or an error
    yield from files.rows(path, records, checked)
