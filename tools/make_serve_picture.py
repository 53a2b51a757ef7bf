"""Make `docs/figures/serve.jpg`: the search page over a library, as a browser shows it.

    seehear demo && python tools/make_serve_picture.py seehear-demo/library

Needs the extras `serve` and `dev`, and Chromium (or its path in CHROMIUM)."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from playwright.sync_api import sync_playwright

from seehear.serve.app import create_app, listen
from seehear.serve.config import ServeConfig

OUT = Path(__file__).parent.parent / "docs" / "figures" / "serve.jpg"
ASKED = "/?q=eggs"
SHOWN = "[...document.images].filter(e => e.getBoundingClientRect().top < 900).every(e => e.naturalWidth)"


def main(library: str) -> None:
    with tempfile.TemporaryDirectory() as cache:
        listening = listen("127.0.0.1", 0)
        server = uvicorn.Server(
            uvicorn.Config(create_app(library, ServeConfig(cache=Path(cache))), log_level="warning")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.05)
        try:
            photograph(f"http://127.0.0.1:{listening.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join()
    print(f"{OUT}: {OUT.stat().st_size / 1e3:.0f} kB")


def photograph(address: str) -> None:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--headless", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        for _ in range(2):  # the second time pictures and waveforms are made, and the model is loaded
            page.goto(address + ASKED)
            page.wait_for_selector(".moment")
            while not page.evaluate(SHOWN):
                page.wait_for_timeout(100)
            page.wait_for_timeout(500)
        page.screenshot(path=OUT, type="jpeg", quality=82)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
