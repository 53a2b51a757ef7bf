"""Labels, corrected lines and saved searches over the API."""

import json
import os
import shutil

import pytest

from seehear.library.edits import read_edits
from seehear.library.locking import writing
from seehear.library.tables import LibraryTables
from tests.serve import world

TALK = f"{world.TRAIN}#5.000-11.000"
LINE = {"clip": TALK, "kind": "subtitle", "start": 7.5, "end": 9.0, "before": "the last train leaves the station"}
HTML = '<img src=x onerror=alert(1)> & "quoted" </script>'


@pytest.fixture(scope="module")
def lib(built, tmp_path_factory):
    """A copy of the library, which the tests write."""
    return shutil.copytree(built / "lib", tmp_path_factory.mktemp("own") / "lib")


@pytest.fixture(scope="module")
def client(lib, tmp_path_factory):
    with world.client_of(str(lib), tmp_path_factory.mktemp("cache")) as client:
        yield client


def correct(client, text, **changes):
    return client.post("/api/texts", json=LINE | {"text": text} | changes)


def lines(clip):
    return [text["text"] for text in clip["texts"]]


def search(client, words, **filters):
    query = {"parts": [{"text": words}], "kinds": ["text", "spoken", "screen"], "k": 3, "filters": filters}
    return client.post("/api/search", json=query).json()["hits"]


def test_a_corrected_line_is_found_by_its_words_at_once_and_undone(client, lib):
    assert not [hit for hit in search(client, "zeppelin") if "zeppelin" in hit["text"]]
    said = correct(client, "the last zeppelin leaves the station").json()
    assert said["searchable"]
    assert said["clip"]["texts"][0] == {
        "text": "the last zeppelin leaves the station", "kind": "subtitle", "start": 7.5, "end": 9.0, "machine": False,
    }  # fmt: skip
    best = search(client, "zeppelin")[0]
    assert (best["clip"]["id"], best["text"]) == (TALK, "the last zeppelin leaves the station")
    assert [hit["clip"]["id"] for hit in search(client, "anything", says="zeppelin")] == [TALK]
    assert client.post("/api/texts", json={"undo": said["edits"][0]}).json() == {
        "clip": None, "edits": [], "searchable": True,
    }  # fmt: skip
    assert LINE["before"] in lines(client.get("/api/clip", params={"id": TALK}).json())
    assert read_edits(LibraryTables.open(lib)) == []
    again = client.post("/api/texts", json={"undo": said["edits"][0]})
    assert (again.status_code, again.json()["message"]) == (404, "there is nothing to undo")


def test_an_edit_wakes_the_work_on_the_library(client, monkeypatch):
    """The vectors of `seehear open` follow an edit at once, and not when a file changes next."""
    woken = []
    monkeypatch.setattr(client.app.state.seehear, "edited", lambda: woken.append(True))
    edit = correct(client, "the first train leaves the station").json()["edits"][0]
    assert len(woken) == 2, "clips, and then their full text"
    client.post("/api/texts", json={"undo": edit})


def test_labels_are_added_filter_and_are_removed(client):
    said = client.post("/api/labels", json={"clip": TALK, "add": ["my trains", world.NIGHT]}).json()
    assert said["clip"]["labels"] == [world.NIGHT, "my trains"]
    assert len(said["edits"]) == 1  # the other was there
    assert client.get("/api/status").json()["labels"]["my trains"] == 1
    assert [hit["clip"]["id"] for hit in search(client, "anything", labels=["my trains"])] == [TALK]
    said = client.post("/api/labels", json={"clip": TALK, "remove": ["my trains"]}).json()
    assert said["clip"]["labels"] == [world.NIGHT]


def test_markup_stays_words(client):
    said = correct(client, HTML).json()
    assert HTML in lines(said["clip"])
    label = client.post("/api/labels", json={"clip": TALK, "add": [HTML]}).json()
    assert HTML in label["clip"]["labels"]
    for edit in said["edits"] + label["edits"]:
        client.post("/api/texts", json={"undo": edit})


