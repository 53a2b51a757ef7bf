"""Readers of subtitles, manifests, annotations and pickles on any bytes, and on files that are nearly right: rows, bad
rows or a `SeehearError` come out, and nothing else.

hypothesis makes the files; with atheris installed (`pip install atheris`) its coverage-guided search works on them too.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from seehear.datasets.base import ImportOptions, MediaIndex
from seehear.datasets.files import Files
from seehear.datasets.pickles import read_pickle
from seehear.datasets.run import IMPORTERS
from seehear.errors import SeehearError
from seehear.library.manifest import read_manifest
from seehear.library.subtitles import read_captions, read_json, read_subtitles
from tests.faults.outcome import ROOT, Outcome, outcome

FORMATS = ROOT / "tests" / "datasets" / "formats"
_SRT = b"1\n00:00:01,000 --> 00:00:02,500\n<i>Hello</i> there\n\n2\n00:00:03,000 --> 00:00:04,000\none\ntwo\n"
_VTT = b"WEBVTT\nKind: captions\n\n00:00:00.000 --> 00:00:02.000 align:start\nhello<00:00:00.500><c> world</c>\n"
_ASS = (
    b"[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, "
    b"MarginV, Effect, Text\nDialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\i1}Hello{\\i0}\\Nyou\n"
)
_JSON = b'{"texts": [{"text": "a", "start": 1, "end": "0:02"}, "b"], "labels": ["dog"], "split": "val", "n": 1}'
_CSV = b'file,start,end,text,labels,split\na.mp4,0:01,2.5,"a ""dog""",x|y,train\nb.wav,,,"[""one""]",,test\n'
_JSONL = b'{"file": "a.mp4", "start": 1.0, "texts": ["a", {"text": "b", "start": 0, "end": 1}]}\n{"text": "alone"}\n'
_PIECES = [b'"', b",", b"\n", b"\r", b"{", b"}", b"[", b"]", b":", b"|", b"-1", b"1e999", b"NaN", b"null", b"true"]
_PIECES += [
    b"\xff",
    b"\x00",
    b"\xfe\xff",
    b" --> ",
    b"99:99:99,999",
    b"\\ud800",
    b"9" * 400,
    b"../",
    b"<",
    b"&#x110000;",
]
_PIECES += [b"\\", b"{\\p1}", b"0:00:01.00", b"Dialogue: ", b"Format: ", b"#", b"\t", b"\xe9", b"[" * 3000, b"."]


@dataclass(frozen=True)
class Target:
    name: str
    """Name of the file; its suffix is its format."""
    sample: bytes
    """A file as it should be."""
    read: Callable[[Path], object]


def _rows(path: Path) -> list[object]:
    return list(read_manifest(path))


def _annotations(importer: str) -> Callable[[Path], object]:
    def read(path: Path) -> list[object]:
        wanted, root = IMPORTERS[importer], path.parent
        index = MediaIndex(root, wanted)
        try:
            return list(wanted.read(Files(root, index, ImportOptions())))
        finally:
            index.close()

    return read


def _pickled() -> bytes:
    held = {"text": ["a", "b"], "n": 3, "x": np.zeros((2, 3), np.float32), "w": np.array(["é", "b"])}
    return pickle.dumps([held], protocol=2)


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    table = pa.table({"file": ["a.mp4", None], "start": [0.5, None], "texts": [["a"], []], "n": [1, 2]})
    with tempfile.TemporaryDirectory() as folder:
        parquet.write_table(table, f"{folder}/a.parquet")
        return Path(f"{folder}/a.parquet").read_bytes()


def _karpathy() -> bytes:
    sentences = [{"tokens": ["a"], "raw": "a", "imgid": 0, "sentid": 0}]
    image = {"filename": "1.jpg", "split": "train", "sentences": sentences, "sentids": [0], "imgid": 0}
    return json.dumps({"images": [image], "dataset": "flickr30k"}).encode()


