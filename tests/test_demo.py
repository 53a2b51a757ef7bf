"""The demo on a few of its media: questions and their answers fit the media, scores count what they say, it goes on."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from seehear import demo
from seehear.demo import ASSETS, MEDIA, WAYS, Question, Score
from seehear.library.tables import Clip
from seehear.media.files import probe
from seehear.search.answer import Answer, Moment

ROOT = Path(__file__).parent.parent
FILES = {path.relative_to(MEDIA).as_posix() for path in MEDIA.rglob("*") if path.is_file()}


def moment(source, start=0.0, end=0.0, kind="seen", text=""):
    return Moment(f"/media/{source}", start, end, kind, text, 0.9, 0.99, source, source)


# -- media and questions -----------------------------------------------------------------------------------------------


def test_every_file_has_its_licence_and_no_file_a_text_beside_it():
    told = {line.split(" | ")[0].removeprefix("| ") for line in (ASSETS / "ATTRIBUTION.md").read_text().splitlines()}
    assert told >= FILES
    assert {path.rpartition(".")[2] for path in FILES} == {"jpg", "opus", "mp4"}


def test_no_film_has_subtitles():
    for path in MEDIA.glob("films/*.mp4"):
        assert not probe(path).subtitles, path.name


def test_the_media_are_small():
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) < 10e6


def test_every_answer_is_a_moment_of_a_file():
    for question in demo.questions():
        for file, start, end in question.answers:
            assert file in FILES, question.words
            assert end == float("inf") or 0 <= start < end <= probe(MEDIA / file).duration + 0.1, question.words


def test_every_way_is_asked_for_and_no_question_twice():
    with (ASSETS / "queries.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["way"] for row in rows} == set(WAYS)
    assert len({(row["way"], row["query"]) for row in rows}) == len(rows)
    assert all(f.startswith("sounds/") for q in demo.questions() if q.way == "heard" for f, _, _ in q.answers)


def test_a_copy_of_the_media_that_was_cut_short_is_made_again(tmp_path, monkeypatch):
    def cut(source, target):
        target.mkdir()
        shutil.copy(next(source.glob("*/*.jpg")), target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", cut)
        with pytest.raises(KeyboardInterrupt):
            demo.own_media(tmp_path)
    copied = demo.own_media(tmp_path)
    assert {path.relative_to(copied).as_posix() for path in copied.rglob("*") if path.is_file()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["media"]


# -- scores ------------------------------------------------------------------------------------------------------------


def test_an_answer_is_right_by_what_plays_first():
    asked = Question("seen", "a dog", (("a.mp4", 3.0, 6.0), ("b.jpg", 0.0, float("inf"))))
    assert asked.right(moment("a.mp4", 2.9, 6.1))
    assert asked.right(moment("a.mp4", 3.0, 12.0))
    assert not asked.right(moment("a.mp4", 0.0, 6.0))
    assert asked.right(moment("b.jpg"))
    assert not asked.right(moment("a.mp4", 5.5, 9.0))
    assert not asked.right(moment("c.jpg"))


class Searcher:
    """Answers each question with the same moments."""

    def __init__(self, *hits):
        self.hits = list(hits)
        self.clips = {n: Clip(id=n, source=n, has_video=True) for n in ("a.jpg", "b.jpg", "c.jpg", "d.jpg")}

    def search(self, words, *, k, kinds=(), filters=None):
        return Answer(words, self.hits[:k], indexed=4, clips=4)


def test_scores_count_first_hits_the_first_three_and_chance():
    asked = [Question("seen", words, ((file, 0.0, float("inf")),)) for words, file in (("a", "a.jpg"), ("b", "b.jpg"))]
    found = demo.score("seen", Searcher(moment("a.jpg"), moment("b.jpg")), asked)
    assert found == Score("seen", first=0.5, among=1.0, chance=0.25, questions=2, moments=4)


def test_a_way_in_which_nothing_was_read_says_so():
    found = demo.score("spoken", Searcher(), [Question("spoken", "hello", (("a.mp4", 0.0, 1.0),))])
    assert (found.first, found.moments) == (0.0, 0)
    assert "not read" in str(found)


# -- all of it ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(tmp_path_factory, few_phrases):
    """`seehear demo` of four photos and a film; and once again."""
    media, folder = tmp_path_factory.mktemp("few") / "media", tmp_path_factory.mktemp("clone") / "seehear-demo"
    for name in (
        "photos/panda.jpg",
        "photos/coffee.jpg",
        "photos/hammer.jpg",
        "photos/giraffe.jpg",
        "films/rabbit.mp4",
    ):
        (media / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(MEDIA / name, media / name)
    few = {name.relative_to(media).as_posix() for name in media.rglob("*") if name.is_file()}
    asked = [q for q in demo.questions() if {file for file, _, _ in q.answers} <= few]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "MEDIA", media)
        patch.setattr(demo, "questions", lambda: asked)
        patch.setattr("seehear.folders.work.find_spec", lambda package: None)  # neither speech nor text on screen
        yield folder, demo.demo(folder), demo.demo(folder)


def test_words_find_what_is_seen(shown):
    folder, report, _ = shown
    seen = report.scores[0]
    assert (seen.way, seen.questions, seen.moments, seen.chance) == ("seen", 5, 5, pytest.approx(0.2))
    assert seen.first >= 0.6
    assert (folder / "demo.json").is_file()


def test_it_says_its_verdict_first_and_the_next_command_last(shown):
    lines = str(shown[1]).strip().splitlines()
    assert lines[0].startswith("5 films, photos and sounds without one subtitle: ")
    assert lines[-1] == f"next: seehear open {shown[0]}/media --library {shown[0]}/library"
    assert len(lines) <= 25


def test_the_python_of_the_readme_runs(shown, monkeypatch, capsys):
    monkeypatch.chdir(shown[0].parent)
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)[1]
    exec(compile(code, "README.md", "exec"), {})
    similar, modalities = capsys.readouterr().out.splitlines()
    values = [float(value) for value in re.findall(r"-?\d\.\d+", similar)]
    assert values.index(max(values)) == 0, "a panda is a panda"
    assert modalities.endswith("True")


def test_the_cells_of_the_notebook_run(shown, monkeypatch, capsys):
    monkeypatch.chdir(shown[0].parent)
    cells = json.loads((ROOT / "docs" / "quick-look.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "quick-look.ipynb", "exec"), names)
    assert names["answer"][0].file.endswith("panda.jpg")
    assert capsys.readouterr().out.count("panda.jpg") == 2, "by words and by itself"
    assert names["space"].similarity(names["photo"], names["words"]).argmax() == 0


def test_a_second_time_gives_the_same(shown):
    _, report, again = shown
    assert report.scores == again.scores
