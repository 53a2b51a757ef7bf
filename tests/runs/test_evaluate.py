"""From a trained run and its library to a report: what is compared with what, on which clips."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from seehear.encoders import registry
from seehear.encoders.base import Encoder
from seehear.errors import SeehearError
from seehear.evaluation.report import EvaluationReport, compare_reports
from seehear.library.tables import Clip, LibraryTables, Text, Vectors, content_key
from seehear.runs import evaluate
from seehear.runs.bench import Bench, baseline_results
from seehear.runs.closed_forms import closed_forms, share_a_space
from seehear.runs.config import recipe
from seehear.runs.evaluate import EvaluateOptions, evaluate_run, labels_of
from seehear.runs.run import train_run

WORDS = ["dog", "church_bell", "rain", "crow", "saw"]
WIDTHS = {"video": 18, "audio": 14, "text": 16}
MAPS = {m: np.random.default_rng(7 + w).normal(size=(10, w)) for m, w in WIDTHS.items()}


def hidden(word):
    return np.random.default_rng(len(word) * 100 + ord(word[0])).normal(size=10)


class Says(Encoder):
    """A text encoder that knows six words."""

    name, modality, width, fingerprint = "says", "text", WIDTHS["text"], "f-text"

    def prepare(self, sample):
        return sample.text

    def encode(self, prepared):
        words = [next(w for w in [*WORDS, "noise"] if w.replace("_", " ") in text) for text in prepared]
        return np.stack([hidden(w) @ MAPS["text"] for w in words]).astype(np.float32)


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr(registry, "load_encoder", lambda name, *, modality=None, device="auto": Says())


def clip(n):
    word = WORDS[n % 5]
    split = "train" if n < 140 else "val" if n < 180 else "test"
    labels = (word,) if n % 7 else (word, "noise")
    return Clip(
        id=f"{n:03d}-{word}",
        texts=(Text(word), Text("again")) if n % 3 else (Text(word),),
        has_video=True,
        has_audio=n % 4 != 0,
        labels=labels,
        group=f"g{n // 2}",
        split=split,
    )


def latent_rows(clips, m):
    keys = [(c, i) for c in clips if c.has(m) for i in range(len(c.texts) if m == "text" else 1)]
    rng = np.random.default_rng(len(m))
    word = [c.id.split("-")[1] for c, _ in keys]
    own = {c.id: 0.7 * np.random.default_rng(int(c.id[:3])).normal(size=10) for c in clips}
    z = np.stack([hidden(w) + own[c.id] + 0.3 * rng.normal(size=10) for w, (c, _) in zip(word, keys, strict=True)])
    return Vectors(
        [c.id for c, _ in keys],
        np.array([i for _, i in keys], np.int32),
        [m] * len(keys),
        z @ MAPS[m],
        [f"f-{m}"] * len(keys),
        [content_key(c, m, i, {}) for c, i in keys],
    )


def make_library(folder):
    library = LibraryTables.create(folder / "lib")
    clips = [clip(n) for n in range(220)]
    library.put_clips(clips)
    for m, width in WIDTHS.items():
        name = {"text": "says"}.get(m, f"enc-{m}")
        library.vectors("latents", name, width).append(latent_rows(clips, m))
        library.set_about(f"encoder:{name}", json.dumps({"fingerprint": f"f-{m}", "width": width, "modality": m}))
    return library


def train(library, folder, **method):
    run = recipe("fusemix")
    return train_run(
        library,
        replace(
            run,
            method=replace(run.method, dim=8, depth=1, expansion=2, dropout=0.1, **method),
            train=replace(run.train, device="cpu", epochs=20, evaluations=5, batch_size=64, fast_matmul=False),
        ),
        folder,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    library = make_library(folder)
    train(library, folder / "run")
    return library, folder / "run"


@pytest.fixture(scope="module")
def report(made):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "load_encoder", lambda name, *, modality=None, device="auto": Says())
        return evaluate_run(made[1], made[0], EvaluateOptions(prompts=("plain", "sound")), device="cpu")


PAIRS = [f"{a}->{b}" for a in WIDTHS for b in WIDTHS if a != b]


def test_every_pair_beside_chance_and_every_closed_form(report):
    for task in PAIRS:
        models = [r.model for r in report.results if r.task == task]
        assert models == ["fusemix", "asif", "procrustes", "ridge", "cca", "gcca"]
        ours, cca = report.get(task, "fusemix"), report.get(task, "cca")
        assert ours.counts == cca.counts
        assert ours.metrics["R@10"] > 2 * ours.chance["R@10"]
        assert ours.intervals["R@10"][0] <= ours.metrics["R@10"] <= ours.intervals["R@10"][1]
    assert {"fusemix", "fusemix, weighted", "gcca"} == {
        r.model for r in report.results if r.task == "audio+text->video"
    }


def test_only_test_clips_are_measured(report, made):
    test = {c.id for c in made[0].clips("split = 'test'")}
    for result in report.results:
        assert {key.split("|")[0] for key in result.keys.tolist()} <= test
    assert report.get("text->video").counts["gallery"] == len(test)


def test_what_is_fitted_never_sees_the_test_split(made):
    """Wild test latents leave every closed form as it was."""
    data = evaluate.load_latents(made[0])
    before = {form.name: form for form in closed_forms(data)}
    for m, rows in data.rows.items():
        test = np.flatnonzero(data.splits[data.owner(m).numpy()] == "test")
        rows.vectors[test] = 100.0
        assert len(test)
    after = {form.name: form for form in closed_forms(data)}
    for name in ("cca", "gcca", "ridge", "procrustes"):
        assert before[name].settings == after[name].settings
        for m, weight in before[name].weight.items():
            np.testing.assert_array_equal(weight, after[name].weight[m])


def test_classes_by_name_and_by_probe(report):
    zero = report.get("audio->class", "fusemix")
    assert zero.metrics["top1"] > 0.6
    assert zero.chance["top1"] == pytest.approx(1 / 6)  # five words and 'noise'
    assert zero.counts["classes"] == 6
    assert report.get("audio->class (sound prompts)", "fusemix").metrics["top1"] > 0.6
    assert report.get("video->class", "cca").metrics["top1"] > 0.6
    probe = report.get("audio probe linear", "fusemix")
    assert probe.metrics["top1"] > 0.8
    assert {"C", "validation_top1"} == probe.details["chosen"].keys()
    assert report.get("audio probe k-NN", "frozen encoder").metrics["top1"] > 0.8
    assert report.get("video probe SVM", "fusemix").metrics["top1"] > 0.8


def test_clips_with_several_labels(report):
    """Every seventh clip is also 'noise', which nothing in it shows."""
    zero, probe = report.get("audio->labels", "fusemix"), report.get("audio probe linear, labels", "fusemix")
    for found in (zero, probe):
        assert found.counts == {"queries": 30, "classes": 6, "groups": 20}
        assert found.metrics["mAP"] > found.chance["mAP"] + 0.2
        assert next(iter(found.details["hardest"])) == "noise"
    assert probe.details["chosen"]["C"] > 0


def test_matching_without_labels(report):
    found = report.get("video~text", "fusemix")
    assert found.metrics["AUC"] > 0.8
    assert "AUC within" in found.metrics
    assert 0 < report.get("video->text", "fusemix").details["gap"]["distance"] < 2
    assert report.get("text->video|audio", "fusemix").counts["gallery"] == 70


def test_corrections_are_asked_for(made, tmp_path):
    shutil.copytree(made[1], tmp_path / "run")
    options = EvaluateOptions(closed_forms=False, probes=False, corrections=True)
    found = evaluate_run(tmp_path / "run", made[0], options, device="cpu")
    assert found.models() == [
        "fusemix",
        "fusemix, weighted",
        "fusemix + gap removal",
        "fusemix + NNN",
        "fusemix + QB-Norm",
    ]
    plain, nnn = found.get("text->video", "fusemix"), found.get("text->video", "fusemix + NNN")
    assert plain.counts == nnn.counts
    assert plain.keys.tolist() == nnn.keys.tolist()
    assert set(nnn.details) == {"alpha", "k"}
    assert found.get("text->video|audio", "fusemix + gap removal").counts["gallery"] == 70


def test_the_report_says_where_it_comes_from(report, made):
    plain = json.loads((made[1] / "evaluation.json").read_text())
    assert plain["model_revision"] == report.about["model_revision"]
    assert len(plain["dataset_revision"]) == len(plain["code_revision"]) == 16
    assert plain["clips"] == {"train": 140, "val": 40, "test": 40}
    assert plain["encoders"]["text"] == [{"name": "says", "fingerprint": "f-text", "width": 16}]
    assert plain["command"].startswith("seehear evaluate")
    assert EvaluationReport.load(made[1]).plain() == report.plain()
    assert report.warnings == ()
    assert "chance" in str(report)


@pytest.mark.slow
def test_twice_the_same(report, made):
    options = EvaluateOptions(prompts=("plain", "sound"))
    again = evaluate_run(made[1], options=options, device="cpu", command=report.about["command"])
    assert again.plain() == report.plain()


def test_what_is_asked_for_is_the_same_twice(report, made, tmp_path):
    """The second time without naming the library, which the run knows, and without what takes long."""
    options = EvaluateOptions(prompts=("plain", "sound"), closed_forms=False, probes=False)
    again = evaluate_run(made[1], options=options, device="cpu", out=tmp_path)
    assert "audio->class (sound prompts)" in again.tasks()
    for result in again.results:
        assert result.plain() == report.get(result.task, result.model).plain()


@pytest.mark.slow  # reports are compared in tests/evaluation/test_protocol.py
def test_two_runs_are_compared_query_by_query(report, made, tmp_path):
    library, _ = made
    train(library, tmp_path / "worse", standardise=True, mix="none", temperature=0.5)
    worse = evaluate_run(tmp_path / "worse", library, EvaluateOptions(closed_forms=False), device="cpu")
    gain = compare_reports(worse, report, "text->video", model_b="fusemix")["MRR"]
    assert gain.groups == 20
    assert gain.low <= gain.difference <= gain.high


def bench_of(library, **options):
    data = evaluate.load_latents(library)
    return Bench(data, labels_of(library, data), EvaluateOptions(**({"probes": False} | options)), None)


def test_closed_forms_alone(made):
    found = list(baseline_results(bench_of(made[0])))
    assert {result.model for result in found} == {"asif", "procrustes", "ridge", "cca", "gcca"}
    (cca,) = (result for result in found if (result.task, result.model) == ("text->audio", "cca"))
    assert cca.details["shrinkage"] > 0


def test_towers_of_one_model_are_compared_as_they_are(made):
    data = evaluate.load_latents(made[0])
    one = {"name": "hub:clip#pool=mean", "width": 4, "fingerprint": "x", "modality": "video"}
    other = {**one, "name": "hub:clip", "modality": "text"}
    rows = dict(data.rows)
    rows["video"] = replace(rows["video"], vectors=rows["video"].vectors[:, :4], encoders=(one,))
    rows["text"] = replace(rows["text"], vectors=rows["text"].vectors[:, :4], encoders=(other,))
    del rows["audio"]
    joint = type(data)(rows, ids=data.ids, splits=data.splits, groups=data.groups)
    assert share_a_space(joint, "video", "text")
    assert not share_a_space(data, "video", "text")
    assert next(iter(closed_forms(joint))).name == "frozen"


def test_warnings(tmp_path):
    library = make_library(tmp_path)
    library.put_clips([replace(clip(219), group="g0"), *(replace(clip(n), split="train") for n in range(140, 200))])
    text = "\n".join(evaluate._warnings(bench_of(library)))
    assert "1 group is in both train and test" in text
    assert "11 groups" in text
    assert "no validation clips" in text


@pytest.mark.parametrize(
    ("closed", "probes", "warned"),
    [
        (False, False, None),
        (False, True, "there are no validation clips: there are no probes"),
        (True, False, "there are no validation clips: closed forms have default settings"),
    ],
)
def test_what_was_left_out_is_not_warned_of(tmp_path, closed, probes, warned):
    library = make_library(tmp_path)
    library.put_clips([replace(clip(n), split="train") for n in range(140, 180)])
    found = evaluate._warnings(bench_of(library, closed_forms=closed, probes=probes))
    assert [w for w in found if "validation" in w] == [warned] * (warned is not None)


def test_what_cannot_be_evaluated_is_told(made, tmp_path):
    library, run = made
    with pytest.raises(SeehearError, match="did you mean 'test'"):
        EvaluateOptions(split="tset")
    with pytest.raises(SeehearError, match="unknown prompt set 'sounds'"):
        EvaluateOptions(prompts=("sounds",))
    other = make_library(tmp_path)
    other.set_about("encoder:says", json.dumps({"fingerprint": "new", "width": 16, "modality": "text"}))
    table = other.vectors("latents", "says")
    rows = table.read()
    table.remove("true")
    table.append(replace(rows, makers=["new"] * len(rows)))
    with pytest.raises(
        SeehearError, match=r"not of the encoder this run was trained on \(fingerprint new, then f-text"
    ):
        evaluate_run(run, other, device="cpu")
    with pytest.raises(SeehearError, match="no trained model"):
        evaluate_run(tmp_path, library)
    only = make_library(tmp_path / "b")
    only.put_clips([replace(clip(n), split="train") for n in range(180, 220)])
    with pytest.raises(SeehearError, match="no clip of the split 'test'"):
        evaluate_run(run, only, device="cpu")


def test_a_joint_encoder_is_the_first_baseline(made, tmp_path):
    """What the library's joint encoder gives as it is stands before the closed forms, though the run knows nothing of
    it."""
    library = make_library(tmp_path)
    for m in ("video", "text"):
        name = next(n for n, about in library.encoders().items() if about["modality"] == m)
        rows = library.vectors("latents", name).read()
        library.vectors("latents", f"joint#modality={m}", 4).append(replace(rows, vectors=rows.vectors[:, :4]))
        about = {"modality": m, "width": 4, "fingerprint": library.encoders()[name]["fingerprint"]}
        library.set_about(f"encoder:joint#modality={m}", json.dumps(about))
    options = EvaluateOptions(probes=False, prompts=())
    found = evaluate_run(made[1], library, options, device="cpu", out=tmp_path)
    models = list(dict.fromkeys(r.model for r in found.results))
    assert models.index("frozen joint") == models.index("procrustes") - 2  # before asif, the first closed form
    assert {r.task for r in found.results if r.model == "frozen joint"} >= {"video->text", "text->video"}
