import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from seehear.cli import main
from seehear.errors import SeehearError
from seehear.evaluation import tasks
from seehear.evaluation.bootstrap import group_warnings
from seehear.evaluation.embedded import Classes, Embedded, embed_latents, fuse
from seehear.evaluation.report import EvaluationReport, compare_reports, compare_runs, provenance
from seehear.inputs.latents import LatentData
from seehear.nn.unit import unit


def world(n=120, noise=0.6, seed=0, width=16):
    """Three noisy views of one factor; odd clips lack audio, every fifth clip has two texts."""
    rng = np.random.default_rng(seed)
    z = np.random.default_rng(42).normal(size=(n, width))
    owner = {
        "video": np.arange(n),
        "audio": np.arange(0, n, 2),
        "text": np.sort(np.concatenate([np.arange(n), np.arange(0, n, 5)])),
    }
    return {m: Embedded(unit(z[o] + noise * rng.normal(size=(len(o), width))), o) for m, o in owner.items()}


def evaluate_embeddings(embeddings, ids, groups, *, labels=None, classes=(), model="model"):
    clips = tasks.ScoredClips(np.asarray(ids, dtype=str), np.asarray(groups).astype(str), labels, model, 0)
    results = tuple(tasks.all_results(embeddings, clips, classes))
    return EvaluationReport(split="test", results=results, warnings=group_warnings(clips.groups.tolist(), "test"))


@cache
def report(noise=0.6, seed=0, n=120, model="model"):
    ids, groups = [f"clip{i:03d}" for i in range(n)], np.arange(n) // 3
    return evaluate_embeddings(world(n, noise, seed), ids, groups, model=model)


def test_every_ordered_pair_and_every_fused_query():
    pairs = {f"{a}->{b}" for a in ("video", "audio", "text") for b in ("video", "audio", "text") if a != b}
    fused = {"video+audio->text", "video+text->audio", "audio+text->video"}
    mixed = {"video->audio|text", "audio->video|text", "text->video|audio"}
    assert set(report().tasks()) == pairs | fused | mixed | {"video~audio", "video~text", "audio~text"}
    two = {m: part for m, part in world().items() if m != "text"}
    found = evaluate_embeddings(two, [str(i) for i in range(120)], range(120))
    assert set(found.tasks()) == {"video->audio", "audio->video", "video~audio"}


def test_counts_and_chance_of_a_partly_missing_modality():
    found = report().get("text->audio")
    assert found.counts == {"queries": 72, "gallery": 60, "groups": 40, "skipped": 72}
    assert found.chance["R@1"] == pytest.approx(1 / 60)
    several = report().get("video->text")
    assert several.counts["gallery"] == 144
    assert several.chance["R@1"] == pytest.approx((96 * 1 + 24 * 2) / 120 / 144)


def test_two_views_together_find_more_than_one():
    found = report(noise=1.2)
    alone = max(found.get(f"{m}->video").metrics["MRR"] for m in ("audio", "text"))
    assert found.get("audio+text->video").metrics["MRR"] > alone


def test_fused_queries_are_the_mean_of_unit_vectors_of_clips_that_have_all():
    a = Embedded(unit(np.eye(3)), np.array([0, 1, 2]))
    b = Embedded(unit(np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])), np.array([1, 1, 2]))
    both = fuse([a, b])
    assert both.owner.tolist() == [1, 2]
    r = 0.5**0.5
    np.testing.assert_allclose(both.vectors[0], unit(np.array([[0, 1 + r, r]]))[0], atol=1e-6)
    np.testing.assert_allclose(fuse([a, b], weights=[0.0, 1.0]).vectors[1], [1, 0, 0], atol=1e-6)


def test_a_mixed_gallery_holds_every_other_modality():
    found = report().get("text->video|audio")
    assert found.counts["gallery"] == 120 + 60
    assert found.counts["queries"] == 144
    assert found.chance["R@1"] == pytest.approx((72 * 1 + 72 * 2) / 144 / 180)


def test_a_gap_shows_in_the_details_and_in_the_mixed_gallery():
    far = world()
    away = np.eye(16)[0] * 3
    far["audio"] = Embedded(unit(far["audio"].vectors + away), far["audio"].owner)
    ids, groups = [f"clip{i:03d}" for i in range(120)], np.arange(120) // 3
    found, plain = evaluate_embeddings(far, ids, groups), report()
    assert (
        found.get("video->audio").details["gap"]["distance"]
        > 0.8
        > plain.get("video->audio").details["gap"]["distance"]
    )
    assert 0 <= found.get("video->audio").details["hubness"]["orphans"] <= 1
    worse, better = (r.get("text->video|audio").metrics["mAP"] for r in (found, plain))
    assert worse < better


