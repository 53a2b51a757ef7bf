"""The documentation: every command in it exists with the options it is given, the how-to pages run from the first line
to the last, and no link is broken.

In the how-to pages an indented line is run; what needs a network, a large model or hours stands in a fenced block.
"""

import csv
import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from seehear.cli import main
from seehear.commands import find, load, members
from seehear.commands.parsing import option_names
from tests.small_media import films

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md")) + [ROOT / "README.md"]
HOW_TO = ("index.md", "own-videos.md", "encoders.md", "methods/index.md", "troubleshooting.md")
COMMAND = re.compile(r"^ *(seehear [a-z].*?)(?:  +#.*)?$", re.M)


def commands_of(text):
    """Each as its words, of indented and fenced blocks; a line that ends in a backslash goes on."""
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```|^((?:    .*\n)+)", text.replace("\\\n", " "), re.M | re.S)
    return [shlex.split(line) for block in blocks for line in COMMAND.findall("".join(block)) if "..." not in line]


@cache
def options_of(name, *words):
    """Reading them from a command takes up to a quarter of a second."""
    return option_names(load(name, words))


@pytest.mark.parametrize(
    "page", PAGES, ids=lambda p: p.name if p.parent.name == "docs" else f"{p.parent.name}/{p.name}"
)
def test_every_command_of_a_page_exists_with_its_options(page):
    text = page.read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        compile(code, page.name, "exec")
    for words in commands_of(text):
        if members(words[1]) and len(words) == 2:  # 'seehear study' lists the studies
            continue
        name, rest = find(words[1:])
        given = {w.split("=")[0] for w in words if w.startswith("--")} - {"--quiet", "--verbose"}
        # The words decide the options of two commands.
        unknown = given - options_of(name, *(rest if name in ("train", "finetune") else ())) if given else set()
        assert not unknown, f"{page.name}: {' '.join(words)}: {unknown}"


@pytest.fixture
def home(tmp_path_factory):
    """Recordings in the home folder, with what is said beside them, and a table of some of them."""
    folder = tmp_path_factory.mktemp("home")
    rows = []
    for n, row in enumerate(films(folder, 24, inside="recordings")):
        (folder / row["video"]).with_suffix(".txt").write_text(row["texts"])
        rows.append({"path": row["video"], "start": 0, "end": 1.5, "text": row["texts"], "label": "ab"[n % 2]})
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_how_to_pages_run_from_the_first_line_to_the_last(home, monkeypatch, capsys):
    """One after the other: each builds on those before it."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    for page in HOW_TO:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for command, code in re.findall(r"^    (seehear .*?)(?:  +#.*)?$|^```python\n(.*?)^```", text, re.M | re.S):
            if command:
                words = [w.replace("~", str(home)) for w in shlex.split(command)[1:]]
                assert main(words) == 0, f"{page}: {command}\n{capsys.readouterr().err}"
            else:
                exec(compile(code, page, "exec"), {})


@pytest.mark.slow  # `make check` builds it too, so that broken links fail
def test_the_site_builds_and_no_link_is_broken(tmp_path):
    pytest.importorskip("mkdocstrings")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site")))  # strict: a warning is an error
    home_page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "seehear prepare" in home_page
    loaded = re.findall(
        r'<(?:script|img)[^>]*src="(https?://[^"]+)|<link[^>]*stylesheet[^>]*href="(https?://[^"]+)', home_page
    )
    assert not loaded, "the site loads something from another server"
    reference = "".join(page.read_text(encoding="utf-8") for page in (tmp_path / "site" / "api").rglob("*.html"))
    mcn = (tmp_path / "site" / "methods" / "mcn" / "index.html").read_text(encoding="utf-8")
    anchor = re.search(r'href="\.\./\.\./source/(methods/mcn\.py\.html)#(L-\d+)"><code>MCN\.objective<', mcn)
    source = (tmp_path / "site" / "source" / anchor[1]).read_text(encoding="utf-8")
    assert "objective" in source.split(f'id="{anchor[2]}"')[1].split("\n")[0], "an equation leads to its line"
    for name in (
        "SharedSpace.encode",
        "Library.search",
        "search.answer.Moment.end",
        "methods.fusemix.FuseMixConfig.dim",
    ):
        assert f'id="seehear.{name}"' in reference


LINKED = ["architecture.md", *(f"methods/{name}.md" for name in ("fusemix", "mcn", "vatt", "mavil", "diffmavil"))]


@pytest.mark.parametrize("page", LINKED)
def test_the_code_that_a_table_names_exists(page, monkeypatch):
    """The site would not build without it; `tools/code_links.py` makes the links."""
    markdown = pytest.importorskip("markdown")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    linker = importlib.import_module("code_links").Linker(page)
    html = markdown.markdown((ROOT / "docs" / page).read_text(encoding="utf-8"), extensions=["tables"])
    assert linker.page_linked(html, "../").count('href="../source/') >= 5
    with pytest.raises(LookupError, match="the package has no NoSuchName"):
        list(linker.spans("<code>NoSuchName</code>", every_name=True))


def test_the_floor_plan_shows_every_folder():
    drawn = (ROOT / "docs" / "figures" / "floor-plan.svg").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "seehear").glob("*/__init__.py")}
    assert folders == set(re.findall(r'class="n"[^>]*>(\w+)/<', drawn))
