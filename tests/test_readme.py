"""The README's commands and code do what they say, on a small part of the demo's media."""

import csv
import re
import shlex
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from seehear import demo
from seehear.cli import main
from seehear.data.encode import encode_library
from seehear.encoders import presets, registry
from seehear.encoders.presets import PresetEncoder
from seehear.recipes import run
from tests.faults.encoders import Grey, NoOptions

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHEAP = {"video": ("grey",), "audio": ("logmel",), "text": ("minilm",)}
"""Encoders in place of the default ones, which cost 0.1 to 0.3 s a clip and closed forms of 1280 dimensions."""


def rows_to_keep(rows, *, folds, each, every):
    """`each` sounds of every class in `folds`; of the pictures every so many, and those that show a class."""
    counts, pictures = {}, 0
    for row in rows:
        if row["audio"] and row["fold"] in folds:
            key = (row["fold"], row["labels"])
            counts[key] = counts.get(key, 0) + 1
            if counts[key] <= each:
                yield row
        elif row["image"]:
            pictures += 1
            if pictures % every == 0 or row["image"] in demo._PICTURES:
                yield row


def copy_media(folder, **options):
    with (demo.MEDIA / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows_to_keep(rows, **options):
            source = row["audio"] or row["image"]
            (folder / source).parent.mkdir(exist_ok=True)
            shutil.copyfile(demo.MEDIA / source, folder / source)
            writer.writerow(row)


@pytest.fixture(scope="module", autouse=True)
def grey():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.PACKAGED, "grey", lambda: (Grey, NoOptions))
        yield


@contextmanager
def smaller(media, *, epochs):
    """The demo of other media and of a shorter training."""
    full = demo.run()
    short = replace(full, train=replace(full.train, epochs=epochs, evaluations=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "MEDIA", media)
        patch.setattr(demo, "run", lambda: short)
        yield


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory):
    """`seehear demo` of a handful of clips and two folds, where the README's code looks for it; and once again."""
    media, where = tmp_path_factory.mktemp("media"), tmp_path_factory.mktemp("clone")
    copy_media(media, folds="14", each=3, every=60)
    with smaller(media, epochs=1), pytest.MonkeyPatch.context() as patch:
        cheap = [name for names in CHEAP.values() for name in names]
        patch.setattr(demo, "encode_library", lambda library: encode_library(library, cheap))
        report, again = demo.demo(where / "seehear-demo"), demo.demo(where / "seehear-demo")
    (where / "seehear").symlink_to(ROOT / "seehear")
    return where, report, again


def test_the_demo_measures_finds_and_resumes(small_demo):
    where, report, again = small_demo
    scores = {s.what: s for s in report.scores}
    named = scores["a sound is named, of 10 classes"]
    assert named.queries == 60
    assert named.chance == pytest.approx(0.1)
    assert report.scores == again.scores
    assert all(hits for hits in report.hits.values())
    assert (where / "seehear-demo" / "demo.json").exists()
    assert "chance" in str(report)


@pytest.mark.slow
def test_the_demo_names_sounds_that_no_training_heard(tmp_path):
    copy_media(tmp_path, folds="1234", each=2, every=20)
    with smaller(tmp_path, epochs=10):
        report = demo.demo(tmp_path / "seehear-demo")
    named = report.scores[0]
    assert (named.what, named.queries) == ("a sound is named, of 10 classes", 80)
    assert named.interval[0] > 0.3  # three times chance, from 50 training sounds


def test_no_fold_trains_on_what_it_is_scored_on(small_demo):
    from seehear.data.library import Library

    clips = Library.open(small_demo[0] / "seehear-demo" / "library").clips()
    for fold in "14":
        splits = {c.id: demo._split(c, fold, held_out=True) for c in clips}
        test = {c.group for c in clips if splits[c.id] == "test"}
        assert test.isdisjoint(c.group for c in clips if splits[c.id] != "test")
        assert all(splits[c.id] == "test" for c in clips if demo._shown(c) or c.meta.get("fold") == fold)
    own = {c.id: demo._split(c, "4", held_out=False) for c in clips}
    assert own == {c.id: c.split for c in clips}  # what `seehear evaluate` goes by


def test_the_python_of_the_readme_runs(small_demo, monkeypatch, capsys):
    monkeypatch.chdir(small_demo[0])
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("[[")
    assert out[-1].endswith("True")


@pytest.mark.parametrize("cheap", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_commands_of_the_readme_run(tmp_path, monkeypatch, capsys, cheap):
    if cheap:
        full = run.recipe("fusemix")
        short = replace(full, train=replace(full.train, epochs=20, evaluations=4))
        monkeypatch.setitem(run.recipes(), "fusemix", lambda: short)
        cheap_ones = tuple(PresetEncoder(name, (m,)) for m, names in CHEAP.items() for name in names)
        monkeypatch.setitem(presets.PRESETS, "light", cheap_ones)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the processes that encode with what the tests define
    recordings = tmp_path / "recordings"
    for clip in sorted((demo.MEDIA / "clips").glob("*.mp4"))[:12]:
        recordings.mkdir(exist_ok=True)
        shutil.copyfile(clip, recordings / clip.name)
        (recordings / f"{clip.stem}.txt").write_text(f"{clip.stem} says something")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    block = README.split("Then your own recordings")[1]
    commands = re.findall(r"^    (seehear (?!import).*?)(?:  +#.*)?$", block.split("or in Python")[0], re.M)
    assert [shlex.split(c)[1] for c in commands] == ["prepare", "encode", "train", "evaluate", "index", "search"]
    for command in commands:
        words = [w.replace("~", str(tmp_path)) for w in shlex.split(command)[1:]]
        assert main(words) == 0, command
    hits = capsys.readouterr().out.splitlines()[-10:]
    assert all(re.match(r" *\d+  (seen|heard|spoken|text) +(strong|fair|weak|nothing close) ", line) for line in hits)


def test_the_other_commands_of_the_readme_are_there(capsys):
    block = README.split("To look and listen")[1].split("## What is where")[0]
    commands = re.findall(r"^    (seehear .*?)(?:  +#.*)?$", block, re.M)
    assert {shlex.split(c)[1] for c in commands} >= {
        "serve",
        "doctor",
        "plan",
        "study",
        "probe",
        "finetune",
        "generate",
    }
    for command in commands:
        words = [w for w in shlex.split(command)[1:] if not w.startswith(("lib", "runs"))]
        with pytest.raises(SystemExit) as end:
            main([*words[: 2 if words[0] == "study" else 1], "--help"])
        assert end.value.code == 0
        assert "Example: " in capsys.readouterr().out


def test_the_make_targets_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M)
