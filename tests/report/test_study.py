"""The page of a study: outcome, figure, tables, and all that was tried."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from seehear.cli import main
from seehear.commands.study import SelectionStudy
from seehear.library.tables import LibraryTables
from seehear.report.study import write_study
from seehear.studies.grid import Result
from seehear.studies.table import Study, tabulate
from tests.report.pages import levels, parse


@pytest.fixture
def study(tmp_path):
    cells = [
        {"chosen by": by, "clips": n, "seed": s} for by in ("<random>", "k-DPP") for n in (1200, 2400) for s in (0, 1)
    ]
    results = [Result(c, {"R@10": 0.3 + 0.01 * i, "MRR": math.nan}, 1.5) for i, c in enumerate(cells[:-1])]
    results.append(Result(cells[-1], seconds=0.5, error="too few <clips>"))
    table = tabulate(results, title="Which clips", notes=("On 9 test clips.",), percent=True)
    about = {"data": {"revision": "abc", "train": 1234, "val": 5, "test": 9}, "encoders": {"video": ["e & f"]}}
    made = Study(
        tmp_path, (table, tabulate(results, title="More")), ("- 400 <clips> are enough.",), tuple(results), about
    )
    made.save()
    (tmp_path / "selection.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    (tmp_path / "selection.png").write_bytes(b"png")
    return made


def test_what_it_says(study):
    path = write_study(study, kind="selection", command="seehear study selection 'my lib'")
    page = path.read_text(encoding="utf-8")
    tree = parse(page.removeprefix("<!doctype html>"))
    assert path == study.folder / "report.html"
    assert [h.text for h in tree.every("h1")] == ["Which clips to train on?"]
    steps = levels(tree)
    assert all(after <= before + 1 for before, after in pairwise(steps))
    for said in ("400 <clips> are enough.", "too few <clips>", "<random>", "e & f", "seehear study selection 'my lib'"):
        assert said in tree.text
    assert "1,234 train, 5 val, 9 test" in tree.text
    assert "8, 1 of them could not be measured" in tree.text
    assert "On 9 test clips." in tree.text
    (image,) = tree.every("img")
    assert image.attributes["src"].startswith("data:image/svg+xml;base64,")
    assert {"selection.png", "selection.svg", "study.json", "table.md"} == {
        a.attributes["href"] for a in tree.every("a") if not a.attributes["href"].startswith("#")
    }
    assert "http:" not in page
    assert len(list(tree.every("script"))) == 1


def test_answers_stand_below_their_question(study):
    said = ("- Few clips.", "- Does it help? a->b R@1: yes", "- Does it help? b->a R@1: no", "- Is it better? yes")
    page = write_study(replace(study, said=said), kind="modalities").read_text(encoding="utf-8")
    outcome = next(
        n for n in parse(page.removeprefix("<!doctype html>")).every("ul") if n.attributes.get("class") == "said"
    )
    assert [n.text for n in outcome.children] == [
        "Few clips.",
        "Does it help?a \N{RIGHTWARDS ARROW} b R@1: yesb \N{RIGHTWARDS ARROW} a R@1: no",
        "Is it better? yes",
    ]
    assert [n.text for n in outcome.children[1].every("li")] == [
        "a \N{RIGHTWARDS ARROW} b R@1: yes",
        "b \N{RIGHTWARDS ARROW} a R@1: no",
    ]


def test_the_table_is_that_of_the_markdown(study):
    page = write_study(study, kind="selection").read_text(encoding="utf-8")
    table = next(parse(page.removeprefix("<!doctype html>")).every("table"))
    shown = [[cell.text for cell in row.children] for row in table.every("tr")]
    assert shown == study.tables[0].lines()
    markdown = (study.folder / "table.md").read_text(encoding="utf-8")
    assert all(f"| {' | '.join(line)} |" in markdown for line in shown)
    assert shown[1] == ["<random>", "1,200", shown[1][2]]
    assert shown[1][2].startswith("30.5 [")


def test_every_cell_is_listed(study):
    tree = parse(write_study(study, kind="selection").read_text(encoding="utf-8").removeprefix("<!doctype html>"))
    table = next(t for t in tree.every("table") if "seconds" in t.text)
    assert len(list(table.every("tr"))) == 1 + 7


def test_the_command_says_the_outcome_and_has_the_tables_for_who_asks(study, monkeypatch, capsys):
    said = tuple(f"- answer {n}" for n in range(5))
    monkeypatch.setattr(SelectionStudy, "measure", lambda *_: replace(study, said=said))
    monkeypatch.setattr(LibraryTables, "open", lambda uri: uri)
    assert main(["study", "selection", "my lib"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["answer 0", "answer 1", "answer 2", "(2 more sentences in the report.)"]
    report = f"report: {study.folder / 'report.html'}"
    assert err.splitlines() == [report, "next: seehear select 'my lib' --clips 1000"]
    assert main(["study", "selection", "my lib", "--details"]) == 0
    assert "| chosen by | clips | R@10, % |" in capsys.readouterr().out


def test_a_study_without_a_figure_or_words(study):
    for path in study.folder.glob("selection.*"):
        path.unlink()
    bare = Study(study.folder, study.tables, (), study.results, study.about)
    page = write_study(bare, kind="own").read_text(encoding="utf-8")
    assert "<img" not in page
    assert 'id="outcome"' not in page


def test_a_setting_that_was_measured_too_is_listed_once(study):
    results = tuple(replace(r, values={**r.values, "clips": r.cell["clips"]}) for r in study.results)
    page = write_study(replace(study, results=results), kind="selection").read_text(encoding="utf-8")
    tried = next(
        n for n in parse(page.removeprefix("<!doctype html>")).every("section") if n.attributes["id"] == "tried"
    )
    heads = [[cell.text for cell in next(table.every("tr")).children] for table in tried.every("table")]
    assert ["chosen by", "clips", "seed", "seconds", "R@10", "MRR"] in heads
