"""Training clips with their context against batches of as many single clips, and against a bare gather of all the
latents that they are made of.

    OMP_NUM_THREADS=1 python benchmarks/contexts.py

Batches of 4096 rows, 128 recordings x 32 draws; captions of 2 to 5 s, extended to 10 s. Vectors and words are MCN's
(4096 and 20 x 300 numbers, float16); spectrograms (40 x 1000) in batches of 512.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import DEVICE, interleaved, write

from seehear.inputs.contexts import ContextConfig, ContextData, Timing
from seehear.inputs.latents import LatentData
from seehear.nn.davemel import PADDING_DB

VIDEOS, CAPTIONS, DRAWS = 256, 40, 32
SHAPES = {"text": (20, 300), "audio": (40, 1000)}


def captions(generator: np.random.Generator, videos: int) -> Timing:
    length = generator.uniform(2, 5, (videos, CAPTIONS))
    end = length.cumsum(axis=1)
    return Timing(
        video=np.repeat(np.arange(videos), CAPTIONS),
        start=(end - length).ravel(),
        end=end.ravel(),
        every_text=np.ones(videos * CAPTIONS, bool),
    )


def latents(modalities: tuple[str, ...], timing: Timing) -> LatentData:
    n, arrays, infos = len(timing.video), {}, {}
    for m in modalities:
        if m == "video":
            arrays[m] = torch.rand(n, 4096).half()
        elif m == "text":
            words = torch.randn(n, *SHAPES[m]).half()
            words[torch.arange(20) >= torch.randint(4, 13, (n, 1))] = 0
            arrays[m] = words.flatten(1)
        else:
            level = -80 * torch.rand(n, *SHAPES[m]).half()
            frames = torch.from_numpy(100 * (timing.end - timing.start)).long()
            level.masked_fill_((torch.arange(1000) >= frames[:, None])[:, None], PADDING_DB)
            arrays[m] = level.flatten(1)
        infos[m] = [{"name": m, "width": arrays[m].shape[1]} | ({"shape": SHAPES[m]} if m in SHAPES else {})]
    return LatentData.from_arrays(arrays, groups=timing.video, encoders=infos).to(DEVICE)


def measure(modalities: tuple[str, ...], rows: int, repeats: int, videos: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    timing = captions(generator, videos)
    data = latents(modalities, timing)
    made = ContextData(data, timing, ContextConfig(clips_per_video=DRAWS))
    some = torch.from_numpy(generator.integers(0, len(data), rows))
    turns = iter(range(10_000))

    def batch() -> object:
        first = next(turns) * rows % len(made)
        return made.batch((first + torch.arange(rows)) % len(made))

    clips = made.clips(torch.arange(rows))
    members = torch.tensor([clip for row in clips for clip in row]).to(DEVICE)

    def same_bytes() -> object:
        return [r.vectors[r.first[members]] for r in data.rows.values()]

    cases = {"contexts": batch, "gather": lambda: data.batch(some), "same bytes": same_bytes}
    seconds = interleaved(cases, repeats=repeats)
    found = {"rows": rows, "clips_a_row": round(len(members) / rows, 2), "seconds": seconds}
    found["rows_a_second"] = {name: round(rows / taken) for name, taken in seconds.items()}
    found["ratio"] = {name: round(seconds["contexts"] / seconds[name], 2) for name in ("gather", "same bytes")}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    results = {
        "video + text": measure(("video", "text"), 4096, given.repeats, VIDEOS),
        "text + audio": measure(("text", "audio"), 512, given.repeats, VIDEOS // 4),
    }
    for name, found in results.items():
        speed, ratio = found["rows_a_second"], found["ratio"]
        print(
            f"{name}: {speed['contexts']:,} rows/s of {found['clips_a_row']} clips, one clip a row {speed['gather']:,};"
        )
        print(f"    {ratio['gather']} x the time of that, {ratio['same bytes']} x that of reading all clips' latents")
    write("contexts", {"cases": results}, given.out)


if __name__ == "__main__":
    main()
