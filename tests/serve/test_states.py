"""Libraries that cannot be searched yet say what to do; the parts that need no server."""

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from starlette.testclient import TestClient

from seehear.commands.search import Serve
from seehear.errors import SeehearError
from seehear.folders.standing import Standing
from seehear.library.tables import LibraryTables
from seehear.progress import Interrupted
from seehear.serve.app import PAGE, create_app, serve
from seehear.serve.config import ServeConfig
from seehear.serve.files import DiskCache, write
from seehear.serve.maps import project
from seehear.serve.runs import Runs


def status_of(library, tmp_path):
    with TestClient(create_app(str(library), ServeConfig(cache=tmp_path)), base_url="http://localhost") as client:
        search = client.post("/api/search", json={"parts": [{"text": "a"}]})
        return client.get("/api/status").json(), search


def test_an_empty_library_says_how_to_fill_it(tmp_path):
    LibraryTables.create(tmp_path / "lib")
    status, search = status_of(tmp_path / "lib", tmp_path / "cache")
    assert status["problem"]["code"] == "empty"
    assert status["problem"]["todo"] == f"seehear prepare FOLDER --library {tmp_path / 'lib'}"
    assert search.status_code == 409


def test_no_run_yet_says_how_to_make_one(tmp_path):
    from tests.search import toy

    toy.library(tmp_path)
    status, search = status_of(tmp_path / "lib", tmp_path / "cache")
    assert (status["clips"], status["runs"]) == (24, [])
    for said in (status["problem"], search.json()):
        assert said["code"] == "no_run"
        assert [line.split()[1] for line in said["todo"].split("; ")] == ["encode", "index"]


def test_no_time_is_left_of_the_last_second():
    assert str(Standing(step="reading speech", left=0.4)) == "reading speech"
    assert str(Standing(step="reading speech", left=61.0)) == "reading speech, 1:01 left"


def test_a_server_that_indexes_says_how_far_it_is(tmp_path):
    """And names no command to run: it is at work. A server that does not has nothing to say."""
    LibraryTables.create(tmp_path / "lib")
    standing = Standing(step="finding scenes", done=60.0, left=90.0, found=7)
    app = create_app(str(tmp_path / "lib"), ServeConfig(cache=tmp_path / "cache"), lambda: standing)
    with TestClient(app, base_url="http://localhost") as client:
        problem, progress = client.get("/api/status").json()["problem"], client.get("/api/progress").json()
    line = "finding scenes, 1:30 left; 7 clips can be searched"
    assert problem["code"] == "indexing"
    assert problem["todo"] == ""
    assert progress == {
        "state": "working",
        "step": "finding scenes",
        "done": 60.0,
        "total": 150.0,
        "seconds_left": 90.0,
        "searchable": 7,
        "line": line,
    }
    app = create_app(str(tmp_path / "lib"), ServeConfig(cache=tmp_path / "cache"))
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/api/progress").json() is None


def test_a_run_whose_model_is_gone_says_so(tmp_path):
    from seehear.search.index import build_index
    from tests.search import toy

    build_index(toy.library(tmp_path), toy.Space(), name="run", model=str(tmp_path / "gone"))
    status, search = status_of(tmp_path / "lib", tmp_path / "cache")
    assert [run["name"] for run in status["runs"]] == ["run"]
    assert search.status_code == 409
    assert search.json()["code"] == "model_gone"
    assert "seehear index" in search.json()["todo"]


def test_a_run_whose_index_is_behind_says_so_and_counts_once(tmp_path, monkeypatch):
    from dataclasses import replace

    from seehear.search import behind as module
    from seehear.search.index import build_index
    from tests.search import toy

    library = toy.library(tmp_path)
    build_index(library, toy.Space(), name="run", model=str(tmp_path / "run"))
    assert status_of(tmp_path / "lib", tmp_path / "cache")[0]["runs"][0]["behind"] == ""
    library.put_clips([replace(toy.clip(n), id=f"new{n}") for n in range(3)])
    counted, count = [], module.behind
    monkeypatch.setattr("seehear.serve.state.behind", lambda *asked: counted.append(1) or count(*asked))
    app = create_app(str(tmp_path / "lib"), ServeConfig(cache=tmp_path / "cache"))
    with TestClient(app, base_url="http://localhost") as client:
        said = [client.get("/api/status").json()["runs"][0]["behind"] for _ in range(3)]
    assert said[0].startswith("3 of 27 clips are not indexed yet: run `seehear encode ")
    assert said == said[:1] * 3
    assert len(counted) == 1