def test_correspondence_in_the_report():
    found = report().get("video~audio")
    assert found.metrics["AUC"] > 0.95
    assert found.metrics["AUC within"] > 0.9
    assert found.intervals["AUC"][0] < found.metrics["AUC"] <= found.intervals["AUC"][1]
    assert found.main_score == found.metrics["AUC"]


def test_clips_with_several_labels_are_measured_on_all_of_them(tmp_path):
    rng = np.random.default_rng(0)
    names = ("cat", "dog", "rain", "bell")
    truth = rng.random((90, 4)) < 0.4
    truth[:, 0] |= ~truth.any(axis=1)
    audio = Embedded(unit(truth + 0.3 * rng.normal(size=(90, 4))), np.arange(90))
    labels = [tuple(n for n, there in zip(names, own, strict=True) if there) for own in truth]
    classes = Classes(names, np.eye(4, dtype=np.float32), "sound")
    found = evaluate_embeddings(
        {"audio": audio}, [str(i) for i in range(90)], np.arange(90) // 2, labels=labels, classes=[classes]
    )
    many = found.get("audio->labels (sound prompts)")
    assert many.kind == "multilabel"
    assert many.metrics["mAP"] > 0.9 > many.chance["mAP"]
    assert many.intervals["AUC"][0] <= many.metrics["AUC"] <= many.intervals["AUC"][1]
    assert many.intervals["d'"][0] <= many.metrics["d'"] <= many.intervals["d'"][1]
    assert many.counts == {"queries": 90, "classes": 4, "groups": 45}
    assert found.get("audio->class (sound prompts)").counts["queries"] == sum(len(own) == 1 for own in labels)
    found.save(tmp_path)
    assert EvaluationReport.load(tmp_path).plain() == found.plain()
    assert "mAP" in str(found)


def test_zero_shot_takes_clips_with_one_known_label():
    classes = Classes(("cat", "dog"), np.eye(2, dtype=np.float32))
    audio = Embedded(np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32), np.arange(4))
    labels = [("cat",), ("dog",), ("dog", "cat"), ("emu",)]
    found = evaluate_embeddings({"audio": audio}, list("abcd"), range(4), labels=labels, classes=[classes])
    task = found.get("audio->class")
    assert task.metrics["top1"] == 1.0
    assert task.counts["queries"] == 2
    assert task.keys.tolist() == ["a", "b"]


def test_few_groups_are_warned_of():
    assert report().warnings == ()
    few = report(n=30)
    assert "10 groups" in few.warnings[0]
    assert "warning: the test split has 10 groups" in str(few)


def test_saved_and_loaded(tmp_path):
    found = report()
    path = found.save(tmp_path)
    plain = json.loads(path.read_text())
    assert {"task_name", "task_type", "main_score", "metrics"} <= plain["results"][0].keys()
    again = EvaluationReport.load(tmp_path)
    assert again.plain() == found.plain()
    np.testing.assert_array_equal(
        again.get("text->video").per_query["rank"], found.get("text->video").per_query["rank"]
    )


def test_one_group_makes_json_without_nan(tmp_path):
    video = Embedded(unit(np.eye(4)), np.arange(4))
    found = evaluate_embeddings({"video": video, "text": video}, list("abcd"), ["one"] * 4)
    plain = json.loads(found.save(tmp_path).read_text(), parse_constant=pytest.fail)
    assert plain["results"][0]["intervals"]["R@1"] == [None, None]
    assert np.isnan(EvaluationReport.load(tmp_path).results[0].intervals["R@1"][0])
    assert "[" not in str(found).split("\nchance")[0]


def test_two_runs_are_compared_on_the_queries_they_share(tmp_path):
    better, worse = report(), report(noise=1.0, seed=1, model="fusemix")
    worse.save(tmp_path)
    gain = compare_reports(EvaluationReport.load(tmp_path), better, "text->video")
    assert gain["MRR"].low > 0
    assert gain["MRR"].p < 0.01
    same = compare_reports(better, better, "text->video")["MRR"]
    assert (same.difference, same.p) == (0.0, 1.0)
    video = Embedded(unit(np.eye(4)), np.arange(4))
    other = evaluate_embeddings({"video": video, "text": video}, list("wxyz"), range(4))
    with pytest.raises(SeehearError, match="share no query"):
        compare_reports(better, other, "text->video")


