"""The API against its own description: made-up requests, right ones and wrong ones, get only answers it announces."""

import shutil

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.serve import world

schemathesis = pytest.importorskip("schemathesis")
positive_data_acceptance = pytest.importorskip("schemathesis.checks").positive_data_acceptance

ADDRESSES = ["clip", "clips", "cut", "export", "film", "films", "heard", "labels", "loudness", "map", "media", "part"]
ADDRESSES += ["peaks", "poster", "preview", "saved", "search", "status", "suggest", "texts", "uploads"]
OF_THE_FILES = {"cut", "export", "uploads"}
"""Addresses that refuse requests for what is in the files: few bytes are media, and few times are in a film."""
EXAMPLES = settings(
    max_examples=4,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def client(built, tmp_path_factory):
    """Over a library of its own: made-up requests write."""
    lib = shutil.copytree(built / "lib", tmp_path_factory.mktemp("described") / "lib")
    with world.client_of(lib, tmp_path_factory.mktemp("cache"), upload_mb=2.0) as client:
        yield client


@pytest.fixture(scope="module")
def described(client):
    async def here(scope, receive, send):
        """The application under the name of this machine, which it insists on."""
        if scope["type"] == "lifespan":  # the client's own has begun it
            for said in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{said}.complete"})
            return
        if "headers" in scope:
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = scope | {"headers": [*others, (b"host", b"127.0.0.1")]}
        await client.app(scope, receive, send)

    return schemathesis.openapi.from_asgi("/openapi.json", here)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("name", ADDRESSES)
def test_an_address_keeps_to_its_description(client, described, name, mode):
    if mode.is_negative and name == "status":
        pytest.skip("it takes nothing that could be wrong")
    operations = [op.ok() for op in described.get_all_operations() if op.ok().path == f"/api/{name}"]
    if mode.is_negative:
        operations = [op for op in operations if op.body or op.query]
    assert operations
    if name == "map":  # drawn once: it takes longer than a made-up request may
        assert client.get("/api/map", params={"method": "pca"}).status_code == 200
    for operation in operations:
        keeps(operation, mode, name)


def keeps(operation, mode, name):
    @given(operation.as_strategy(generation_mode=mode))
    @EXAMPLES
    def kept(case):
        if mode.is_positive and "clip" in (case.query or {}):
            case.query["clip"] = world.TALK  # one that is there, half of the names would be of nothing
        if mode.is_positive and "file" in (case.query or {}):
            case.query["file"] = world.TALK
        if mode.is_positive and name == "map":
            case.query["method"] = "pca"  # the other one takes longer still
        if mode.is_positive and name == "search" and case.body.get("run"):
            case.body["by"] = "moment"  # one index alone gives no films, and says so
        case.call_and_validate(excluded_checks=[positive_data_acceptance] if name in OF_THE_FILES else [])

    kept()
