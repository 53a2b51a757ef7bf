"""Draw docs/demo.png, words typed and the first moments that the demo's library has for them:
`seehear demo && python tools/make_readme_picture.py seehear-demo`. Words are those of some of its questions; nothing is
left out of what is found."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image

from seehear.folders.find import open_library
from seehear.library.tables import LibraryTables
from seehear.media.files import VideoSpec, read_window
from seehear.search.moments import Moment

OUT = Path(__file__).parent.parent / "docs" / "demo.png"
ASKED = ("a polar bear", "a castle", "that password is too weak", "photographs with flash are forbidden")
SHOWN = 4


def tile(axes: Any, hit: Moment) -> None:
    window = read_window(hit.file, hit.start, hit.end, video=VideoSpec(num_frames=1))
    assert window.frames is not None
    axes.imshow(window.frames[0])
    said = textwrap.shorten(hit.text, 28, placeholder="…") if hit.kind in ("spoken", "screen") else ""
    axes.set_title(f"{hit.kind}, {hit.words}" + (f"\n{said}" if said else ""), fontsize=6.2, color="0.25", pad=2)


def main() -> None:
    searcher = open_library(LibraryTables.open(Path(sys.argv[1]) / "library"))
    figure, grid = plt.subplots(len(ASKED), SHOWN + 1, figsize=(7.6, 1.35 * len(ASKED)), dpi=110)
    for words, line in zip(ASKED, grid, strict=True):
        for axes in line:
            axes.axis("off")
        line[0].text(1.0, 0.5, textwrap.fill(f"“{words}”", 15), ha="right", va="center", fontsize=8.5, color="tab:blue")
        for axes, hit in zip(line[1:], searcher.search(words, k=SHOWN).hits, strict=False):
            tile(axes, hit)
    figure.tight_layout(pad=0.4)
    figure.savefig(OUT)
    with Image.open(OUT) as drawn:
        small = drawn.convert("RGB").quantize(128)
    small.save(OUT, optimize=True)
    print(f"{OUT}: {OUT.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
