"""Help for tests of the page in a real browser. Pictures of what it showed are left in SEEHEAR_SHOTS, a folder, where
that is set."""

import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serve import world

SHOTS = os.environ.get("SEEHEAR_SHOTS")
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


@contextmanager
def running(library, cache):
    """The address of a server over a library."""
    from seehear.serve.app import create_app
    from seehear.serve.config import ServeConfig

    with served(create_app(str(library), ServeConfig(cache=cache, device="cpu"))) as address:
        yield address


@contextmanager
def served(app, **options):
    """The address of an application."""
    import uvicorn

    from seehear.serve.app import listen

    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def shared_context(browser, address):
    """The context for pages of this server, which stay in one process: a new one for each costs a CPU second a page."""
    for context in browser.contexts:
        if context.pages[0].url.startswith(f"{address}/"):
            return context
        context.close()
    context = browser.new_context(base_url=address)
    context.new_page().goto("/icon.svg")  # the process ends with its last page
    return context


@contextmanager
def opened(browser, address, *, viewport=DESKTOP, color_scheme="light", refusals=False, **options):
    """A page; nothing may go wrong in it unseen. `refusals`: answers that are no success are part of the test.
    `options` are those of a browser's context, of which the page gets one of its own."""
    context = browser.new_context(base_url=address, **options) if options else shared_context(browser, address)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme=color_scheme)
    wrong, foreign = [], []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on(
        "request", lambda asked: foreign.append(asked.url) if not asked.url.startswith((address, "blob:")) else None
    )
    try:
        yield page
    finally:
        (context if options else page).close()
    if refusals:
        wrong = [text for text in wrong if "Failed to load resource" not in text]
    assert not wrong
    assert not foreign, "nothing is loaded from anywhere else"


def go(page, path="/"):
    page.goto(path)
    page.wait_for_selector("html[data-ready]")


def until(page, expression, seconds=20.0):
    """Waits until JavaScript says so. (`wait_for_function` would evaluate text, which the page's policy forbids.)"""
    for _ in range(int(seconds / 0.05)):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def searched(page):
    """Cards of the results, once they are there."""
    page.wait_for_selector("#results:not([aria-busy]) .card")
    return page.locator("#results .card")


def shoot(page, name):
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(250)
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def drop(page, *paths):
    """Files dragged onto the page from outside of it."""
    files = [{"name": p.name, "bytes": list(p.read_bytes())} for p in paths]
    page.evaluate(
        """files => {
            const data = new DataTransfer();
            for (const file of files) data.items.add(new File([new Uint8Array(file.bytes)], file.name));
            for (const kind of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
        }""",
        files,
    )


def accessible(page, part=None):
    """axe-core finds nothing in the page, or in the part of it that is new to the tests: to look at a page of hits
    takes a second."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, context=part).response["violations"]
    assert not found, [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found]


def film_of(text, **more):
    """A film as the server would give it."""
    clip = {"id": f"{world.TRAIN}#5.000-11.000", "source": world.TRAIN, "kind": "video", "start": 5.0, "end": 11.0}
    clip |= {"has_sound": True, "separate_sound": False, "played": True, "missing": False, "texts": []}
    clip |= {"labels": [world.NIGHT], "group": "", "split": "train"}
    hit = {"clip": clip["id"], "kind": "screen", "start": 6.0, "end": 9.0, "still": 6.5, "text": text}
    hits = [hit | {"confidence": 0.1, "words": "nothing close"}]
    return {"source": world.TRAIN, "seconds": 12.0, "clip": clip, "hits": hits, "also": []} | more


def answer_of(films, words="strong"):
    return {
        "run": "",
        "query": "q",
        "words": words,
        "hits": [],
        "films": films,
        "indexed": 1,
        "clips": 1,
        "milliseconds": 1.0,
    }
