"""`search` and `find` are answered by the running server of a library, as they answer themselves without one."""

import json
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from threading import Thread

import pytest

from seehear import cli
from seehear.commands import parsing as asking
from seehear.commands import search as command
from seehear.folders.standing import Standing
from seehear.library.locking import Server, announced, server_of
from seehear.serve.app import serving
from seehear.serve.config import ServeConfig
from tests.serve import world

TOKEN = "0123456789abcdef"
QUERY = {"parts": [{"text": "a dog"}], "k": 2}


STANDING = {"now": Standing(state="ready")}


@contextmanager
def served(library, cache, *, token=""):
    config = ServeConfig(port=0, cache=cache, device="cpu", token=token)
    with serving(str(library), config, lambda: STANDING["now"]) as address:
        yield address


@pytest.fixture(scope="module")
def running(built, tmp_path_factory):
    with served(built / "lib", tmp_path_factory.mktemp("cache")) as address:
        yield address


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy machine changes nothing."""
    monkeypatch.setattr(asking, "SECONDS", 60.0)


def said(capsys, *words):
    assert cli.main(list(words)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["a dog barks", "--k", "5"],
        ["the last train leaves the station", "--json"],
        ["xylophone quantum banking", "--k", "3", "--json"],
        ["rain", "--source", "pictures/*", "--kinds", "seen", "text", "--no-fulltext"],
        ["--like", "sounds/dog-0.opus", "--labels", "owl", "--min-seconds", "1", "--json"],
    ],
)
def test_the_server_answers_as_the_command_does(running, built, capsys, monkeypatch, options):
    words = ["search", str(built / "lib"), *options]
    with monkeypatch.context() as alone:
        alone.setattr(command, "ask_server", lambda *_: None)
        expected = said(capsys, *words)
    with monkeypatch.context() as asked:
        asked.setattr(command, "LibraryTables", None)
        assert said(capsys, *words) == expected


def test_a_command_that_is_answered_loads_neither_torch_nor_the_database(running, built):
    script = "import sys; from seehear.cli import main; main(sys.argv[1:]); print(*sys.modules, sep='\\n')"
    words = [sys.executable, "-c", script, "search", str(built / "lib"), "a dog barks"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "sounds/dog" in done.stdout
    assert not {"torch", "lancedb", "pyarrow", "fastapi"} & set(done.stdout.split())


def test_find_is_answered_by_the_server_that_indexes_its_folder(running, built, capsys, monkeypatch):
    folder, lib = str(built / "media"), str(built / "lib")
    words = ["find", folder, "the last train leaves the station", "--library", lib, "--k", "1"]
    monkeypatch.setitem(STANDING, "now", Standing(step="reading speech"))
    monkeypatch.setattr("seehear.commands.moments.LibraryTables", None)
    assert cli.main(words) == 0
    shown = capsys.readouterr()
    assert "strong" in shown.out
    assert world.TRAIN in shown.out
    assert "run the same command again" in shown.err


def test_a_server_that_only_serves_is_not_asked_by_find(tmp_path):
    with announced(tmp_path, Server(address="http://127.0.0.1:9/")):
        assert asking.ask_server(str(tmp_path), QUERY, follows=True) is None


def test_a_token_is_needed(built, tmp_path, monkeypatch):
    lib = str(shutil.copytree(built / "lib", tmp_path / "lib"))
    monkeypatch.delenv("SEEHEAR_TOKEN", raising=False)
    with served(lib, tmp_path / "cache", token=TOKEN):
        with monkeypatch.context() as unasked:
            unasked.setattr(asking, "_ask", None)
            assert asking.ask_server(lib, QUERY) is None
        monkeypatch.setenv("SEEHEAR_TOKEN", "f" * 16)
        assert asking.ask_server(lib, QUERY) is None
        monkeypatch.setenv("SEEHEAR_TOKEN", TOKEN)
        assert len(asking.ask_server(lib, QUERY).answer.hits) == 2


def test_what_a_server_refuses_the_command_does_itself(running, built):
    lib = str(built / "lib")
    assert asking.ask_server(lib, QUERY | {"k": 1000}) is None
    assert asking.ask_server(lib, {"parts": [{"clip": "nowhere"}]}) is None


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-other\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull"])
def test_a_server_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch, answer):
    """Nor another program at its address."""
    monkeypatch.setattr(asking, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with announced(tmp_path, Server(address=address)):
            if not answer:
                assert asking.ask_server(str(tmp_path), QUERY) is None
                return

            def reply():
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

            replying = Thread(target=reply)
            replying.start()
            assert asking.ask_server(str(tmp_path), QUERY) is None
            replying.join()


def test_an_announcement_ends_with_its_server(tmp_path):
    with announced(tmp_path, Server(address="http://127.0.0.1:1/")):
        assert server_of(tmp_path).address == "http://127.0.0.1:1/"
        with announced(tmp_path, Server(address="http://127.0.0.1:2/")):
            assert server_of(tmp_path).address == "http://127.0.0.1:1/", "the first one stays"
        assert server_of(tmp_path) is not None
    assert server_of(tmp_path) is None
    assert server_of(tmp_path / "none") is None


def test_a_server_of_another_version_is_not_asked(tmp_path):
    with announced(tmp_path, Server(address="http://127.0.0.1:1/", version="0.0.1")):
        assert asking.ask_server(str(tmp_path), QUERY) is None
    (tmp_path / ".server").write_text(json.dumps({"address": "http://127.0.0.1:1/"}))
    assert server_of(tmp_path) is None, "nobody holds it: its server was killed"


def test_a_library_that_cannot_be_written_is_served_all_the_same(tmp_path):
    with announced(tmp_path / "none", Server(address="http://127.0.0.1:1/")):
        assert not (tmp_path / "none").exists()
