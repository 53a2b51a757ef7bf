"""An assistant asks a library over the Model Context Protocol, by the protocol's own client."""

import base64
import json

import pytest

from seehear.serve.config import ServeConfig
from tests.serve import world


@pytest.fixture(scope="module")
def server(built, tmp_path_factory):
    pytest.importorskip("mcp")  # here, for it takes long to import
    from seehear.serve.assistant import assistant

    config = ServeConfig(cache=tmp_path_factory.mktemp("assistant"), device="cpu")
    server, close = assistant(str(built / "lib"), config)
    yield server
    close()


@pytest.fixture
def call(server):
    import anyio
    import mcp

    def call(name, **arguments):
        async def ask():
            async with mcp.Client(server) as client:
                return await client.call_tool(name, arguments)

        return anyio.run(ask)

    return call


def told(answer):
    assert not answer.is_error, answer.content
    return json.loads(answer.content[0].text)


def test_it_finds_moments_and_reads_them(call):
    found = told(call("search", words="the last train leaves the station", k=3))
    best = found["hits"][0]
    assert (best["file"], best["kind"], found["words"]) == (world.TRAIN, "spoken", "strong")
    assert (best["start"], best["end"]) == (7.5, 9.0)
    alone = told(call("search", words="a dog barks", file=world.TRAIN))
    assert {hit["file"] for hit in alone["hits"]} == {world.TRAIN}
    lines = told(call("transcript", file=world.TRAIN, start=7.0))["lines"]
    assert [line["text"] for line in lines][-1] == "and the platform is empty"
    assert all(not line["machine"] for line in lines)


def test_it_lists_films_and_looks_at_them(call):
    found = told(call("list_films", folder="talk"))
    assert {film["file"] for film in found["films"]} == {world.TALK, world.TRAIN}
    assert found["total"] == 2
    pictures = call("frames", file=world.TRAIN, times=[1.0, 8.0]).content
    assert [picture.mime_type for picture in pictures] == ["image/jpeg"] * 2
    assert all(base64.b64decode(picture.data)[:2] == b"\xff\xd8" for picture in pictures)
    assert pictures[0].data != pictures[1].data


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("transcript", {"file": "nowhere.mp4"}, "has no file"),
        ("search", {"words": ""}, "1 character"),
        ("frames", {"file": world.TRAIN, "times": []}, "1 item"),
    ],
)
def test_what_cannot_be_answered_is_told(call, name, arguments, message):
    answer = call(name, **arguments)
    assert answer.is_error
    assert message in answer.content[0].text
