"""Draw docs/demo.png from what `seehear demo` found: `python tools/make_readme_picture.py seehear-demo`."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from seehear.media.files import AudioSpec, VideoSpec, read_window

OUT = Path(__file__).parent.parent / "docs" / "demo.png"
RATE = 16_000
SHOWN = {0: "", 3: "", 5: "a bark", 7: "a helicopter"}  # of the demo's queries; what a sound is


def spectrogram(path: str) -> np.ndarray:
    """(bins, frames) decibels, low at the bottom."""
    wave = read_window(path, 0.0, 5.0, audio=AudioSpec(rate=RATE)).waveform
    assert wave is not None
    frames = np.lib.stride_tricks.sliding_window_view(wave, 512)[::160] * np.hanning(512)
    power = 20 * np.log10(np.abs(np.fft.rfft(frames)).T[:160] + 1e-3)
    return np.clip(power, power.max() - 60, None)


def tile(axes: Any, path: str, caption: str, colour: str = "0.25") -> None:
    if path.endswith((".opus", ".wav", ".flac")):
        axes.imshow(spectrogram(path), origin="lower", aspect="auto", cmap="magma")
    else:
        window = read_window(path, 0.0, 0.0, video=VideoSpec(num_frames=1))
        assert window.frames is not None
        axes.imshow(window.frames[0])
    axes.set_title(caption, fontsize=7.5, color=colour, pad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)


def main() -> None:
    found = json.loads((Path(sys.argv[1]) / "demo.json").read_text(encoding="utf-8"))["hits"]
    rows = [(*list(found.items())[i], sound) for i, sound in SHOWN.items()]
    figure, grid = plt.subplots(len(rows), 5, figsize=(7.2, 1.4 * len(rows)), dpi=110)
    for (query, hits, sound), line in zip(rows, grid, strict=True):
        if query.startswith("the sound "):
            tile(line[0], query.removeprefix("the sound "), f"{sound}, new to it", "tab:blue")
        else:
            line[0].axis("off")
            line[0].text(0.98, 0.5, textwrap.fill(query, 12), ha="right", va="center", fontsize=9.5, color="tab:blue")
        for axes in line[1:]:
            axes.axis("off")
        for axes, hit in zip(line[1:], hits, strict=False):
            axes.axis("on")
            name = textwrap.shorten(hit["text"], 18, placeholder="…")
            tile(axes, hit["path"], f"{name}  {hit['score']:.2f}")
    figure.tight_layout(pad=0.4)
    figure.savefig(OUT)
    Image.open(OUT).convert("RGB").quantize(128).save(OUT, optimize=True)
    print(f"written: {OUT}")


if __name__ == "__main__":
    main()
