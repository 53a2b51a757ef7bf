"""The page of a run: what it says, that it stands alone, that nothing in it is more than text, and what it does when
media, library or model are gone."""

import re
import shutil
from itertools import pairwise

import numpy as np
import pytest

from seehear.errors import SeehearError
from seehear.evaluation.report import EvaluationReport
from seehear.inputs.latents import LatentData
from seehear.library.tables import LibraryTables
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.report.run import ReportOptions, flops_of_step, run_page, write_report
from tests.report import world
from tests.report.pages import levels, parse


@pytest.fixture(scope="module")
def page(made):
    library, run, _ = made
    return write_report(run, library).read_text(encoding="utf-8")


@pytest.fixture
def copied(made, tmp_path):
    """The run and its library in a folder of their own, to be harmed."""
    library, run, _ = made
    shutil.copytree(run.parent, tmp_path / "copy")
    own = LibraryTables.open(tmp_path / "copy" / "lib")
    own.set_about("roots", library.about()["roots"].replace(str(run.parent), str(tmp_path / "copy")))
    return LibraryTables.open(tmp_path / "copy" / "lib"), tmp_path / "copy" / "run", tmp_path / "copy" / "media"


def test_it_is_whole_and_can_be_read_by_a_machine(page):
    tree = parse(page.removeprefix("<!doctype html>"))
    (html,) = (n for n in tree.children if not isinstance(n, str))
    assert html.attributes["lang"] == "en"
    every = list(tree.every())
    names = [n.attributes["id"] for n in every if "id" in n.attributes]
    assert len(names) == len(set(names))
    assert len(list(tree.every("h1"))) == 1
    steps = levels(tree)
    assert all(after <= before + 1 for before, after in pairwise(steps))
    for link in tree.every("a"):
        assert link.attributes["href"].startswith("#") is (link.attributes["href"][1:] in names)
    assert all(n.attributes["alt"] for n in tree.every("img"))
    assert all(n.attributes["aria-label"] for n in tree.every("audio"))
    assert all(n.attributes["scope"] for n in tree.every("th"))
    drawings = [n for n in tree.every("svg") if "drawing" in n.attributes.get("class", "")]
    assert drawings
    assert all({"aria-label", "aria-hidden"} & n.attributes.keys() for n in drawings)


def test_it_begins_with_what_the_run_finds(page, made):
    _, run, _ = made
    first = EvaluationReport.load(run).verdict()[0]
    assert first in page
    assert page.index(first) < page.index("evaluation.json")


def test_examples_and_what_training_added_come_before_what_is_folded(page):
    sections = list(parse(page.removeprefix("<!doctype html>")).every("section"))
    titles = [next(section.every("h2")).text for section in sections]
    assert titles[:2] == ["Examples", "What training added"]
    assert [s.attributes.get("class") for s in sections] == [None] * 2 + ["folded"] * (len(sections) - 2)
    examples = sections[0]
    assert {h.text for h in examples.every("h3")} == {"Found in the first ten", "Missed"}
    for article in examples.every("article"):
        assert article.attributes["class"] == "example"
    added = sections[1].text
    assert added.startswith("What training added")
    assert "of 16 validation clips it finds the counterpart of" in added


def test_it_loads_nothing(page, made):
    assert "http:" not in page
    assert "https:" not in page
    tree = parse(page.removeprefix("<!doctype html>"))
    for node in tree.every():
        assert node.attributes.get("src", "data:").startswith("data:")
        assert not {"onclick", "onerror", "onload"} & node.attributes.keys()
    beside = {n.attributes["href"] for n in tree.every("a") if not n.attributes["href"].startswith("#")}
    assert beside
    assert all((made[1] / name).is_file() for name in beside)
    policy = next(n for n in tree.every("meta") if "http-equiv" in n.attributes).attributes["content"]
    assert policy.startswith("default-src 'none'")


def test_hostile_names_and_words_are_text(page):
    tree = parse(page.removeprefix("<!doctype html>"))
    assert len(list(tree.every("script"))) == 1
    shown = " ".join(n.text for n in tree.every("figcaption"))
    assert world.HOSTILE in shown
    assert "<b>.png" in shown
    assert "<i>bad</i>.mp4" in tree.text
    assert "seehear evaluate 'a <run>'" in tree.text
    assert "seehear train lib <fusemix>" in tree.text


def test_the_numbers_are_those_of_the_evaluation(page, made):
    report = made[2]
    rows = {}
    for row in parse(page.removeprefix("<!doctype html>")).every("tr"):
        cells = [n.text for n in row.children]
        rows.setdefault(cells[0], cells[1:])
    own = report.get("text->video", "fusemix")
    low, high = own.intervals["R@10"]
    cells = rows["text \N{RIGHTWARDS ARROW} video"]
    assert cells[1] == f"{100 * own.metrics['R@10']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    best = max(
        r.metrics["R@10"]
        for r in report.results
        if r.task == "text->video" and r.model in ("cca", "gcca", "ridge", "procrustes")
    )
    assert f" {100 * best:.1f} [" in cells[2]
    assert cells[3].startswith("asif ")
    assert cells[4] == f"{100 * own.chance['R@10']:.1f}"


