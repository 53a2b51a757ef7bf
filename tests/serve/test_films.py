"""The list of films, photos and sounds, over libraries of rows alone."""

from datetime import datetime

import numpy as np
import pytest

from seehear.library.tables import Clip, LibraryTables, Reject, Source, Text, Vectors
from seehear.library.transcripts import Transcript, write_transcripts
from seehear.search.index import set_index

pytest.importorskip("fastapi")
from tests.serve import world


def made(name, month, kind="video", seconds=20.0, **info):
    """A source, changed in the middle of a month of 2025."""
    facts = {"kind": kind, "origin": ".", "recipe": "r"}
    facts |= {} if kind == "audio" else {"width": "64"}
    facts |= {} if kind == "picture" else {"rate": "48000"}
    time = int(datetime(2025, month, 15, 12).timestamp() * 1e9)
    return Source(source=name, size=1, mtime_ns=time, fingerprint=f"of {name}", duration=seconds, info=facts | info)


def part(name, start, end, **more):
    return Clip(id=f"{name}#{start}-{end}", source=name, start=start, end=end, has_video=True, has_audio=True, **more)


def index(library, *ids):
    """An index that has these clips."""
    rows = Vectors(
        ids=list(ids),
        items=np.zeros(len(ids), np.int32),
        modalities=["video"] * len(ids),
        vectors=np.ones((len(ids), 4), np.float16),
        makers=["m"] * len(ids),
        contents=["c"] * len(ids),
    )
    library.vectors("vectors", "i", 4).append(rows)
    set_index(library, "i", {"maker": "m", "model": "m", "modalities": ["video"], "dim": 4})


@pytest.fixture
def library(tmp_path):
    library = LibraryTables.create(tmp_path / "lib")
    library.add_root(tmp_path / "Holidays")
    library.put_sources(
        [
            made("beach/film 10.mp4", 3),
            made("beach/film 2.avi", 3, seconds=600.0, coarse="yes"),
            made("beach/copy.mp4", 4, copy_of="beach/film 10.mp4"),
            made("photo.jpg", 5, "picture", 0.0),
            made("rain.opus", 1, "audio", 5.0),
        ]
    )
    library.put_clips(
        [
            part("beach/film 10.mp4", 10.0, 20.0),
            part("beach/film 10.mp4", 0.0, 10.0),
            part("beach/film 2.avi", 0.0, 5.0),
            part("beach/film 2.avi", 300.0, 305.0),
            part("beach/film 2.avi", 595.0, 600.0),
            Clip(id="photo.jpg", source="photo.jpg", has_video=True),
            Clip(id="rain.opus", source="rain.opus", end=5.0, has_audio=True),
            Clip(id="manifest.csv#1", texts=(Text("words alone"),)),
        ]
    )
    return library


@pytest.fixture
def client(library, tmp_path):
    with world.client_of(library.uri, tmp_path / "cache") as client:
        yield client


