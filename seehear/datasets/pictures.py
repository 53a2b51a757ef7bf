"""Pictures with captions: Flickr30K and COCO by Karpathy's splits, or COCO by its own files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from seehear.datasets.base import DatasetItem, ImportOptions, Items
from seehear.datasets.files import Files, captions, objects, read_json
from seehear.errors import SeehearError

# Karpathy's "restval" are the validation pictures that he left for training.
_SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}


def flickr30k(files: Files, options: ImportOptions) -> Items:
    yield from _karpathy(files, files.need("dataset_flickr30k.json"), "flickr30k")


def coco(files: Files, options: ImportOptions) -> Items:
    """Karpathy's splits, or the official files {"images": [{"id", "file_name"}], "annotations": [{"image_id",
    "caption"}]}."""
    if (karpathy := files.find("dataset_coco.json")) is not None:
        yield from _karpathy(files, karpathy, "coco")
        return
    official = {split: (f"captions_{split}2017.json", f"captions_{split}2014.json") for split in ("train", "val")}

    def item(split: str, texts: dict[str, list[str]], image: dict[str, Any]) -> DatasetItem:
        stem = PurePosixPath(image["file_name"]).stem
        return DatasetItem(keys=(stem,), id=stem, split=split, texts=captions(*texts.get(str(image["id"]), ())))

    for split, path in files.of_splits(official, options).items():
        content, texts = read_json(path, "images"), dict[str, list[str]]()
        for annotation in objects(content, "annotations"):
            texts.setdefault(str(annotation.get("image_id")), []).append(annotation.get("caption", ""))
        yield from _each(files, path, content["images"], partial(item, split, texts))
    files.notes.append("without dataset_coco.json there is no test split: COCO 5K is Karpathy's, not the official val")


def _karpathy(files: Files, path: Path, dataset: str) -> Items:
    """Items of {"images": [{"filename", "split", "sentences": [{"raw", "tokens"}], "cocoid"}], "dataset"}."""
    content = read_json(path, "images")
    if content.get("dataset", dataset) != dataset:
        raise SeehearError(f"{path}: is of {content['dataset']!r}, expected {dataset!r}")

    def item(image: dict[str, Any]) -> DatasetItem:
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

    yield from _each(files, path, content["images"], item)


def _each(files: Files, path: Path, images: list[dict[str, Any]], make: Callable[[Any], DatasetItem]) -> Items:
    """Items that `make` returns for every image of a JSON list; its number is its line."""

    def checked(image: Any) -> DatasetItem:
        try:
            return make(image)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SeehearError(f"is no image with a file name, a split and captions ({error!r})") from error

    # Entries may be of any type, as the JSON says: `checked` turns each into an item or an error.
    records: Any = enumerate(images, start=1)
    yield from files.rows(path, records, checked)
