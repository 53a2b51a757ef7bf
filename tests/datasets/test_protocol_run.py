"""A run trained on imported features, under protocols by name: recall of fused galleries, failures, steps in videos."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from seehear.cli import main
from seehear.datasets import ImportOptions, import_dataset
from seehear.datasets.protocol_run import counting_failures, evaluate_protocol
from seehear.errors import SeehearError
from seehear.evaluation.embedded import Embedded, fuse
from seehear.evaluation.localisation import align
from seehear.evaluation.report import EvaluationReport
from seehear.inputs.latents import load_latents
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.tables import LibraryTables
from seehear.runs.config import recipe
from seehear.runs.run import train_run
from seehear.space import SharedSpace
from tests.datasets.sets import features, write
from tests.library.fake_encoders import FakeText

TASKS = (
    "1\nMake Tea\nhttp://x\n2\nboil some water,pour\n\n2\nMake Toast\nhttp://x\n2\ncut bread,put it into the toaster\n"
)


def library(folder, name, files, *, make, mel_frames=50, **options):
    """A set of features imported, its texts encoded."""
    root = folder / f"{name}-files"
    for path, content in files.items():
        write(root / path, content)
    make(root / "features")
    place = root if name in ("howto100m", "crosstask") else root / "features"
    import_dataset(
        name, root, folder / name, ImportOptions(features=place, mel_frames=mel_frames, workers=0, **options)
    )
    made = LibraryTables.open(folder / name)
    encode_library(made, [FakeText()], EngineOptions(workers=0))
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """MCN on the features of a few videos."""
    folder = tmp_path_factory.mktemp("run")
    said = {
        f"v{i}": {"start": [0, 4, 9], "end": [3, 8, 15], "text": ["a" * (i + 1), "go " * (i + 2), f"cut {i}"]}
        for i in range(8)
    }

    def make(root):
        for seed, video in enumerate(said):
            features(root, video, seed=seed)

    made = library(folder, "howto100m", {"caption.json": said}, make=make, val=0.2)
    run = recipe("mcn.tiny")
    encoders = {"video": ("resnet152", "resnext101"), "audio": ("melframes",), "text": ("fake-text",)}
    run = replace(
        run,
        data=replace(run.data, encoders=encoders),
        method=replace(run.method, dim=16, hidden=8, clusters=3, queue=24, channels=(4, 8)),
        train=replace(run.train, epochs=2, batch_size=8, evaluations=1, device="cpu", fast_matmul=False),
    )
    train_run(made, run, folder / "mcn")
    return folder


@pytest.fixture(scope="module")
def msrvtt(trained):
    rows = "key,vid_key,video_id,sentence\n" + "".join(f"ret{i},msr{i},video{i},{'so ' * i}it is\n" for i in range(6))

    def make(root):
        for i in range(6):
            features(root, f"video{i}", 10, kinds=("_2d", "_3d", "_spec") if i < 4 else ("_2d", "_3d"), seed=100 + i)

    made = library(trained, "msrvtt-1ka", {"msrvtt_test.csv": rows}, make=make, mel_frames=80, splits=("test",))
    return made


@pytest.fixture(scope="module")
def crosstask(trained):
    files = {
        "tasks_primary.txt": TASKS,
        "videos.csv": "1,a,u\n1,b,u\n2,c,u\n1,d,u\n",
        "videos_val.csv": "1,d,u\n",
        "annotations/1_a.csv": "1,0,2\n2,4,5\n",
        "annotations/1_b.csv": "2,1.5,2.5\n",
        "annotations/2_c.csv": "1,0,3\n2,3,6\n",
        "annotations/1_d.csv": "1,0,1\n",
    }

    def make(root):
        for seed, (video, seconds) in enumerate({"a": 6, "b": 5, "c": 7, "d": 4}.items()):
            features(root, video, seconds, seed=200 + seed)

    return library(trained, "crosstask", files, make=make)


def by_hand(trained, made):
    """Raw vectors of every clip, by modality."""
    space = SharedSpace.from_pretrained(trained / "mcn", device="cpu")
    data = load_latents(made, encoders={m: [e["name"] for e in v] for m, v in space.encoders.items()}, prefix="")
    with torch.inference_mode():
        raw = {
            m: space.method.raw({m: data.every(m).float(), f"has_{m}": torch.ones(len(data.every(m))).bool()})[
                m
            ].numpy()
            for m in data.modalities
        }
    return data, raw


def test_retrieval_with_the_sum_of_raw_vectors(trained, msrvtt):
    """Four of six clips have sound: they alone are the gallery, and the others count as failures beside it."""
    found = evaluate_protocol(trained / "mcn", "msrvtt-1kA", msrvtt, device="cpu")
    data, raw = by_hand(trained, msrvtt)
    heard = data.owner("audio").numpy()
    scores = raw["text"][heard] @ (raw["video"][heard] + raw["audio"]).T
    rank = 1 + (scores > np.diag(scores)[:, None]).sum(axis=1)
    own = found.report.get("text->video+audio")
    assert own.metrics["R@1"] == pytest.approx((rank == 1).mean())
    assert own.metrics["median_rank"] == np.median(rank)
    assert (own.counts["queries"], own.counts["gallery"], own.counts["skipped"]) == (4, 4, 2)
    strict = found.report.get("text->video+audio, of all 1,000")
    assert strict.metrics["R@5"] == pytest.approx(4 / 1000)
    assert strict.metrics["median_rank"] == own.metrics["median_rank"]
    assert strict.counts["failures"] == 996
    assert found.checked.deviations[0] == "6 clips, expected 1,000"
    assert any(row.method == "MCN" for row in found.published)
    assert "MCN  " in str(found)
    assert "text->video R@10 33.8" in str(found)


def test_the_mean_of_unit_vectors_is_another_gallery(trained, msrvtt):
    found = evaluate_protocol(trained / "mcn", "msrvtt-1ka", msrvtt, fusion="unit", device="cpu")
    data, raw = by_hand(trained, msrvtt)
    z = {m: v / np.linalg.norm(v, axis=1, keepdims=True) for m, v in raw.items()}
    heard = data.owner("audio").numpy()
    both = z["video"][heard] + z["audio"]
    scores = z["text"][heard] @ (both / np.linalg.norm(both, axis=1, keepdims=True)).T
    rank = 1 + (scores > np.diag(scores)[:, None]).sum(axis=1)
    assert found.report.get("text->video+audio").metrics["MRR"] == pytest.approx((1 / rank).mean(), abs=1e-6)
    saved = EvaluationReport.load(trained / "mcn" / "protocols" / "msrvtt-1ka")
    assert saved.about["fusion"] == "unit"
    assert saved.get("text->video+audio").metrics == found.report.get("text->video+audio").metrics


def test_sums_are_left_as_they_are():
    one, two = (Embedded(np.array([[3.0, 0], [0, 2]]), np.array([0, 1])), Embedded(np.array([[1.0, 1]]), np.array([1])))
    assert fuse([one, two], made_unit=False).vectors.tolist() == [[1, 3]]
    assert fuse([one, two]).vectors[0] == pytest.approx(np.array([1, 1 + 2**0.5]) / np.hypot(1, 1 + 2**0.5), abs=1e-6)


def test_failures_share(trained, msrvtt):
    own = evaluate_protocol(trained / "mcn", "msrvtt-1ka", msrvtt, device="cpu").report.get("text->video+audio")
    of_all = counting_failures(own, 6)
    assert of_all.metrics["R@10"] == pytest.approx(own.metrics["R@10"] * 4 / 6)
    assert of_all.metrics["mean_rank"] == own.metrics["mean_rank"]
    assert of_all.counts["failures"] == 2


def test_steps_are_located(trained, crosstask):
    found = evaluate_protocol(trained / "mcn", "crosstask", crosstask, device="cpu")
    own = found.report.get("steps->video+audio")
    assert own.counts == {"videos": 3, "steps": 5, "tasks": 2}
    data, raw = by_hand(trained, crosstask)
    ids = data.ids.tolist()
    vectors = {m: dict(zip(data.owner(m).tolist(), raw[m], strict=True)) for m in raw}

    def hits(task, video, seconds, truth):
        texts = np.stack([vectors["text"][ids.index(f"crosstask/{task}/{k:02d}")] for k in range(2)])
        rows = [ids.index(f"crosstask/{task}/{video}/{t:04d}") for t in range(seconds)]
        scores = np.stack([vectors["video"][n] + vectors["audio"][n] for n in rows]) @ texts.T
        return sum(t in truth[k] for k, t in enumerate(align(scores).tolist()) if truth[k]), scores

    a, _ = hits(1, "a", 6, [{0, 1}, {4}])
    b, _ = hits(1, "b", 5, [set(), {1, 2}])
    c, _ = hits(2, "c", 7, [{0, 1, 2}, {3, 4, 5}])
    assert own.metrics["recall"] == pytest.approx(((a / 2 + b / 1) / 2 + c / 2) / 2)
    assert own.metrics["recall (pooled)"] == pytest.approx(((a + b) / 3 + c / 2) / 2)
    assert 0 < own.chance["recall"] < 1
    low, high = own.intervals["recall"]
    assert low <= own.metrics["recall"] <= high
    assert found.report.warnings == ("2 tasks, expected 18: another number",)
    assert {r.task for r in found.report.results} == {"steps->video", "steps->audio", "steps->video+audio"}


def test_on_the_command_line(trained, crosstask, capsys):
    command = [
        "evaluate",
        str(trained / "mcn"),
        "--library",
        crosstask.uri,
        "--protocol",
        "crosstask",
        "--device",
        "cpu",
    ]
    assert main([*command, "--json", "--quiet"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["protocol"] == "crosstask"
    assert plain["published"][0]["values"] == {"recall": 35.1}
    assert plain["results"][0]["task_type"] == "localisation"
    assert main([*command, "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "published, not measured here" in shown
    assert "recall (pooled)" in shown


def test_what_cannot_be_run_says_so(trained, msrvtt):
    with pytest.raises(SeehearError, match="mean over 5 folds"):
        evaluate_protocol(trained / "mcn", "esc50", msrvtt)
    with pytest.raises(SeehearError, match="has no steps: seehear import crosstask"):
        evaluate_protocol(trained / "mcn", "crosstask", msrvtt, device="cpu")
    with pytest.raises(SeehearError, match="did you mean 'msrvtt-1ka'"):
        evaluate_protocol(trained / "mcn", "msrvtt-1kb", msrvtt)


def test_a_model_of_features_asks_for_no_media(trained, tmp_path):
    from tests.library.makers import film

    space = SharedSpace.from_pretrained(trained / "mcn", device="cpu")
    with pytest.raises(SeehearError, match="'resnet152' are imported features"):
        space.encode([{"video": str(film(tmp_path / "x.mp4", seconds=1.0))}])
