"""The README's commands do what they say, on small films; its Python is run by test_demo.py."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from seehear.cli import main
from seehear.encoders import registry
from seehear.encoders.registry import PresetEncoder
from seehear.runs import config as recipes
from tests.faults.encoders import Grey, NoOptions
from tests.small_media import films

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHEAP = {"video": ("grey",), "audio": ("logmel",), "text": ("minilm",)}
"""Encoders in place of the default ones, which cost 0.1 to 0.3 s a clip and closed forms of 1280 dimensions."""


@pytest.fixture(scope="module", autouse=True)
def grey():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.PACKAGED, "grey", lambda: (Grey, NoOptions))
        yield


@pytest.mark.parametrize("cheap", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_commands_of_the_readme_run(tmp_path, monkeypatch, capsys, cheap):
    if cheap:
        full = recipes.recipe("fusemix")
        short = replace(full, train=replace(full.train, epochs=4, evaluations=2))
        monkeypatch.setitem(recipes.recipes(), "fusemix", lambda: short)
        cheap_ones = tuple(PresetEncoder(name, (m,)) for m, names in CHEAP.items() for name in names)
        monkeypatch.setitem(registry.PRESETS, "light", cheap_ones)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the processes that encode with what the tests define
    recordings = tmp_path / "recordings"
    for row in films(recordings, 12):
        (recordings / row["video"]).with_suffix(".txt").write_text(row["texts"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    block = README.split("From a folder to a trained and tested model")[1].split("## In Python")[0]
    commands = re.findall(r"^    (seehear .*?)(?:  +#.*)?$", block, re.M)
    assert [shlex.split(c)[1] for c in commands] == ["prepare", "encode", "train", "evaluate", "index", "search"]
    for command in commands:
        words = [w.replace("~", str(tmp_path)) for w in shlex.split(command)[1:]]
        assert main(words) == 0, command
    hits = capsys.readouterr().out.splitlines()[-10:]
    assert all(re.match(r" *\d+  (seen|heard|spoken|text) +(strong|fair|weak|nothing close) ", line) for line in hits)


def test_the_make_targets_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"])
def test_the_links_of_a_page_outside_the_site_lead_somewhere(page):
    """Those of the site are followed by mkdocs, in test_docs.py."""
    path = ROOT / page
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
