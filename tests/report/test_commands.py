"""The commands that write the pages, and the exact words that a page repeats."""

import json
import shutil

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