def targets() -> list[Target]:
    found = [Target(f"a.{kind}", text, read_subtitles) for kind, text in (("srt", _SRT), ("vtt", _VTT), ("ass", _ASS))]
    found += [Target("a.txt", b"a dog\nb cat\n", read_captions), Target("a.json", _JSON, read_json)]
    tables = {"csv": _CSV, "tsv": _CSV.replace(b",", b"\t"), "jsonl": _JSONL, "parquet": _parquet()}
    found += [Target(f"m.{kind}", content, _rows) for kind, content in tables.items()]
    found += [Target("a.pickle", _pickled(), read_pickle)]
    official = {
        "audiocaps": ("test.csv", "audiocaps_v1_test.csv"),
        "audiocaps-v2": ("test.csv", "audiocaps_v2_test.csv"),
        "msrvtt-1ka": ("MSRVTT_JSFUSION_test.csv", "msrvtt_1ka_test.csv"),
        "youcook2": ("validation_youcook.csv", "validation_youcook.csv"),
        "vggsound": ("test.csv", "vggsound_test.csv"),
        "hmdb51": ("hmdb51.csv", "hmdb51.csv"),
        "coco": ("captions_val2017.json", "captions_val2017.json"),
    }
    for importer, (name, file) in official.items():
        if importer in IMPORTERS:
            found.append(Target(name, (FORMATS / file).read_bytes()[:4000], _annotations(importer)))
    return [*found, Target("dataset_flickr30k.json", _karpathy(), _annotations("flickr30k"))]


def near(sample: bytes) -> st.SearchStrategy[bytes]:
    """A file as it should be with a few edits: pieces put in, written over, or taken out."""
    edit = st.tuples(st.floats(0, 1), st.sampled_from(["in", "over", "out"]), st.sampled_from(_PIECES))

    def edited(edits: list[tuple[float, str, bytes]]) -> bytes:
        content = bytearray(sample)
        for where, how, piece in edits:
            at = int(where * len(content))
            content[at : at + (0 if how == "in" else len(piece))] = b"" if how == "out" else piece
        return bytes(content)

    return st.lists(edit, min_size=1, max_size=6).map(edited)


def fuzz(folder: Path, *, examples: int, seed_of_run: int) -> list[Outcome]:
    """`examples`: files for each reader, half of them near the sample."""
    found = outcome_of_hypothesis(folder, examples, seed_of_run)
    return [found] if find_spec("atheris") is None else [found, _atheris(folder, examples)]


def outcome_of_hypothesis(folder: Path, examples: int, seed_of_run: int) -> Outcome:
    with outcome("fuzzed readers (hypothesis)") as found:
        for number, target in enumerate(targets()):
            place = folder / f"fuzz {number}"
            place.mkdir(parents=True, exist_ok=True)
            times: list[float] = []
            try:
                seed(seed_of_run)(attempts(target, place, examples, times))()
            except Exception as error:
                notes = " ".join(getattr(error, "__notes__", []))
                found.wrong.append(f"{target.name}: {type(error).__name__}: {error} {notes}"[:600])
            found.tried += len(times)
            found.check(max(times, default=0) < 5, f"{target.name}: a file of a few bytes took {max(times):.0f} s")
    return found


def attempts(target: Target, place: Path, examples: int, times: list[float]) -> Callable[[], None]:
    """A test of hypothesis that reads so many files, and notes how long each took."""

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.binary(max_size=400), near(target.sample)))
    def attempt(content: bytes) -> None:
        began = time.monotonic()
        try:
            read(target, place, content)
        finally:
            times.append(time.monotonic() - began)

    return attempt


def read(target: Target, place: Path, content: bytes) -> None:
    """Anything but a `SeehearError` goes through."""
    path = place / target.name
    path.write_bytes(content)
    try:
        target.read(path)
    except SeehearError:
        return


def _atheris(folder: Path, runs: int) -> Outcome:
    with outcome("fuzzed readers (atheris)") as found:
        for number, target in enumerate(targets()):
            corpus = folder / f"corpus {number}"
            corpus.mkdir(parents=True, exist_ok=True)
            (corpus / "sample").write_bytes(target.sample)
            command = [sys.executable, "-m", "benchmarks.faults.guided", str(number), str(folder), str(corpus)]
            command += [f"-runs={runs}", "-max_len=4096", "-timeout=20", f"-artifact_prefix={corpus}/"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            found.tried += runs
            found.check(done.returncode == 0, f"{target.name}: {done.stderr[-800:]}")
    return found
