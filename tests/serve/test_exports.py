"""Moments to take along, asked without a browser."""

import io
import re
from urllib.parse import unquote
from zipfile import ZIP_STORED, ZipFile

import pytest

from seehear.library.tables import LibraryTables
from seehear.media.files import probe
from seehear.serve import exports
from tests.serve import world


def saved_as(answer):
    """The name that a browser saves under, by RFC 6266."""
    header = answer.headers["content-disposition"]
    assert header.isascii()
    assert header.startswith('attachment; filename="')
    return unquote(header.partition("; filename*=UTF-8''")[2])


def cut(client, clip, **times):
    return client.get("/api/cut", params={"clip": clip, **times})


def export(client, *hits, **query):
    return client.post("/api/export", json={"hits": list(hits), **query})


def file_of(tmp_path, content, name="x"):
    (tmp_path / name).write_bytes(content)
    return probe(tmp_path / name)


@pytest.fixture(scope="module")
def train(built):
    """The id of the first clip of a film."""
    return next(c.id for c in LibraryTables.open(built / "lib").clips() if c.source == world.TRAIN and c.start == 0)


def test_a_moment_is_cut_out_of_its_film(client, train, tmp_path):
    answer = cut(client, train, start=7.5, end=9.0)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "video/mp4"
    assert saved_as(answer) == "train 0h00m07s.mp4"
    info = file_of(tmp_path, answer.content)
    assert info.duration == pytest.approx(1.5, abs=0.35)
    assert (info.has_video, info.has_audio) == (True, True)
    whole = cut(client, train)
    assert file_of(tmp_path, whole.content).duration == pytest.approx(5.0, abs=0.35), "the clip's own times"


def test_sounds_and_pictures_stay_what_they_are(client, built, tmp_path):
    sound, picture = "sounds/dog-0.opus", "pictures/panda.jpg"
    heard = cut(client, sound, start=0.5, end=1.5)
    assert (saved_as(heard), heard.headers["content-type"]) == ("dog-0 0h00m00s.opus", "audio/ogg")
    assert file_of(tmp_path, heard.content).duration == pytest.approx(1.0, abs=0.1)
    seen = cut(client, picture)
    assert saved_as(seen) == "panda.jpg"
    assert seen.content == (built / "media" / picture).read_bytes()


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"clip": "none"}, 404, "no clip 'none'"),
        ({"start": 3.0, "end": 3.0}, 422, "nothing is from 3 to 3 s"),
        ({"start": 500.0, "end": 501.0}, 422, "morning.avi cannot be cut: "),
        (
            {"end": 3700.0},
            422,
            "1 clip of 62 minutes in all: one download holds at most 100 clips and 60 minutes",
        ),
        ({"start": "nan"}, 422, "query.start"),
    ],
)
def test_what_cannot_be_cut_is_said(client, asked, status, said):
    answer = client.get("/api/cut", params={"clip": world.TALK} | asked)
    assert answer.status_code == status
    assert said in answer.json()["message"]


def test_several_come_in_one_archive_and_a_broken_file_does_not_end_it(client, train, built, tmp_path):
    hits = [
        {"clip": train, "start": 1.0, "end": 2.0},
        {"clip": world.TALK, "start": 500.0, "end": 501.0},
        {"clip": "pictures/panda.jpg"},
        {"clip": train, "start": 1.2, "end": 2.2},
    ]
    answer = export(client, *hits, format="mp4", title='trains: "fast" <b>\r\nset-cookie: x')
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert saved_as(answer) == "trains_ _fast_ _b___set-cookie_ x.zip"
    with ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = [info.filename for info in archive.infolist()]
        assert names == ["01 train 0h00m01s.mp4", "03 panda.jpg", "04 train 0h00m01s.mp4", "not saved.txt"]
        assert archive.getinfo(names[0]).compress_type == ZIP_STORED
        assert file_of(tmp_path, archive.read(names[0])).duration == pytest.approx(1.0, abs=0.35)
        assert archive.read("not saved.txt").decode().startswith("02 morning 0h08m20s.mp4: morning.avi cannot be cut: ")
    assert not list(client.app.state.seehear.cache.folder.glob("cut-*")), "nothing is left on disk"


def test_one_alone_comes_without_an_archive(client, train):
    answer = export(client, {"clip": train, "start": 1.0, "end": 2.0}, format="mp4")
    assert saved_as(answer) == "train 0h00m01s.mp4"


def test_lists_are_for_players_tables_and_editors(client, train, built):
    pytest.importorskip("opentimelineio")
    hits = [
        {"clip": train, "start": 7.5, "end": 9.0, "kind": "spoken", "text": "the <last> train"},
        {"clip": "sounds/dog-0.opus", "start": 0.5, "end": 1.5},
        {"clip": "pictures/panda.jpg"},
    ]
    content = {}
    for kind in ("m3u", "csv", "edl", "otio"):
        answer = export(client, *hits, format=kind, title="red träin")
        assert answer.status_code == 200, answer.text
        assert saved_as(answer) == f"red träin.{kind}"
        content[kind] = answer.content.decode()
    film = (built / "media" / world.TRAIN).resolve()
    assert f"#EXTVLCOPT:start-time=7.500\n#EXTVLCOPT:stop-time=9.000\n{film.as_uri()}\n" in content["m3u"]
    assert f"1,{film},7.500,9.000,spoken,the <last> train\r\n" in content["csv"]
    assert len(re.findall(r"^\d{3}  AX +[BAV] ", content["edl"], re.MULTILINE)) == 3
    assert film.as_uri() in content["otio"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"hits": [], "format": "csv"}, "hits"),
        ({"hits": [{"clip": world.TALK}], "format": "avi"}, "format"),
        ({"hits": [{"clip": world.TALK}] * 101, "format": "mp4"}, "101 clips of 11 minutes in all"),
        ({"hits": [{"clip": world.TALK, "start": 0, "end": 1801}] * 2, "format": "mp4"}, "2 clips of 61 minutes"),
        ({"hits": [{"clip": world.TALK, "path": "/etc/passwd"}], "format": "csv"}, "path"),
    ],
)
def test_too_much_is_refused_in_words(client, query, said):
    answer = client.post("/api/export", json=query)
    assert answer.status_code == 422
    assert said in answer.json()["message"]


@pytest.mark.parametrize("name", ["plain.mp4", 'a "b"; c\\.mp4', "a\r\nset-cookie: x.mp4", "ü <b>100%.mp4", "日本.mp4"])
def test_no_name_breaks_out_of_its_header(name):
    header = exports.attachment(name)
    assert re.fullmatch(r"attachment; filename=\"[ !#$&-\[\]-~]*\"; filename\*=UTF-8''[\w.~%-]+", header)
    assert unquote(header.partition("UTF-8''")[2]) == name
