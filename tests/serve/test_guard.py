"""Who may ask, which files may be served, and what a file that is sent can do."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from seehear.cli import main
from seehear.commands.search import Serve
from seehear.demo import MEDIA
from seehear.errors import SeehearError
from seehear.library.tables import Clip, LibraryTables
from seehear.library.workers import WorkerDied
from seehear.serve import decoders, runs
from seehear.serve.app import create_app
from seehear.serve.config import ServeConfig, is_loopback
from seehear.serve.decoders import Decoders
from seehear.serve.files import Folders
from seehear.serve.guard import Guard
from tests.serve import crashing

SOUND = MEDIA / "sounds" / "dog.opus"
GIF_FRAME = b"\x2c\0\0\0\0\1\0\1\0\x80\0\0\0\xff\xff\xff\2\2\x44\1\0"
TOKEN = "0123456789abcdef-token"


# -- who may ask -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8710", "127.0.0.1.evil.example", "", "10.0.0.1:8710"])
def test_another_name_for_this_machine_is_refused(client, host):
    answer = client.get("/api/status", headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "host")


@pytest.mark.parametrize("host", ["localhost:8710", "127.0.0.1:1", "[::1]:8710"])
def test_its_own_names_are_not(client, host):
    assert client.get("/api/status", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_another_sites_page_may_not_ask(client, headers):
    for method, path in (("GET", "/api/status"), ("POST", "/api/uploads"), ("GET", "/main.js")):
        answer = client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "origin")
    for view in ("/", "/film", "/map", "/learn"):
        assert client.get(view, headers={"sec-fetch-site": "cross-site"}).status_code == 200, "a link to the page"


def test_own_origin_may(client):
    headers = {"origin": "http://127.0.0.1:8710", "host": "127.0.0.1:8710", "sec-fetch-site": "same-origin"}
    assert client.get("/api/status", headers=headers).status_code == 200


def test_every_answer_binds_the_page_to_this_server(client):
    for path in ("/", "/main.js", "/api/status", "/api/clip?id=x", "/nowhere"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def test_elsewhere_only_with_a_token():
    assert [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "127.9.9.9")] == [True] * 4
    assert [is_loopback(h) for h in ("0.0.0.0", "::", "192.168.1.5", "example.org", "")] == [False] * 5
    with pytest.raises(SeehearError, match="needs a token"):
        ServeConfig(host="0.0.0.0")
    with pytest.raises(SeehearError, match="16 at least"):
        ServeConfig(token="short")
    assert ServeConfig(host="0.0.0.0", token=TOKEN).token == TOKEN


def test_the_token_is_asked_of_everyone(built, tmp_path):
    config = ServeConfig(host="0.0.0.0", token=TOKEN, cache=tmp_path, device="cpu")
    with TestClient(create_app(str(built / "lib"), config), base_url="http://media.example") as client:
        for path in ("/", "/film", "/main.js", "/api/status", "/openapi.json", "/api/media?clip=x", "/?token=wrong"):
            assert client.get(path, follow_redirects=False).status_code == 401
        assert client.get("/api/status", headers={"authorization": f"Bearer {TOKEN}x"}).status_code == 401
        assert client.get("/api/status", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        entered = client.get(f"/?token={TOKEN}", follow_redirects=False)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert client.get("/api/status").status_code == 200


def guarded(**options):
    return TestClient(Guard(PlainTextResponse("in"), token=TOKEN), follow_redirects=False, **options)


def enter(client, **headers):
    return client.get(f"/?token={TOKEN}", headers=headers).headers["set-cookie"].lower()


def test_the_cookie_is_not_the_token_and_ends_with_the_server():
    client, restarted = guarded(), guarded()
    enter(client)
    session = client.cookies["seehear"]
    assert TOKEN not in session
    assert client.get("/api/status").status_code == 200
    for cookie in (TOKEN, session):
        assert restarted.get("/api/status", headers={"cookie": f"seehear={cookie}"}).status_code == 401
    bearer = {"authorization": f"Bearer {session}"}
    assert guarded().get("/api/status", headers=bearer).status_code == 401


def test_the_cookie_is_secure_where_the_request_came_over_tls():
    assert "secure" in enter(guarded(base_url="https://media.example"))
    assert "secure" not in enter(guarded(base_url="http://media.example"))
    assert "secure" not in enter(guarded(), **{"x-forwarded-proto": "https"}), "anybody can send that"
    for peer, trusted in (("127.0.0.1", True), ("10.0.0.9", False)):
        behind = ProxyHeadersMiddleware(Guard(PlainTextResponse("in"), token=TOKEN))  # uvicorn puts it around the app
        client = TestClient(behind, client=(peer, 5000), follow_redirects=False)
        assert ("secure" in enter(client, **{"x-forwarded-proto": "https"})) == trusted


def test_the_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert ServeConfig(host="0.0.0.0", token_file=file).token == TOKEN
    monkeypatch.setenv("SEEHEAR_TOKEN", TOKEN[::-1])
    assert ServeConfig(host="0.0.0.0").token == TOKEN[::-1]
    assert ServeConfig(token_file=file).token == TOKEN, "the file was named in so many words"
    assert TOKEN not in repr(ServeConfig(token_file=file))


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"0123456789abcdef\nsecond line\n", b"\xff" * 20, None])
def test_a_file_that_holds_no_token_is_refused(tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SeehearError, match="token"):
        ServeConfig(token_file=file)


def test_the_token_is_not_taken_from_the_command_line(tmp_path, monkeypatch, capsys):
    """Every user of the machine reads the words of a process, and `--open` would start a browser with the address."""
    assert main(["serve", str(tmp_path), "--token", TOKEN]) == 2
    assert "--token-file" in capsys.readouterr().err
    monkeypatch.setenv("SEEHEAR_TOKEN", TOKEN)
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    said = capsys.readouterr().out
    assert TOKEN not in said
    assert "SEEHEAR_TOKEN" in said
    with pytest.raises(SeehearError, match="--open"):
        Serve(library=str(tmp_path), open=True, config=ServeConfig(token=TOKEN)).run()


# -- which files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fapp.py", "/main.js/../../app.py", "//etc/passwd"]
    + ["/page/main.js", "/app.py", "/static/..%5c..%5capp.py", "/main.js%00.html"],
)
def test_no_address_leaves_the_page(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text
    assert "create_app" not in answer.text


@pytest.mark.parametrize("name", ["/etc/passwd", "../../etc/passwd", "sounds/../../../etc/passwd", "..\\x", "'; --"])
def test_a_path_is_no_clip(client, name):
    for address in ("media", "poster", "peaks", "preview"):
        answer = client.get(f"/api/{address}", params={"clip": name})
        assert (answer.status_code, answer.json()["code"]) == (404, "no_clip")


@pytest.fixture
def planted(built, client, monkeypatch):
    """Clips whose files lie outside of the media folder, by their path and by a link; one that is no file."""
    library = LibraryTables.open(built / "lib")
    secret = built / "secret.mp4"
    secret.write_bytes((MEDIA / "films" / "rabbit.mp4").read_bytes())
    (built / "media" / "linked.mp4").symlink_to(secret)
    (built / "media" / "linked").symlink_to(built)
    sources = ["../secret.mp4", str(secret), "linked.mp4", "linked/secret.mp4", "sounds", "talk/../../secret.mp4"]
    clips = [Clip(id=f"planted{n}", source=s, end=1.0, has_video=True) for n, s in enumerate(sources)]
    library.put_clips(clips)
    monkeypatch.setattr(runs, "FRESH", -1.0)  # the server looks at the library whenever it is asked
    yield [c.id for c in clips]
    library.remove_clips([c.id for c in clips])
    (built / "media" / "linked.mp4").unlink()
    (built / "media" / "linked").unlink()
    client.get("/api/status")


def test_files_outside_of_the_media_folders_are_never_served(client, planted):
    for name in planted:
        for address in ("media", "poster", "preview"):
            answer = client.get(f"/api/{address}", params={"clip": name})
            assert answer.status_code in (403, 404), (name, address)
            assert answer.json()["code"] in ("outside", "moved")
        assert client.get("/api/clip", params={"id": name}).json()["missing"]
    said = client.get("/api/media", params={"clip": "planted2"}).json()
    assert said["code"] == "outside"
    assert "linked.mp4" in said["message"]
    assert "--media" in said["todo"]


def test_folders_that_are_named_are_served_too(built, tmp_path):
    library = LibraryTables.open(built / "lib")
    (tmp_path / "a.mp4").write_bytes(b"content")
    (tmp_path / "linked.mp4").symlink_to(tmp_path / "a.mp4")
    clip = Clip(id="x", source=str(tmp_path / "linked.mp4"), end=1.0, has_video=True)
    assert not Folders(library, library.roots()).has(clip, "video")
    assert not Folders(library, library.roots(), (tmp_path / "other",)).has(clip, "video")
    assert Folders(library, library.roots(), (tmp_path,)).file(clip, "video") == tmp_path / "a.mp4"


def test_a_file_that_has_moved_says_so(client, built):
    library = LibraryTables.open(built / "lib")
    clip = next(c for c in library.clips() if c.source.startswith("pictures/"))
    path = library.path_of(clip.source)
    away = built / "away.jpg"
    path.rename(away)
    try:
        answer = client.get("/api/media", params={"clip": clip.id})
        assert (answer.status_code, answer.json()["code"]) == (404, "moved")
        assert str(path) in answer.json()["message"]
        assert "seehear prepare" in answer.json()["todo"]
        assert client.get("/api/clip", params={"id": clip.id}).json()["missing"]
        hits = client.post("/api/search", json={"parts": [{"text": clip.texts[0].text}], "k": 200}).json()["hits"]
        assert [h["clip"]["missing"] for h in hits if h["clip"]["id"] == clip.id] == [True]
    finally:
        away.rename(path)


# -- what is sent ------------------------------------------------------------------------------------------------------


def left(client):
    return os.listdir(client.app.state.seehear.uploads.folder.name)


def test_a_sent_file_is_gone_when_it_is_answered(client):
    assert client.post("/api/uploads", content=SOUND.read_bytes()).status_code == 201
    assert left(client) == []


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "empty"),
        (b"\0" * 5000, 422, "broken"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt " + b"\xff" * 4000, 422, "broken"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, 422, "broken"),
        (b"\xff\xd8\xff\xe0" + b"junk" * 500, 422, "broken"),
        (b"GIF89a\0\x40\0\x40\0\0\0" + 2 * GIF_FRAME + b";", 422, "broken"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 422, "broken"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", 422, "broken"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><MPD/>", 422, "broken"),
    ],
    ids=["empty", "zeros", "wav", "png", "jpeg", "gif", "m3u8", "concat", "mpd"],
)
def test_what_is_no_media_is_refused(client, content, status, code):
    answer = client.post("/api/uploads", content=content)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "/tmp" not in answer.text
    assert not any(words in answer.text for words in ("Invalid data", "End of file", "cannot identify", "bytes not"))
    assert left(client) == []


def test_every_cut_of_a_real_file_is_answered(client):
    content = SOUND.read_bytes()
    for at in range(1, len(content), len(content) // 5):
        assert client.post("/api/uploads", content=content[:at]).status_code in (201, 422)
    assert left(client) == []


def test_too_large_is_refused_before_it_is_read_and_while(client):
    limit = 2_000_000
    said = client.post("/api/uploads", content=b"x" * (limit + 1))
    assert (said.status_code, said.json()["code"]) == (413, "too_large")
    read = 0

    def endless():
        nonlocal read
        while read < 50 * limit:
            read += 100_000
            yield b"x" * 100_000

    assert client.post("/api/uploads", content=endless()).status_code == 413
    assert left(client) == []


def test_a_query_has_a_length_and_not_much_of_it(client):
    headers = {"content-type": "application/json"}
    assert client.post("/api/search", content=b" " * 1_000_001, headers=headers).status_code == 413
    assert client.post("/api/search", content=iter([b"{}"]), headers=headers).status_code == 411


def test_a_file_that_is_broken_off_is_no_error(client):
    """As uvicorn tells it: a part of the body, then that the client is gone."""
    messages = iter([{"type": "http.request", "body": b"x" * 1000, "more_body": True}, {"type": "http.disconnect"}])
    headers = [(b"host", b"127.0.0.1:8710"), (b"content-length", b"1000000")]
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/api/uploads", "raw_path": b""}
    scope |= {"scheme": "http", "query_string": b"", "headers": headers, "client": None, "server": None}

    async def receive():
        return next(messages)

    async def send(message):
        pass

    client.portal.call(client.app, scope, receive, send)
    assert left(client) == []


@pytest.mark.parametrize("name", ["crash", "hang"])
def test_a_decoder_that_crashes_or_hangs_costs_its_own_answer(client, monkeypatch, name):
    state = client.app.state.seehear
    # A crash is told by itself, however slow the machine; a hang by the limit alone.
    brief = Decoders(1, 300.0 if name == "crash" else 1.0)
    monkeypatch.setattr(state.uploads, "decoders", brief)
    monkeypatch.setattr(decoders, "look", getattr(crashing, name))
    broken = client.post("/api/uploads", content=SOUND.read_bytes())
    assert (broken.status_code, broken.json()["code"]) == (422, "broken")
    assert ("crashed" if name == "crash" else "time limit") in broken.json()["message"]
    monkeypatch.undo()
    assert client.post("/api/uploads", content=SOUND.read_bytes()).status_code == 201
    assert left(client) == []
    brief.close()


def test_who_finds_no_decoder_free_is_told_so(client, monkeypatch, tmp_path):
    state = client.app.state.seehear
    only = Decoders(1, 300.0, patience=0.1)
    monkeypatch.setattr(state.uploads, "decoders", only)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(only, crashing.hold, tmp_path)
        while not (tmp_path / "held").exists() and not slow.done():
            time.sleep(0.01)
        refused = client.post("/api/uploads", content=SOUND.read_bytes())
        (tmp_path / "released").touch()
        slow.result()
    assert (refused.status_code, refused.json()["code"]) == (503, "busy")
    assert "busy with other files" in refused.json()["message"]
    assert "try again" in refused.json()["todo"]
    assert left(client) == []
    monkeypatch.setattr(only, "_patience", 60.0)
    assert client.post("/api/uploads", content=SOUND.read_bytes()).status_code == 201
    only.close()


def test_words_are_searched_while_a_file_is_decoded(client, monkeypatch):
    state, decoding, answered = client.app.state.seehear, threading.Event(), threading.Event()
    run, waited = state.runs.get(), []

    def prepare(self, preparation, sample):
        if sample.path:
            decoding.set()
            waited.append(answered.wait(60))
        return preparation(sample)

    monkeypatch.setattr(type(run.space), "prepare", prepare)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(run.encode_file, str(SOUND), "sound", 1.0, ("audio",))
        assert decoding.wait(60)
        answer = client.post("/api/search", json={"parts": [{"text": "words that nobody has asked for yet"}]})
        answered.set()
        assert list(sent.result()) == ["audio"]
    assert answer.status_code == 200
    assert waited == [True]


def test_encoding_decodes_in_another_process_too(client, monkeypatch):
    run = client.app.state.seehear.runs.get()
    with pytest.raises(WorkerDied):
        run.space.prepare(crashing.crash, replace(_sample(), path="x"))
    seen = []
    monkeypatch.setattr(type(run.space), "prepare", lambda self, f, sample: seen.append(sample) or f(sample))
    client.post("/api/uploads", params={"run": run.name}, content=SOUND.read_bytes())
    assert [Path(s.path).parent.name.startswith("seehear-") for s in seen] == [True]


def _sample():
    from seehear.encoders.base import Sample

    return Sample()
