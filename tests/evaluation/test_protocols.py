"""The table of protocols: whole, with a source for every number; the page made from it; a library held against it."""

import importlib
import re
from pathlib import Path

import pytest

from seehear.datasets import IMPORTERS
from seehear.datasets.protocols import (
    PROTOCOLS,
    TAGS,
    Protocol,
    PublishedNumber,
    check,
    protocol,
    protocols_of,
)
from seehear.errors import SeehearError
from seehear.library.records import Clip, Text
from seehear.library.tables import LibraryTables

ROOT = Path(__file__).parent.parent.parent
ASKED_FOR = "flickr30k coco-5k audiocaps clotho msrvtt-1ka msrvtt-full youcook2-clips crosstask esc50"
ASKED_FOR += " esc10 audioset audioset-20k vggsound kinetics400 kinetics600 ucf101 hmdb51 speech-commands"


def test_every_protocol_names_a_set_that_can_be_imported():
    assert set(ASKED_FOR.split()) <= set(PROTOCOLS)
    for name, wanted in PROTOCOLS.items():
        assert (name, wanted.importer in IMPORTERS) == (wanted.name, True)
        assert wanted.notes
        assert wanted.metrics
        assert bool(wanted.folds) == (wanted.split == "")
        assert IMPORTERS[wanted.importer].folds == wanted.folds
    assert [p.name for p in protocols_of("msrvtt")] == ["msrvtt-full"]


@pytest.mark.parametrize("number", [n for p in PROTOCOLS.values() for n in p.published], ids=lambda n: n.method)
def test_every_published_number_has_a_source_and_says_how_it_was_seen(number):
    assert number.tag in TAGS
    assert re.fullmatch(r"\d{4}\.\d{5}|github\.com/[\w-]+/[\w-]+", number.source)
    assert number.values
    assert all(0 < value <= 100 for value in number.values.values())


@pytest.mark.parametrize(
    ("name", "method", "metric", "value", "tag"),
    [
        ("flickr30k", "FuseMix", "text->image R@1", 71.2, "secondary"),
        ("audiocaps", "FuseMix", "text->audio R@1", 43.1, "secondary"),
        ("clotho", "FuseMix", "text->audio R@1", 17.6, "secondary"),
        ("msrvtt-1ka", "MCN", "text->video R@10", 33.8, "secondary"),
        ("crosstask", "MCN", "recall", 35.1, "secondary"),
        ("youcook2-clips", "MCN", "text->video R@1", 18.1, "secondary"),
        ("youcook2-clips", "VATT-MBS, batch 8192", "text->video R@10", 51.2, "paper"),
        ("audioset", "MAViL", "audio+video mAP", 53.3, "paper"),
        ("audioset-20k", "MAViL", "video mAP", 24.8, "recalled"),
        ("vggsound", "MAViL", "audio+video top1", 67.1, "paper"),
        ("audioset", "VATT-Base", "audio d'", 2.895, "paper"),
        ("kinetics400", "VATT-Large", "top1", 82.1, "paper"),
        ("hmdb51", "VATT-Medium, SVM", "top1", 63.3, "paper"),
        ("esc50", "MMV", "top1", 88.9, "paper"),
    ],
)
def test_published_numbers_as_the_sheets_have_them(name, method, metric, value, tag):
    rows = [n for n in protocol(name).published if n.method.startswith(method) and metric in n.values]
    assert [(n.values[metric], n.tag) for n in rows][:1] == [(value, tag)]


def test_names_in_any_case():
    assert protocol("msrvtt-1kA").clips == (1000,)
    assert (protocol("youcook2-clips").clips, protocol("msrvtt-full").texts) == ((3350,), 59_800)


def test_a_number_needs_a_known_tag():
    with pytest.raises(ValueError, match="tag must be one of paper"):
        PublishedNumber("x", {"top1": 1.0}, "2312.10144", "somewhere")


def test_the_page_is_the_table(monkeypatch):
    """After a change of the table: python tools/make_protocols_page.py"""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    page = importlib.import_module("make_protocols_page").to_markdown()
    assert (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8") == page


def test_an_unknown_protocol_is_refused_with_the_nearest():
    with pytest.raises(SeehearError, match="did you mean 'msrvtt-1ka'"):
        protocol("msrvtt-1k")


# -- a library against a protocol --------------------------------------------------------------------------------------

TOY = Protocol(
    name="toy",
    title="Toy",
    importer="msrvtt-1ka",
    kind="retrieval",
    queries="",
    gallery="",
    metrics=("R@1",),
    clips=(3,),
    texts=6,
    classes=2,
    needs=("audio", "text"),
)


@pytest.fixture
def library(tmp_path):
    library = LibraryTables.create(tmp_path / "library")
    texts = (Text("a"), Text("b"))
    clips = [
        Clip(
            id=str(n),
            source=f"{n}.mp4",
            has_video=True,
            has_audio=True,
            texts=texts,
            labels=(f"l{n % 2}",),
            split="test",
        )
        for n in range(3)
    ]
    library.put_clips([*clips, Clip(id="other", source="o.mp4", has_video=True, split="train")])
    return library


def test_a_library_as_published(library):
    found = check(TOY, library.uri)
    assert (found.clips, found.texts, found.classes, found.lacking) == (3, 6, 2, {"audio": 0, "text": 0})
    assert found.deviations == ()
    assert str(found) == "toy: as published (3 clips)"


def test_what_a_library_lacks_is_said(library):
    library.put_clips([Clip(id="1", source="1.mp4", has_video=True, texts=(Text("a"),), labels=("l0",), split="test")])
    library.remove_clips(["2"])
    found = check(TOY, library)
    assert found.deviations == (
        "2 clips, expected 3",
        "3 captions, expected 6",
        "1 class, expected 2",
        "1 clip without audio",
    )
    assert str(found).startswith("toy: differs from what is published: 2 clips, expected 3; ")


def test_with_folds_all_of_the_set_counts(library):
    found = check("hmdb51", library)
    assert found.clips == 4
    assert "4 clips, expected 6,766 or 5,100" in found.deviations
