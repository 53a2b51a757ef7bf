"""The page of a run under a protocol: measured beside published, where the library differs, examples, videos."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seehear.cli import main
from seehear.datasets.protocol_run import ProtocolReport
from seehear.datasets.protocols import ProtocolCheck, PublishedNumber, protocol
from seehear.evaluation.report import EvaluationReport
from seehear.evaluation.results import TaskResult
from seehear.report.protocol import asks_alike, protocol_page, published_section
from seehear.report.run import ReportOptions
from tests.report.pages import parse


@pytest.fixture(scope="module")
def flickr(made):
    """The page of the run on pictures and texts, and what the command said."""
    library, run, _ = made
    words = ["evaluate", str(run), "--library", library.uri, "--protocol", "flickr30k", "--device", "cpu"]
    assert main([*words, "--examples", "2"]) == 0
    return (run / "protocols" / "flickr30k" / "report.html").read_text(encoding="utf-8")


def tree_of(page):
    return parse(page.removeprefix("<!doctype html>"))


def test_it_stands_alone(flickr, made):
    tree = tree_of(flickr)
    assert "https:" not in flickr
    assert "http:" not in flickr
    assert all(n.attributes["src"].startswith("data:") for n in tree.every("img", "audio"))
    links = [n.attributes["href"] for n in tree.every("a") if not n.attributes["href"].startswith("#")]
    folder = made[1] / "protocols" / "flickr30k"
    assert links
    assert all((folder / name).is_file() for name in links)
    titles = [n.text for n in tree.every("h2")]
    assert titles[:3] == ["Published results", "Retrieval", "Examples"]
    assert titles[-1] == "How to reproduce"


def test_where_the_library_differs_is_said_first(flickr):
    lead = next(tree_of(flickr).every("header"))
    assert "40 clips, expected 1,000" in lead.text
    assert "40 clips, expected 1,000" in next(n.text for n in lead.every("p") if n.attributes.get("class") == "warn")
    assert "Zero-shot only if no picture of Flickr30K was trained on" in lead.text


def test_measured_beside_published(flickr, made):
    section = next(n for n in tree_of(flickr).every("section") if n.attributes["id"] == "published")
    own = EvaluationReport.load(made[1] / "protocols" / "flickr30k").get("text->video")
    chart = next(n for n in section.every("div") if any(c.text.startswith("text → image: R@1") for c in n.every("h3")))
    values = [n.text for n in chart.every("span") if n.attributes.get("class") == "value"]
    assert values[0].startswith(f"{100 * own.metrics['R@1']:.1f} % [")
    assert sorted(values[-5:], reverse=True) == values[-5:] == ["75.7 %", "75.7 %", "74.1 %", "71.2 %", "68.7 %"]
    (listed,) = section.every("table")
    row = next(n for n in listed.every("tr") if n.text.startswith("CLIP"))
    assert [c.text for c in row.children[1:2]] == ["arXiv 2103.00020, secondary"]
    assert [c.text for c in row.children[2:]] == ["88", "98.7", "99.4", "68.7", "90.6", "95.2"]


def test_examples_of_the_galleries_that_a_protocol_has(flickr):
    section = next(n for n in tree_of(flickr).every("section") if n.attributes["id"] == "examples")
    folds = {n.text for n in section.every("summary")}
    assert {"text → video + audio (2)", "video + audio → text (2)"} <= folds
    both = next(n for n in section.every("details") if next(n.every("summary")).text.startswith("text → video + audio"))
    figure = next(
        n for n in both.every("figure") if n.attributes["class"].startswith("item") and list(n.every("audio"))
    )
    assert list(figure.every("img")), "what is both seen and heard shows both"
    assert "score" in figure.text
    assert "cosine" not in figure.text, "a sum of two unit vectors is not one"


def test_no_page_where_none_is_wanted(made, tmp_path, capsys):
    library, run, _ = made
    page = Path(run / "protocols" / "clotho" / "report.html")
    words = ["evaluate", str(run), "--library", library.uri, "--protocol", "clotho", "--device", "cpu"]
    assert main([*words, "--no-html"]) == 0
    assert not page.exists()
    assert main([*words, "--examples", "0"]) == 0
    assert f"report: {page}" in capsys.readouterr().err
    assert page.is_file()


@pytest.mark.parametrize(
    ("asked", "task", "kind", "alike"),
    [
        ("image->text", "video->text", "retrieval", True),
        ("text->video", "text->video+audio, of all 1,000", "retrieval", True),
        ("text->video", "text->audio", "retrieval", False),
        ("text->video", "video->text", "retrieval", False),
        ("audio", "audio probe linear, labels", "multilabel", True),
        ("audio", "video->class", "classification", False),
        ("audio+video", "audio->class", "classification", False),
        ("", "steps->video+audio", "localisation", True),
        ("", "text->audio", "retrieval", False),
    ],
)
def test_a_published_column_is_set_beside_what_asks_the_same(asked, task, kind, alike):
    assert asks_alike(asked, TaskResult(task=task, kind=kind, model="m", metrics={})) is alike


@pytest.fixture
def steps(tmp_path):
    """A made-up result of steps in three videos."""
    result = TaskResult(
        task="steps->video",
        kind="localisation",
        model="mcn",
        metrics={"recall": 0.3, "recall (pooled)": 0.31},
        chance={"recall": 0.2, "recall (pooled)": 0.2},
        intervals={"recall": (0.1, 0.5)},
        counts={"videos": 3, "steps": 9, "tasks": 2},
        per_query={"recall": np.array([0.5, 0.0, np.nan])},
        keys=np.array(["1/good", "1/<bad>", "2/nothing marked"]),
        groups=np.array(["good", "<bad>", "nothing marked"]),
    )
    report = EvaluationReport(
        split="test", results=(result,), about={"fusion": "sum", "command": "seehear evaluate runs/mcn"}
    )
    checked = ProtocolCheck(protocol="crosstask", clips=9, texts=0, classes=0, lacking={}, deviations=())
    report.save(tmp_path)
    return ProtocolReport(wanted=protocol("crosstask"), checked=checked, report=report, folder=tmp_path)


def test_steps_in_videos(steps, tmp_path):
    tree = tree_of(protocol_page(tmp_path / "run", steps, ReportOptions()))
    (videos,) = (n for n in tree.every("section") if n.attributes["id"] == "videos")
    rows = [[c.text for c in row.children] for row in videos.every("tr")][1:]
    assert rows == [["1/<bad>", "0.0 %"], ["1/good", "50.0 %"]]
    chart = next(n for n in tree.every("div") if n.attributes.get("class") == "plot")
    names = [n.text for n in chart.every("span") if n.attributes.get("class") == "name"]
    assert names[0] == "mcn steps → video"
    assert names[1].startswith("ActBERT + Faster R-CNN")
    axis = next(n for n in chart.every("div") if n.attributes.get("class") == "axis")
    assert [n.text for n in axis.every("span")] == ["0", "15", "30", "45", "60%"], "41.4 is the highest"
    warned = [n for n in tree.every("p") if n.attributes.get("class") == "warn"]
    assert not warned
    assert "seehear evaluate runs/mcn" in tree.text


def test_nothing_published_is_said(steps):
    found = replace(steps, wanted=replace(steps.wanted, published=()))
    assert found.published == ()
    assert "No published results are known" in "".join(published_section(found))


def test_a_measure_that_was_not_measured_here_is_only_listed(steps):
    rows = (PublishedNumber("Somebody", {"audio mAP": 41.8, "d'": 2.5}, "github.com/a/b", "code", "<note>"),)
    found = replace(steps, wanted=replace(steps.wanted, published=rows))
    tree = parse("".join(filter(None, published_section(found))))
    assert not [n for n in tree.every("div") if n.attributes.get("class") == "plot"]
    cells = [[c.text for c in row.children] for row in tree.every("tr")]
    assert cells[0] == ["published", "source, and how seen", "note", "audio mAP, %", "d'"]
    assert cells[1] == ["Somebody", "github.com/a/b, code", "<note>", "41.8", "2.5"]