def test_how_many_directions_are_ahead_is_counted_from_paired_differences(page):
    tree = parse(page.removeprefix("<!doctype html>"))
    table = next(t for t in tree.every("table") if "run - closed form" in t.text)
    bounds = [re.search(r"\[([+-][\d.]+), ([+-][\d.]+)\]", row.text) for row in table.every("tr")]
    intervals = [(float(b[1]), float(b[2])) for b in bounds if b]
    ahead, behind = sum(low > 0 for low, _ in intervals), sum(high < 0 for _, high in intervals)
    said = f"of {len(intervals)} directions the run is ahead in {ahead} and behind in {behind}"
    assert said in tree.text


def test_what_else_it_shows(page, made):
    text = parse(page.removeprefix("<!doctype html>")).text
    for said in ("true pairs", "hub skew", "validation score", "GFLOP", "clips a second", "no film & no sound"):
        assert said in text
    parameters = made[2] and sum(p.numel() for p in _method(made[1]).parameters())
    assert f"{parameters:,}, beside its encoders" in text
    assert "video + textaudio" in text.replace(" \N{RIGHTWARDS ARROW} ", "")  # clips with video and text lack audio


def _method(run):
    from seehear.space import SharedSpace

    return SharedSpace.from_pretrained(run, device="cpu").method


def test_the_same_page_twice(page, made):
    library, run, report = made
    assert run_page(run, report, library, ReportOptions()) == page


def test_pictures_and_sounds_keep_to_the_size(made):
    library, run, report = made
    small = ReportOptions(examples=60, megabytes=2.0)
    page = run_page(run, report, library, small)
    assert len(page) < 2_000_000
    assert len(run_page(run, report, library, ReportOptions(examples=0))) < 400_000


def test_media_that_are_gone_or_broken_cost_only_themselves(copied):
    library, run, media = copied
    whole = run_page(run, EvaluationReport.load(run), library, ReportOptions(examples=0))
    for n, path in enumerate(sorted((media / "pictures").iterdir())):
        path.unlink() if n % 2 else path.write_bytes(b"\xff\xd8\xffno picture")
    for path in (media / "sounds").iterdir():
        path.write_bytes(path.read_bytes()[:30])
    page = write_report(run, library).read_text(encoding="utf-8")
    assert "is not there any more" in page
    assert "not shown: " in page
    assert "could not be read; their places say why" in page
    assert "<img" not in page
    assert parse(page.removeprefix("<!doctype html>"))
    assert all(table in page for table in re.findall("<table.*?</table>", whole))


def test_without_the_library_the_numbers_remain(copied, tmp_path):
    _, run, _ = copied
    shutil.rmtree(tmp_path / "copy" / "lib")
    page = run_page(run, EvaluationReport.load(run), tmp_path / "copy" / "lib", ReportOptions())
    assert "only the numbers could be shown: no library at" in page
    assert "run - closed form" in page
    assert "<img" not in page


def test_a_library_that_changed_is_told(copied):
    library, run, _ = copied
    library.remove_clips([world.clip(world.CLIPS - 1).id])
    page = run_page(run, EvaluationReport.load(run), library, ReportOptions(examples=0))
    assert "the library has changed since the evaluation" in page


def test_a_run_that_was_not_evaluated(tmp_path):
    with pytest.raises(SeehearError, match="run 'seehear evaluate"):
        write_report(tmp_path)


@pytest.mark.parametrize("wrong", [{"examples": -1}, {"megabytes": 1.0}])
def test_options_that_make_no_page(wrong):
    with pytest.raises(SeehearError, match="a report has"):
        ReportOptions(**wrong)


def test_confusions_are_counted(page, made):
    result = made[2].get("video->class", "fusemix")
    tree = parse(page.removeprefix("<!doctype html>"))
    table = next(t for t in tree.every("table") if t.attributes.get("class") == "heat")
    rows = {row.children[0].text: [n.text for n in row.children[1:-1]] for row in table.every("tr")}
    for true in np.unique(result.truth):
        told = [int(n or 0) for n in rows[true]]
        classes = sorted({*result.truth.tolist(), *result.said.tolist()})
        assert told == [int(((result.truth == true) & (result.said == said)).sum()) for said in classes]


def test_the_operations_of_a_step_are_those_of_its_products():
    """Two linear maps of 12 and 9 to 6 dimensions: forward and the gradient of their weights, 4 operations a weight and
    row; and the scores of every row with every other, forward and backward to both sides, 12 a row, row and
    dimension."""
    rows, dim = 20, 6
    rng = np.random.default_rng(0)
    data = LatentData.from_arrays({m: rng.normal(size=(rows + 1, world.WIDTHS[m])) for m in ("video", "text")})
    config = FuseMixConfig(
        widths={"video": 12, "text": 9}, dim=dim, head="linear", pairs=(("video", "text"),), mix="permutation"
    )
    flops, counted = flops_of_step(FuseMix(config), data)
    assert counted == rows
    weights, scores = 4 * rows * (12 + 9) * dim, 6 * rows * rows * dim
    assert weights + scores <= flops <= weights + 2 * scores


def test_towers_whose_latents_no_training_step_reads_have_no_count():
    from seehear.methods.base import Method

    data = LatentData.from_arrays({"video": np.ones((4, 3)), "text": np.ones((4, 3))})
    assert flops_of_step(Method(), data) is None


def test_a_model_that_reads_media_has_no_count():
    """The report has latents of its towers only, which its steps do not read."""
    config = FuseMixConfig(widths={"video": 12, "text": 9}, dim=6, head="linear", pairs=(("video", "text"),))
    method = FuseMix(config)
    method.reads_media = True
    data = LatentData.from_arrays({"video": np.ones((4, 3)), "text": np.ones((4, 3))})
    assert flops_of_step(method, data) is None