def films(client, **asked):
    answer = client.get("/api/films", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_one_entry_a_file_the_newest_first(client):
    found = films(client)
    assert [film["name"] for film in found["films"]] == [
        "photo.jpg",
        "beach/film 2.avi",
        "beach/film 10.mp4",
        "rain.opus",
    ]
    assert found["groups"] == [
        {"key": "2025-05", "by": "date", "count": 1},
        {"key": "2025-03", "by": "date", "count": 2},
        {"key": "2025-01", "by": "date", "count": 1},
    ]
    assert found["kinds"] == {"video": 2, "picture": 1, "sound": 1}
    photo, long, film, sound = found["films"]
    assert [photo["kind"], long["kind"], film["kind"], sound["kind"]] == ["picture", "video", "video", "sound"]
    assert [photo["seconds"], long["seconds"], sound["seconds"]] == [0.0, 600.0, 5.0]
    assert (long["clip"], long["start"], long["clips"]) == ("beach/film 2.avi#300.0-305.0", 300.0, 3)
    assert (film["also"], film["played"], long["played"]) == (["beach/copy.mp4"], True, False)
    assert datetime.fromtimestamp(photo["date"]).month == 5


def test_by_folder_and_in_parts(client):
    found = films(client, by="folder")
    assert [(group["key"], group["count"]) for group in found["groups"]] == [("", 2), ("beach", 2)]
    names = [film["name"] for film in found["films"]]
    assert names == ["photo.jpg", "rain.opus", "beach/film 2.avi", "beach/film 10.mp4"]
    assert found["root"] == "Holidays"
    some = films(client, by="folder", offset=1, limit=2)
    assert [film["name"] for film in some["films"]] == names[1:3]
    assert (some["total"], some["groups"]) == (4, found["groups"])
    assert films(client, offset=99)["films"] == []


def test_what_waits_is_said_until_it_is_done(client, library, monkeypatch):
    monkeypatch.setattr("seehear.serve.runs.FRESH", -1.0)
    monkeypatch.setattr("seehear.serve.films.PAUSE", 0.0)
    found = films(client)
    waiting = {film["name"]: film["waiting"] for film in found["films"]}
    assert waiting == {
        "photo.jpg": ["index", "screen"],
        "rain.opus": ["index", "speech"],
        "beach/film 2.avi": ["scenes", "index", "speech", "screen"],
        "beach/film 10.mp4": ["index", "speech", "screen"],
    }
    assert found["waiting"] == {"index": 4, "screen": 3, "speech": 3, "scenes": 1}
    index(library, "photo.jpg", "beach/film 10.mp4#0.0-10.0", "beach/film 2.avi#0.0-5.0")
    reject = Reject(path="beach/film 10.mp4#10.0-20.0 (tower)", stage="encode:tower", reason="no frame there")
    library.put_rejects([reject])
    for task in ("speech", "screen"):
        done = Transcript(source="beach/film 10.mp4", task=task, by="x", content="of beach/film 10.mp4")
        write_transcripts(library, [done])
    again = films(client)
    assert again["version"] != found["version"]
    by_name = {film["name"]: film for film in again["films"]}
    assert by_name["photo.jpg"]["waiting"] == ["screen"]
    assert (by_name["beach/film 10.mp4"]["waiting"], by_name["beach/film 10.mp4"]["found"]) == ([], 1)
    assert by_name["beach/film 10.mp4"]["problem"] == "no frame there"
    assert (by_name["beach/film 2.avi"]["found"], by_name["beach/film 2.avi"]["waiting"][1]) == (1, "index")


@pytest.mark.parametrize("by", ["date", "folder"])
def test_files_set_aside_stand_last_with_their_reason(client, library, by, monkeypatch):
    monkeypatch.setattr("seehear.serve.runs.FRESH", -1.0)
    monkeypatch.setattr("seehear.serve.films.PAUSE", 0.0)
    library.put_rejects(
        [
            Reject(path="beach/broken.mp4", stage="probe", reason="cannot be read", mtime_ns=10**18),
            Reject(path="rain.opus (asr)", stage="asr", reason="the sound breaks off"),
        ]
    )
    found = films(client, by=by)
    assert found["total"] == 5
    assert found["groups"][-1] == {"key": "", "by": "aside", "count": 1}
    last = found["films"][-1]
    assert (last["name"], last["kind"], last["problem"], last["clip"]) == (
        "beach/broken.mp4",
        "aside",
        "cannot be read",
        "",
    )
    sound = next(film for film in found["films"] if film["kind"] == "sound")
    assert sound["problem"] == "the sound breaks off"


def test_an_unchanged_library_is_read_once(client, library, monkeypatch):
    monkeypatch.setattr("seehear.serve.runs.FRESH", -1.0)
    first = films(client)
    monkeypatch.setattr(LibraryTables, "rejects", lambda self: pytest.fail("read again"))
    assert films(client, by="folder")["version"] == first["version"]


def test_names_are_kept_as_they_are(client, library, monkeypatch):
    monkeypatch.setattr("seehear.serve.runs.FRESH", -1.0)
    monkeypatch.setattr("seehear.serve.films.PAUSE", 0.0)
    films(client)
    name = "./@<img src=x>/<b>7.mp4"
    library.put_clips([part(name, 0.0, 5.0)])
    film = next(film for film in films(client)["films"] if film["name"] == name)
    assert film["folder"] == "@<img src=x>"
    assert (film["date"], film["seconds"]) == (None, 5.0)
