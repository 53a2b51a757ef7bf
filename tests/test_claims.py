"""The page of the papers' claims: made by its script, every sentence of an abstract has a row, every row a command and
code that exist."""

import importlib
import json
import shlex
from pathlib import Path

import pytest

from seehear.commands import find, load
from seehear.commands.parsing import option_names

ROOT = Path(__file__).parent.parent


@pytest.fixture
def claims(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("make_claims_page")


def rows(claims):
    return [(paper, claim) for paper in claims.read_table()["paper"] for claim in paper["claim"]]


def test_the_page_is_what_the_script_makes(claims):
    """After a change of the table or of a result: python tools/make_claims_page.py"""
    assert (ROOT / "docs" / "claims.md").read_text(encoding="utf-8") == claims.page(claims.read_table())


def test_every_sentence_of_an_abstract_has_a_row(claims):
    for paper in claims.read_table()["paper"]:
        covered = {sentence for claim in paper["claim"] for sentence in claim["sentence"]}
        assert covered == set(range(1, paper["sentences"] + 1)), paper["title"]


def test_the_code_of_a_row_exists(claims):
    for _, claim in rows(claims):
        assert claim["code"], claim["claim"]
        assert all(claims.located(place) for place in claim["code"])
    with pytest.raises(LookupError, match="0 files"):
        claims.located("fusemix.py: NoSuchName")


def test_every_row_has_commands_that_exist(claims):
    for _, claim in rows(claims):
        assert claim["result"], claim["claim"]
        for result in claim["result"]:
            program, *words = shlex.split(result["command"])
            if "file" in result and not (claims.RESULTS / result["file"]).is_file():
                continue  # of a benchmark that was not run
            if program == "seehear":
                name, rest = find(words)
                assert {w for w in words if w.startswith("--")} <= option_names(load(name, rest)), result["command"]
            else:
                assert (ROOT / words[0]).is_file(), result["command"]


def test_a_verdict_is_one_of_those_the_script_names(claims):
    for _, claim in rows(claims):
        rule = claim["verdict"]
        texts = [rule] if isinstance(rule, str) else [rule["yes"], rule["no"]]
        assert all(text.partition(":")[0] in claims.VERDICTS for text in texts), claim["claim"]


def test_figures_are_means_of_what_their_paths_choose(claims):
    data = {"cells": [{"model": "a", "values": {"x": 1, "y": 3}}, {"model": "a", "values": {"x": 5, "y": 7}}]}
    data["cells"].append({"model": "b", "values": {"x": 100, "y": 100}})
    assert claims.figure(data, ["cells", {"model": "a"}, "values", "x"]) == 3
    assert claims.figure(data, ["cells", {"model": "a"}, "values", ["x", "y"]]) == 4
    assert claims.figure(data, ["cells", -1, "values", "y"]) == 100
    with pytest.raises(LookupError):
        claims.figure(data, ["cells", {"model": "c"}, "values", "x"])


def test_a_missing_file_or_figure_reads_not_measured_and_so_does_its_rule(claims, tmp_path):
    result = {
        "command": "python x.py",
        "file": "x.json",
        "text": "{a:.1f}",
        "missing": "no GPU",
        "figures": {"a": ["n"]},
    }
    claim = {"sentence": [1], "claim": "C", "code": [], "result": [result]}
    claim["verdict"] = {"if": "a > 0.5", "yes": "holds here: well", "no": "does not hold here"}
    assert "| not measured: no GPU | `python x.py` | **not measured** |" in claims.row(claim, tmp_path)
    (tmp_path / "x.json").write_text(json.dumps({"m": 1}))
    assert "**not measured**" in claims.row(claim, tmp_path)
    (tmp_path / "x.json").write_text(json.dumps({"n": 1}))
    assert "| 1.0 | `python x.py` | **holds here**: well |" in claims.row(claim, tmp_path)
    (tmp_path / "x.json").write_text(json.dumps({"n": 0.5}))
    assert "**does not hold here** |" in claims.row(claim, tmp_path)
