"""The commands that write the pages, and the exact words that a page repeats."""

import json
import os
import shutil
from pathlib import Path

import pytest

from seehear.cli import main


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run, not evaluated."""
    folder = tmp_path / "my run"
    shutil.copytree(made[1], folder, ignore=shutil.ignore_patterns("evaluation*", "report.html"))
    return folder


def test_evaluate_writes_the_page_with_its_own_command(run, made, capsys):
    words = ["evaluate", str(run), "--device", "cpu", "--no-closed-forms", "--no-probes", "--examples=0", "--json"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert f"report: {run / 'report.html'}" in err
    command = f"seehear evaluate '{run}' --device cpu --no-closed-forms --no-probes --examples=0 --json"
    assert json.loads(out)["command"] == command
    page = (run / "report.html").read_text(encoding="utf-8")
    assert command.replace("'", "&#x27;") in page
    assert "This evaluation has no closed forms to compare with" in page

    (run / "report.html").unlink()
    assert main(["report", str(run), "--examples", "1"]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert "Nobody picked these" in (run / "report.html").read_text(encoding="utf-8")


def test_numbers_without_a_page(run, capsys):
    assert main(["evaluate", str(run), "--device", "cpu", "--no-closed-forms", "--no-probes", "--no-html"]) == 0
    assert (run / "evaluation.json").is_file()
    assert not (run / "report.html").exists()
    assert "text->video" in capsys.readouterr().out


def test_numbers_stay_where_no_page_can_be_made(run, made, capsys):
    (run / "report.html").mkdir()
    assert main(["evaluate", str(run), "--device", "cpu", "--no-closed-forms", "--no-probes", "--examples", "0"]) == 2
    out, err = capsys.readouterr()
    assert "text->video" in out
    assert (run / "evaluation.json").is_file()
    assert "cannot write" in err.splitlines()[-1]


def test_a_report_needs_an_evaluation(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "seehear evaluate" in capsys.readouterr().err


WORDS = ["--device", "cpu", "--no-closed-forms", "--no-probes", "--examples", "0"]


def test_other_evaluations_leave_the_run_its_own(run, made, tmp_path, capsys):
    """Another library, another split, a folder of one's own: numbers and page go there, and `report` finds them."""
    assert main(["evaluate", str(run), *WORDS]) == 0
    own = {name: (run / name).read_bytes() for name in ("evaluation.json", "evaluation_queries.npz", "report.html")}
    other = tmp_path / "other"
    shutil.copytree(made[0].uri, other)
    folder = run / "evaluations"
    for words, out in (
        (["--library", str(other)], folder / "other"),
        (["--split", "val"], folder / "val"),
        (["--library", str(other), "--split", "val"], folder / "other-val"),
        (["--out", str(tmp_path / "mine")], tmp_path / "mine"),
    ):
        assert main(["evaluate", str(run), *words, *WORDS]) == 0
        assert f"report: {out / 'report.html'}" in capsys.readouterr().err
        assert json.loads((out / "evaluation.json").read_text())["split"] == ("val" if "val" in words else "test")
        config = os.path.relpath(run / "config.json", out)
        assert f'href="{config}"' in (out / "report.html").read_text(encoding="utf-8")
    assert {name: (run / name).read_bytes() for name in own} == own

    (folder / "other" / "report.html").unlink()
    assert main(["report", str(run), "--out", str(folder / "other")]) == 0
    assert str(other) in (folder / "other" / "report.html").read_text(encoding="utf-8")
    assert main(["compare", str(run), str(folder / "other")]) == 0
    assert "text->video" in capsys.readouterr().out


def test_the_run_s_own_library_may_be_named(run, made, monkeypatch, capsys):
    monkeypatch.chdir(Path(made[0].uri).parent)
    assert main(["evaluate", str(run), "--library", Path(made[0].uri).name + "/", *WORDS]) == 0
    assert (run / "evaluation.json").is_file()
    assert not (run / "evaluations").exists()


def test_two_libraries_of_one_name(run, made, tmp_path, capsys):
    for name in ("a", "b"):
        shutil.copytree(made[0].uri, tmp_path / name / "lib")
    first = ["evaluate", str(run), "--library", str(tmp_path / "a" / "lib"), *WORDS]
    assert (main(first), main(first)) == (0, 0)
    before = (run / "evaluations" / "lib" / "evaluation.json").read_bytes()
    assert main(["evaluate", str(run), "--library", str(tmp_path / "b" / "lib"), *WORDS]) == 2
    assert "say another folder with --out" in capsys.readouterr().err
    assert (run / "evaluations" / "lib" / "evaluation.json").read_bytes() == before


def test_no_page_of_older_numbers_is_left(run, capsys):
    assert main(["evaluate", str(run), *WORDS]) == 0
    assert (run / "report.html").is_file()
    assert main(["evaluate", str(run), *WORDS, "--no-html"]) == 0
    assert not (run / "report.html").exists()
