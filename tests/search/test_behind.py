"""Clips of the library that an index has no current vector of."""

from dataclasses import replace

import pytest

from seehear.commands.search import Search
from seehear.library.tables import LibraryTables, Reject, Text
from seehear.search.behind import behind
from seehear.search.index import build_index, indexes
from tests.search import toy


@pytest.fixture
def library(tmp_path):
    made = toy.library(tmp_path)
    build_index(made, toy.Space(), name="run", model=str(tmp_path / "run"))
    return made


def test_an_index_of_all_clips_says_nothing(library):
    assert behind(library, "run") == ""


def test_clips_that_are_not_encoded_are_counted(library, tmp_path):
    library.put_clips([replace(toy.clip(n), id=f"new{n}") for n in range(7)])
    lib, run = tmp_path / "lib", tmp_path / "run"
    expected = f"7 of 31 clips are not indexed yet: run `seehear encode {lib}; seehear index {lib} {run}`"
    assert behind(library, "run") == expected


def test_the_command_names_an_index_that_is_not_called_like_its_run(library, tmp_path):
    build_index(library, toy.Space(), name="other one", model=str(tmp_path / "run"))
    library.put_clips([replace(toy.clip(0), id="new")])
    assert behind(library, "other one").startswith("1 of 25 clips is not indexed yet: ")
    command = f"seehear index {tmp_path / 'lib'} {tmp_path / 'run'} --name 'other one'"
    assert behind(library, "other one").endswith(f"; {command}`")


@pytest.mark.parametrize("stamped", [True, False], ids=["an index of today", "an index of an older version"])
def test_changed_clips_are_counted_once_and_gone_ones_are_not(library, tmp_path, monkeypatch, stamped):
    if not stamped:
        about = indexes(library)["run"]
        monkeypatch.setattr("seehear.search.behind.indexes", lambda _: {"run": {**about, "read": None}})
    assert behind(library, "run") == ""
    library.put_clips([replace(toy.clip(n), texts=(Text("other words"), Text("twice"))) for n in (3, 5)])
    library.remove_clips([toy.clip(8).id])
    again = LibraryTables.open(tmp_path / "lib")
    assert behind(again, "run").startswith("2 of 23 clips are not indexed yet: ")


def test_clips_that_the_run_cannot_take_or_that_were_set_aside_are_not_counted(library):
    silent = replace(toy.clip(0), id="silent", has_video=False, has_audio=False, texts=())
    library.put_clips([silent, replace(silent, id="broken", has_video=True)])
    library.put_rejects([Reject(path="broken (toy-video)", stage="encode:toy-video", reason="no picture in it")])
    assert behind(library, "run") == ""


def test_clips_are_read_whole_only_after_they_were_written(library, monkeypatch):
    monkeypatch.setattr(LibraryTables, "clips", lambda *_: pytest.fail("all clips were read"))
    assert behind(library, "run") == ""


@pytest.mark.parametrize("json", [False, True])
def test_the_search_command_says_so_beside_its_hits(library, tmp_path, monkeypatch, capsys, json):
    (tmp_path / "run").mkdir()
    monkeypatch.setattr("seehear.space.SharedSpace.from_pretrained", lambda *_, **__: toy.Space())
    command = Search(library=str(tmp_path / "lib"), words="a dog", index="run", k=2, json=json)
    command.run()
    before = capsys.readouterr()
    assert before.err == ""
    library.put_clips([replace(toy.clip(0), id="new")])
    command.run()
    after = capsys.readouterr()
    assert after.out == before.out
    assert after.err.startswith("1 of 25 clips is not indexed yet: run `seehear encode ")
    assert after.err.count("\n") == 1
