"""The search page at home with a large library, in headless Chromium: first paint, scrolling, and what it asks for.

    OMP_NUM_THREADS=1 python benchmarks/page.py            # two idle cores, three minutes

A library of 10,000 files with ten clips each, made of rows alone; the files are hard links to the demo's films and
photos, so that every picture of the grid is decoded and sent as it would be. The server runs in a process of its own. A
script scrolls through the page: slowly (40 pixels a frame), fast (400), and by jumps over the whole height; the time
between two frames is taken by `requestAnimationFrame`, the elements of the document are counted, and beside the time on
the clock stands the processor's time of the page's main thread, which another load on the machine moves less.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np
from serve import Server, at, page_weight

from seehear.demo import MEDIA
from seehear.library.tables import Clip, LibraryTables, Source, Text, Vectors, in_batches
from seehear.search.calibrate import background_phrases
from seehear.search.index import set_index

CLIPS, SECONDS, REPEATS = 10, 6.0, 30
VIEWPORT = {"width": 1440, "height": 900}
SCROLL = """async ([step, frames]) => {
    const times = [], counts = [];
    let before = await new Promise(requestAnimationFrame);
    const height = document.documentElement.scrollHeight - innerHeight;
    for (let n = 0; n < frames; n++) {
        scrollTo(0, step > 0 ? scrollY + step : (n * 0.618 % 1) * height);
        const now = await new Promise(requestAnimationFrame);
        times.push(now - before);
        before = now;
        if (n % 10 === 0) counts.push(document.querySelectorAll("*").length);
    }
    return { times, counts };
}"""


def build(folder: Path, files: int) -> LibraryTables:
    """Folders of 50 files over ten years; each clip says three of the background phrases."""
    library = LibraryTables.create(folder / "lib")
    library.add_root(folder / "media")
    films, photos = sorted((MEDIA / "films").iterdir()), sorted((MEDIA / "photos").iterdir())
    phrases, rng = background_phrases(), np.random.default_rng(0)
    copies = {real: shutil.copy(real, folder) for real in (*films, *photos)}
    sources, clips = [], []
    for n in range(files):
        real = photos[n % len(photos)] if n % 5 == 0 else films[n % len(films)]
        name = f"{2015 + n * 10 // files}/trip {n // 50}/{real.stem} {n}{real.suffix}"
        path = folder / "media" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(copies[real], path)  # a link of another kind would lead out of the media folder
        still = real.suffix == ".jpg"
        info = {"kind": "picture" if still else "video", "width": "480", "recipe": "made", "origin": "."}
        days = int((1.42e9 + n * 3.15e8 / files) * 1e9)
        length = 0.0 if still else SECONDS
        sources.append(Source(source=name, size=1, mtime_ns=days, fingerprint=f"{n:016x}", duration=length, info=info))
        for k in range(1 if still else CLIPS):
            start, end = (0.0, 0.0) if still else (k * SECONDS / CLIPS, (k + 1) * SECONDS / CLIPS)
            said = ", ".join(phrases[i] for i in rng.integers(0, len(phrases), 3))
            texts = () if still else (Text(said, start, end, "speech", "made"),)
            id = name if still else f"{name}#{start:.3f}-{end:.3f}"
            clip = Clip(id=id, source=name, start=start, end=end, has_video=True, has_audio=not still, texts=texts)
            clips.append(clip)
    library.put_sources(sources)
    vectors = library.vectors("vectors", "made", 4)
    for some in in_batches(clips, 20_000):
        library.put_clips(some)
        rows, many = np.ones((len(some), 4), np.float16), len(some)
        ids, items = [clip.id for clip in some], np.zeros(many, np.int32)
        made = Vectors(ids, items, ["video"] * many, rows, ["made"] * many, ["made"] * many)
        vectors.append(made)
    set_index(library, "made", {"maker": "made", "model": "made", "modalities": ["video"], "dim": 4, "recall": None})
    library.compact()
    return library


def asked(server: Server, files: int) -> dict[str, Any]:
    """Milliseconds of answers over HTTP, p50 and p95; the first one reads the library."""
    rng = np.random.default_rng(1)
    results: dict[str, Any] = {}
    letters = ["", *"abcdefghijklmnoprstuw"]
    addresses = {
        "films": lambda: f"/api/films?by=folder&offset={rng.integers(0, files)}&limit=200",
        "suggest": lambda: f"/api/suggest?q={letters[rng.integers(len(letters))]}",
    }
    for name, address in addresses.items():
        began = time.perf_counter()
        server.get(address())
        first = time.perf_counter() - began
        if name == "suggest":  # counted in the background
            while len(server.get("/api/suggest")) < 100:
                time.sleep(1.0)
            counted = time.perf_counter() - began
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            server.get(address())
            times.append(time.perf_counter() - began)
        results[name] = {"first": round(1e3 * first), "p50": at(times, 0.5), "p95": at(times, 0.95)}
    return {"milliseconds": results, "seconds_until_words_are_counted": round(counted, 1)}


def scrolled(address: str) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    results: dict[str, Any] = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--disable-gpu", "--no-sandbox"])
        page = browser.new_page(viewport=VIEWPORT)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(address)
        page.wait_for_selector("#films .tile img")
        paints = "performance.getEntriesByType('paint').map(entry => [entry.name, Math.round(entry.startTime)])"
        results["paint_milliseconds"] = dict(page.evaluate(paints))
        results["page_pixels"] = page.evaluate("document.documentElement.scrollHeight")
        for name, step, frames in (("slow", 40, 600), ("fast", 400, 600), ("jumps", 0, 120)):
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(1000)
            worked = cpu(session)
            found = page.evaluate(SCROLL, [step, frames])
            worked = cpu(session) - worked
            times = [t / 1e3 for t in found["times"]]
            late = sum(t > 1 / 30 for t in times) / len(times)
            results[name] = {
                "frame_milliseconds": {"p50": at(times, 0.5), "p95": at(times, 0.95), "max": at(times, 1.0)},
                "main_thread_cpu_milliseconds_a_frame": round(1e3 * worked / frames, 2),
                "share_of_frames_beyond_33_ms": round(late, 4),
                "most_elements": max(found["counts"]),
            }
        browser.close()
    return results


def cpu(session: Any) -> float:
    """Seconds that a processor has worked for the page's main thread."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    weight = page_weight()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = build(folder, options.files)
        results: dict[str, Any] = {"files": options.files, "clips": library.count_clips()}
        server = Server(library.uri, folder, searched=False)
        try:
            results |= asked(server, options.files)
            results |= scrolled(f"http://{server.connection.host}:{server.connection.port}/")
        finally:
            server.close()
    common.write("page", results | {"page_bytes": sum(weight.values())}, options.out)


if __name__ == "__main__":
    main()