def test_an_edit_while_others_write_is_there_at_once_and_found_when_they_have_ended(client, lib, monkeypatch):
    monkeypatch.setattr("seehear.serve.upkeep.AGAIN", 0.01)
    with writing(lib):
        said = correct(client, "the first zeppelin").json()
        assert (said["searchable"], lines(said["clip"])[0]) == (False, "the first zeppelin")
        assert lines(client.get("/api/clip", params={"id": TALK}).json())[0] == "the first zeppelin"
    client.app.state.seehear.own._thread.join()
    assert search(client, "zeppelin")[0]["text"] == "the first zeppelin"
    client.post("/api/texts", json={"undo": said["edits"][0]})


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("labels", {"clip": "nobody", "add": ["x"]}, 404),
        ("labels", {"clip": TALK, "add": [" "]}, 422),
        ("labels", {"clip": TALK, "add": ["x" * 201]}, 422),
        ("labels", {"clip": TALK, "add": ["a\nb"]}, 422),
        ("labels", {"clip": TALK, "add": ["x"] * 21}, 422),
        ("texts", LINE | {"text": "x" * 2001}, 422),
        ("texts", LINE | {"text": "x", "before": "no such line"}, 404),
        ("texts", LINE | {"text": "x", "start": 7.0}, 404),
        ("texts", LINE | {"text": ""}, 422),
        ("texts", {"undo": "0" * 16}, 404),
        ("saved", {"name": "a", "query": "q=a b"}, 422),
        ("saved", {"name": "a", "query": "q=" + "x" * 5000}, 422),
    ],
)
def test_what_cannot_be_is_refused(client, path, body, status):
    answer = client.post(f"/api/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["message"]


def test_a_clip_has_no_more_labels_than_may_be(client, monkeypatch):
    monkeypatch.setattr("seehear.serve.own.MOST_LABELS", 2)
    answer = client.post("/api/labels", json={"clip": TALK, "add": ["a", "b"]})
    assert (answer.status_code, answer.json()["message"]) == (409, "a clip has at most 2 labels")


def test_searches_are_saved_replaced_and_deleted(client, monkeypatch):
    assert client.get("/api/saved").json() == {"saved": []}
    client.post("/api/saved", json={"name": "Dogs <b>", "query": "q=dog&like=a%23b"})
    client.post("/api/saved", json={"name": "Trains", "query": "q=train"})
    client.post("/api/saved", json={"name": " Trains ", "query": "q=trains"})
    both = [{"name": "Trains", "query": "q=trains"}, {"name": "Dogs <b>", "query": "q=dog&like=a%23b"}]
    assert client.get("/api/saved").json() == {"saved": both}
    monkeypatch.setattr("seehear.serve.own.MOST_SAVED", 2)
    assert client.post("/api/saved", json={"name": "Cats", "query": "q=cat"}).status_code == 409
    assert client.delete("/api/saved", params={"name": "Trains"}).json() == {"saved": both[1:]}
    assert client.delete("/api/saved", params={"name": "Trains"}).json() == {"saved": both[1:]}
    client.delete("/api/saved", params={"name": "Dogs <b>"})


def test_another_sites_page_may_not_write(client, lib):
    body = json.dumps({"clip": TALK, "add": ["theirs"]})
    as_json = {"content-type": "application/json"}
    for headers in (
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert client.post("/api/labels", content=body, headers=as_json | headers).status_code == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):  # what a form can send without being asked
        assert client.post("/api/labels", content=body, headers={"content-type": kind}).status_code == 422
    assert read_edits(LibraryTables.open(lib)) == []


def test_a_library_that_may_only_be_read_says_so(client, lib, monkeypatch):
    def may(path, mode):
        return mode != os.W_OK

    monkeypatch.setattr(os, "access", may)
    for answer in (
        client.post("/api/labels", json={"clip": TALK, "add": ["x"]}),
        correct(client, "x"),
        client.post("/api/saved", json={"name": "a", "query": "q=a"}),
        client.delete("/api/saved", params={"name": "a"}),
    ):
        assert answer.status_code == 403
        assert answer.json() == {
            "code": "read_only",
            "message": f"{lib} may only be read",
            "todo": f"start seehear as a user who may write {lib}",
        }