def test_the_command_refuses_what_is_no_library(tmp_path):
    with pytest.raises(SeehearError, match="no library"):
        Serve(library=str(tmp_path / "nowhere")).run()


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SeehearError, match=f"port {port}.*--port"):
            serve("anything", ServeConfig(port=port), ready=print)


def test_a_server_that_is_interrupted_says_so_in_a_word(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    LibraryTables.create(tmp_path / "lib")
    monkeypatch.setattr("seehear.serve.app.serve", interrupted)
    with pytest.raises(Interrupted, match=r"^stopped$"):
        Serve(library=str(tmp_path / "lib")).run()


@pytest.mark.slow
def test_an_interrupted_server_says_only_that_it_stopped(tmp_path):
    """Even while a request is being sent: uvicorn ends it after two seconds."""
    from tests.search import toy

    toy.library(tmp_path)
    # A background job ignores SIGINT, and so do its children.
    heard = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start = [sys.executable, "-c", heard + "from seehear.cli import main; sys.exit(main(sys.argv[1:]))"]
    words = [*start, "serve", str(tmp_path / "lib"), "--port", "0", "--cache", str(tmp_path)]
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    ) as server:
        assert server.stderr is not None
        port = int(re.search(r":(\d+)/", server.stderr.readline())[1])
        with socket.create_connection(("127.0.0.1", port)) as sending:
            sending.sendall(b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{")
            with socket.create_connection(("127.0.0.1", port)) as asking:  # answered after the other was taken up
                asking.sendall(b"GET /main.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert asking.recv(12) == b"HTTP/1.1 200"
            server.send_signal(signal.SIGINT)
            said = server.stderr.read()
    assert (said, server.returncode) == ("seehear: stopped\n", 130)


def test_a_server_ends_after_the_run_that_it_opens(tmp_path, monkeypatch):
    """A thread inside a library of C++ at the interpreter's end aborts the process."""
    ended = []
    monkeypatch.setattr(Runs, "together", lambda self: time.sleep(0.3) or ended.append(self))
    LibraryTables.create(tmp_path / "lib")
    with TestClient(create_app(str(tmp_path / "lib"), ServeConfig(cache=tmp_path / "cache"))):
        pass
    assert len(ended) == 1


def test_the_page_is_small_and_asks_only_this_server():
    files = [f for f in PAGE.iterdir() if f.is_file()]
    assert sum(len(gzip.compress(f.read_bytes())) for f in files) < 100_000, "as they are sent"
    for file in files:
        text = file.read_text()
        assert "https://" not in text, file
        assert text.count("http://") == text.count("http://www.w3.org/2000/svg"), file
        assert "innerHTML" not in text, "what a library says is text, never markup"
    page = (PAGE / "index.html").read_text()
    assert "style=" not in page
    assert "<script>" not in page


def test_pca_keeps_what_varies_most():
    rng = np.random.default_rng(0)
    x = np.zeros((200, 6), np.float32)
    x[:, 3], x[:, 1] = 5 * rng.standard_normal(200), 2 * rng.standard_normal(200)
    xy, clusters = project(x, "pca")
    assert xy.min() == 0
    assert xy.max() == 1
    assert abs(np.corrcoef(xy[:, 0], x[:, 3])[0, 1]) == pytest.approx(1, abs=0.01)
    assert abs(np.corrcoef(xy[:, 1], x[:, 1])[0, 1]) == pytest.approx(1, abs=0.01)
    assert len(np.unique(clusters)) == 3


@pytest.mark.parametrize("num", [1, 2, 5])
def test_a_map_of_few(num):
    x = np.random.default_rng(0).standard_normal((num, 4)).astype(np.float32)
    for how in ("pca", "tsne"):
        xy, clusters = project(x, how)
        assert xy.shape == (num, 2)
        assert np.isfinite(xy).all()
        assert len(clusters) == num


def test_the_cache_makes_once_and_forgets_the_oldest(tmp_path):
    cache, made = DiskCache(tmp_path, megabytes=0.01), []

    def get(n):
        return cache.get("thing", n, make=lambda path: (made.append(n), write(path, bytes(1000))))

    assert get(1) == get(1)
    assert made == [1]
    for n in range(2, 66):
        get(n)
    assert len(list(tmp_path.iterdir())) <= 12
    get(1)
    assert made.count(1) == 2


def test_a_maker_that_fails_leaves_nothing(tmp_path):
    cache = DiskCache(tmp_path, megabytes=1)

    def fail(path):
        raise SeehearError("no")

    for _ in range(2):
        with pytest.raises(SeehearError, match="no"):
            cache.get("thing", make=fail)
    assert list(tmp_path.iterdir()) == []
    path = cache.get("thing", make=lambda p: write(p, json.dumps({}).encode()))
    assert path.read_text() == "{}"
