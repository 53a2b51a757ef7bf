"""The commands that write the pages, and the exact words that a page repeats."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from seehear.cli import main
from seehear.evaluation.report import EvaluationReport
from seehear.library.tables import LibraryTables
from tests.report.pages import parse


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
    assert command in parse(page.removeprefix("<!doctype html>")).text
    assert "This evaluation has no closed forms to compare with" in page

    (run / "report.html").unlink()
    assert main(["report", str(run), "--examples", "1"]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert "Not hand-picked" in (run / "report.html").read_text(encoding="utf-8")


def test_the_verdict_comes_first_and_the_tables_when_they_are_asked_for(run, made, capsys):
    assert main(["evaluate", str(run), *WORDS]) == 0
    out, err = capsys.readouterr()
    verdict = EvaluationReport.load(run).verdict()
    assert out.splitlines() == verdict
    assert err.splitlines()[-2:] == [f"report: {run / 'report.html'}", f"next: seehear index {made[0].uri} '{run}'"]
    page = parse((run / "report.html").read_text(encoding="utf-8").removeprefix("<!doctype html>"))
    assert all(sentence in page.text for sentence in verdict)
    assert main(["evaluate", str(run), *WORDS, "--details", "--no-html"]) == 0
    out, err = capsys.readouterr()
    assert "text->video" in out
    assert f"numbers: {run / 'evaluation.json'}" in err
    assert not (run / "report.html").exists(), "no page of older numbers is left"


def test_numbers_stay_where_no_page_can_be_made(run, made, capsys):
    (run / "report.html").mkdir()
    assert main(["evaluate", str(run), "--device", "cpu", "--no-closed-forms", "--no-probes", "--examples", "0"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("Words find the right clip in the first ten for ")
    assert (run / "evaluation.json").is_file()
    assert "cannot write" in err.splitlines()[-1]


def test_a_report_needs_an_evaluation(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "seehear evaluate" in capsys.readouterr().err


WORDS = ["--device", "cpu", "--no-closed-forms", "--no-probes", "--examples", "0"]


@pytest.mark.slow
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


# -- bad files and small machines: one line each, status 2 -------------------------------------------------------------


def refused(capsys, *words):
    """The one line that a command ends with."""
    capsys.readouterr()
    assert main([*words]) == 2
    err = capsys.readouterr().err
    last = err.splitlines()[-1]
    assert last.startswith("seehear: ")
    assert "Traceback" not in err
    return last


def test_a_split_without_pairs_is_refused_and_nothing_is_written(run, made, tmp_path, capsys):
    library = tmp_path / "lib"
    shutil.copytree(made[0].uri, library)
    opened = LibraryTables.open(library)
    silent = [replace(clip, texts=(), has_audio=False, labels=()) for clip in opened.clips("split = 'test'")]
    opened.put_clips(silent)
    line = refused(capsys, "evaluate", str(run), "--library", str(library), *WORDS)
    assert "no clip of the split 'test'" in line
    assert "--split" in line
    assert not (run / "evaluations").exists()


DEEP = "[" * 200_000


@pytest.mark.parametrize("content", [b'{"format": "seehear-ev', b"\xff\xfe\x00", DEEP.encode(), b"[1]"])
def test_a_damaged_evaluation_is_one_line(run, made, capsys, content):
    (run / "evaluation.json").write_bytes(content)
    line = refused(capsys, "report", str(run))
    assert str(run / "evaluation.json") in line
    assert "evaluate again" in line
    assert len(line) < 400


def test_an_evaluation_that_lacks_a_part_is_one_line(run, made, capsys):
    for name in ("evaluation.json", "evaluation_queries.npz"):
        shutil.copy(made[1] / name, run)
    good = (run / "evaluation.json").read_text(encoding="utf-8")
    first, *rest = json.loads(good)["results"]
    del first["metrics"]
    for changed in ({"results": [first, *rest]}, {"results": 3}, {"results": []}, {"warnings": None}):
        (run / "evaluation.json").write_text(json.dumps(json.loads(good) | changed), encoding="utf-8")
        assert "evaluate again" in refused(capsys, "report", str(run))
    (run / "evaluation.json").write_text(good, encoding="utf-8")
    queries = run / "evaluation_queries.npz"
    for content in (queries.read_bytes()[:200], b"", b"\x93NUMPY"):
        queries.write_bytes(content)
        assert "evaluate again" in refused(capsys, "compare", str(run), str(run))
    queries.unlink()
    assert "evaluate again" in refused(capsys, "report", str(run))


@pytest.mark.parametrize("content", ["{", DEEP, "[1]"])
def test_damaged_settings_of_a_run_are_one_line(run, made, capsys, content):
    (run / "config.json").write_text(content)
    assert str(run / "config.json") in refused(capsys, "evaluate", str(run), *WORDS)
    library = str(made[0].uri)
    line = refused(capsys, "train", library, "fusemix", "--out", str(run), "--resume")
    assert "start in another folder" in line


def test_a_deep_model_config_is_one_line(run, capsys):
    (run / "model" / "config.json").write_text(DEEP)
    assert str(run / "model" / "config.json") in refused(capsys, "evaluate", str(run), *WORDS)


def test_a_model_without_encoders_is_one_line(run, made, capsys):
    config = run / "model" / "config.json"
    good = json.loads(config.read_text())
    for encoders in ({}, {"video": []}, {"video": [{"name": "x", "fingerprint": "y", "width": "wide"}]}):
        config.write_text(json.dumps(good | {"encoders": encoders}))
        for words in (["evaluate", str(run), *WORDS], ["index", str(made[0].uri), str(run)]):
            line = refused(capsys, *words)
            assert str(config) in line
            assert "encoders" in line


def test_weights_that_are_not_numbers_are_one_line(run, capsys):
    path = run / "model" / "model.safetensors"
    tensors = load_file(path)
    name = next(n for n, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel() > 1)
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, path)
    line = refused(capsys, "evaluate", str(run), *WORDS)
    assert str(path) in line
    assert name in line
    assert "NaN" in line


OUT_OF_MEMORY = [
    MemoryError(),
    MemoryError("Unable to allocate 4.00 TiB for an array with shape (1099511627776,) and data type float32"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: not enough memory: you tried"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_too_little_memory_is_one_line(error, monkeypatch, capsys):
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("seehear.cli._run", fails)
    assert main(["encode", "lib"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("seehear: not enough memory")
    assert err.count("\n") == 1