def joined(one, other):
    return replace(one, results=one.results + other.results)


def test_two_saved_runs_are_compared_on_all_they_share(tmp_path, capsys):
    some = ("text->video", "audio+text->video", "video~audio")
    cca = report(noise=1.0, model="cca")
    for name, noise, model in (("a", 1.0, "fusemix"), ("b", 0.6, "mcn")):
        (tmp_path / name).mkdir()
        both = joined(report(noise=noise, seed=1, model=model), cca)
        replace(both, results=tuple(r for r in both.results if r.task in some)).save(tmp_path / name)
    found = compare_runs(tmp_path / "a", tmp_path / "b")
    assert set(found) == set(some)
    assert found["text->video"]["R@1"].low > 0
    assert found["video~audio"]["AUC"].difference > 0
    same = compare_runs(tmp_path / "a", tmp_path / "b", model_a="cca", model_b="cca")
    assert same["text->video"]["nDCG@10"].difference == 0
    with pytest.raises(SeehearError, match="did you mean 'cca'"):
        compare_runs(tmp_path / "a", tmp_path / "b", model_a="ccaa")
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    printed = capsys.readouterr().out
    tasks = len(found)
    assert printed.startswith(f"{tmp_path / 'b'} minus {tmp_path / 'a'}, the same queries: ahead in ")
    assert f" of {tasks} tasks, behind in 0; " in printed
    assert "text->video" in printed
    assert "groups" in printed
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text->video"]["R@1"]["p"] < 0.05


def test_several_models_stand_in_one_table():
    both = joined(report(noise=1.0, seed=1, model="fusemix"), report(noise=1.0, model="cca"))
    assert both.models() == ["fusemix", "cca"]
    text = str(both)
    assert text.index("\nfusemix") < text.index("\ncca") < text.index("\nchance")
    with pytest.raises(KeyError, match="text->smell"):
        both.get("text->smell")


def test_a_folder_without_report_is_told(tmp_path):
    with pytest.raises(SeehearError, match="run 'seehear evaluate"):
        EvaluationReport.load(tmp_path)


class Halves:
    """Doubles as a method: unit vectors of the first half of each latent; knows no audio."""

    def embed(self, batch, space=None):
        assert not torch.is_grad_enabled()
        return {m: torch.nn.functional.normalize(batch[m][:, :2], dim=1) for m in ("video", "text") if m in batch}


def test_latents_through_a_model():
    x = torch.tensor([[3.0, 4, 1, 1], [0, 2, 5, 5], [1, 0, 0, 0]]).half()
    data = LatentData.from_arrays(
        {"video": x, "audio": x, "text": x}, owner={"text": torch.tensor([0, 0, 2])}, splits=["test"] * 3
    )
    found = embed_latents(Halves(), data)
    assert set(found) == {"video", "text"}
    np.testing.assert_allclose(found["video"].vectors, [[0.6, 0.8], [0, 1], [1, 0]], atol=1e-6)
    assert found["text"].owner.tolist() == [0, 0, 2]


def test_provenance_names_versions_and_command():
    about = provenance("seehear evaluate runs/x")
    assert about["command"] == "seehear evaluate runs/x"
    assert {"python", "torch", "numpy"} <= about["versions"].keys()


def test_weights_of_a_fused_query_come_from_validation():
    """Sound is noise here: the mean suffers, and validation gives words the say."""
    rng = np.random.default_rng(0)

    def split(n: int) -> dict[str, Embedded]:
        picture = rng.normal(size=(n, 16))
        text, sound = picture + 1.2 * rng.normal(size=(n, 16)), rng.normal(size=(n, 16))
        parts = {"video": picture, "audio": sound, "text": text}
        return {m: Embedded(unit(x), np.arange(n)) for m, x in parts.items()}

    val, test = split(80), split(120)
    clips = tasks.ScoredClips(
        np.array([str(i) for i in range(120)]), np.arange(120).astype(str), None, "m, weighted", 0
    )
    found = {r.task: r for r in tasks.weighted(test, val, clips)}
    assert set(found) == {"video+audio->text", "video+text->audio", "audio+text->video"}
    weighted = found["audio+text->video"]
    assert weighted.details["weights"]["audio"] <= 0.2
    (mean,) = (r for r in tasks.fused(test, clips) if r.task == "audio+text->video")
    assert weighted.metrics["R@10"] > mean.metrics["R@10"]
    assert not list(tasks.weighted(test, {"video": val["video"]}, clips))
