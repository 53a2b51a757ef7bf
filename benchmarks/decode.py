"""Random windows of 2 s against what libav can do: the frames from the last keyframe to the end of the window, at the
rate at which libav decodes the same file from front to back (one thread, no scaling): `ratio_to_decoding`. Where small
frames are enlarged, that says little: `ratio_to_decoding_and_scaling` adds the time in which libav scales as many
frames as are asked for. Sound: the seconds of the window at the rate of decoding the whole stream. All sides in turn in
one run, process CPU time.

    OMP_NUM_THREADS=1 python benchmarks/decode.py [--real DIR] [--windows N] [--out FILE]

The film is made here (a moving test pattern with noise, 320 x 240, 25 frames a second, 60 s, H.264 with B frames) with
a keyframe every 250 and every 25 frames; --real takes the .mp4 files of a folder as well.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from bisect import bisect_right
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from common import interleaved, write

from seehear.media.files import VideoSpec, probe, read_window

SECONDS, LENGTH, FPS, RATE = 60, 2.0, 25, 48_000
TARGET = 0.75
ALL_FRAMES = "2 s, all frames, to 224"
SPECS = {
    ALL_FRAMES: VideoSpec(size=224, fit="crop"),
    "2 s, 8 frames, to 224": VideoSpec(num_frames=8, size=224, fit="crop"),
}


def make_film(path: Path, gop: int) -> Path:
    """A test pattern over which grain moves, so that it costs what real pictures cost; the sound is coloured noise."""
    graph = av.filter.Graph()
    source = graph.add("testsrc2", f"size=320x240:rate={FPS}:duration={SECONDS}")
    grain, sink = graph.add("noise", "alls=8:allf=t:all_seed=1"), graph.add("buffersink")
    source.link_to(grain)
    grain.link_to(sink)
    graph.configure()
    with av.open(str(path), "w") as out:
        video = out.add_stream(
            "libx264", rate=FPS, options={"crf": "23", "bf": "3", "threads": "1", "sc_threshold": "0"}
        )
        video.width, video.height, video.pix_fmt, video.gop_size = 320, 240, "yuv420p", gop
        sound = out.add_stream("aac", rate=RATE, layout="mono")
        for n in range(SECONDS * FPS):
            frame = graph.pull().reformat(format="yuv420p")
            frame.pts, frame.pict_type = n, 0  # the pattern says that every frame is a key; the encoder shall decide
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        samples = np.convolve(np.random.default_rng(0).standard_normal(SECONDS * RATE), np.ones(8) / 16, "same")
        for at in range(0, len(samples), 1024):
            part = av.AudioFrame.from_ndarray(samples[None, at : at + 1024].astype("f4"), format="fltp", layout="mono")
            part.rate, part.pts = RATE, at
            out.mux(sound.encode(part))
        out.mux(sound.encode(None))
    return path


def decode_all(path: Path, kind: str) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.video[0] if kind == "video" else container.streams.audio[0]
        stream.thread_type = "NONE"
        for _ in container.decode(stream):
            pass


def frame_times(path: Path) -> tuple[list[float], list[float]]:
    """Seconds of all frames and of the keyframes, in order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [
            (float(p.pts * stream.time_base), p.is_keyframe) for p in container.demux(stream) if p.pts is not None
        ]
    return sorted(time for time, _ in packets), sorted(time for time, key in packets if key)


def frames_needed(start: float, end: float, times: list[float], keys: list[float]) -> int:
    """From the keyframe at or before the window to its end."""
    first = keys[max(bisect_right(keys, start) - 1, 0)]
    return sum(first <= time < end for time in times)


def scale_some(path: Path, spec: VideoSpec) -> Callable[[], object]:
    """A function that scales the first 2 s of a film, decoded before, with one scaler of libav straight to RGB."""
    with av.open(str(path)) as container:
        frames = list(islice(container.decode(video=0), round(LENGTH * float(container.streams.video[0].average_rate))))
    height, width = spec.shape(frames[0].height, frames[0].width)
    scaler = av.video.reformatter.VideoReformatter()
    return lambda: [scaler.reformat(f, width=width, height=height, format="rgb24", threads=1) for f in frames]


def measure(path: Path, starts: list[float], repeats: int) -> dict[str, Any]:
    times, keys = frame_times(path)
    duration = probe(path).duration

    def reader(**spec: Any) -> Callable[[], object]:
        return lambda: [read_window(path, start, start + LENGTH, **spec) for start in starts]

    cases: dict[str, Callable[[], object]] = {name: reader(video=spec) for name, spec in SPECS.items()}
    cases["sound"] = reader(rate=16_000)
    cases["all frames in order"] = lambda: decode_all(path, "video")
    cases["all sound in order"] = lambda: decode_all(path, "audio")
    cases["scaling"] = scale_some(path, SPECS[ALL_FRAMES])
    taken = interleaved(cases, repeats=repeats)
    rate = len(times) / taken["all frames in order"]
    needed = sum(frames_needed(start, start + LENGTH, times, keys) for start in starts) / len(starts)
    shown = LENGTH * len(times) / duration
    results: dict[str, Any] = {"libav_frames_per_second": rate, "mean_frames_from_keyframe": needed}
    for name, spec in SPECS.items():
        each, decoding = taken[name] / len(starts), needed / rate
        scaling = taken["scaling"] * (spec.num_frames or shown) / shown
        results[name] = {"milliseconds": 1e3 * each, "decoding": 1e3 * decoding, "scaling": 1e3 * scaling}
        results[name]["ratio_to_decoding"] = decoding / each
        results[name]["ratio_to_decoding_and_scaling"] = (decoding + scaling) / each
    each, decoding = taken["sound"] / len(starts), taken["all sound in order"] * LENGTH / duration
    results["2 s of sound, to 16 kHz"] = {"milliseconds": 1e3 * each, "decoding": 1e3 * decoding}
    results["2 s of sound, to 16 kHz"] |= {"ratio_to_decoding": decoding / each, "times_real_time": LENGTH / each}
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="a folder of .mp4 files")
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    draw = random.Random(0)
    results: dict[str, Any] = {"target": TARGET}
    with tempfile.TemporaryDirectory() as folder:
        files = {f"made, keyframe every {gop}": make_film(Path(folder) / f"{gop}.mp4", gop) for gop in (250, 25)}
        files |= {path.name: path for path in sorted(options.real.glob("*.mp4"))} if options.real else {}
        for name, path in files.items():
            starts = [draw.uniform(0, max(probe(path).duration - LENGTH, 0.0)) for _ in range(options.windows)]
            results[name] = measure(path, starts, options.repeats)
            for what, measured in results[name].items():
                if isinstance(measured, dict):
                    print(f"{name}: {what}: { {key: round(value, 2) for key, value in measured.items()} }", flush=True)
    write("decode", results, options.out)


if __name__ == "__main__":
    main()
