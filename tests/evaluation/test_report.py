"""The first lines of an evaluation: what the run finds, beside what needs no training, and how sure that is."""

from dataclasses import replace

import numpy as np
import pytest

from seehear.evaluation.report import EvaluationReport
from seehear.evaluation.results import TaskResult


def result(task, model="fusemix", *, hits=0.88, chance=0.11, low=0.8, high=0.95, queries=50, groups=40):
    """`hits` of the queries find their answer in the first ten, half as many find it first."""
    first = {"R@1": hits / 2, "R@10": hits}
    expected = {"R@1": chance / 10, "R@10": chance}
    intervals = {"R@1": (low / 2, high / 2), "R@10": (low, high)}
    counts = {"queries": queries, "gallery": 90, "groups": groups}
    kind = {"task": task, "kind": "retrieval", "model": model}
    ranked = (np.arange(queries) < round(hits * queries)).astype(float)
    keys = np.array([f"q{n}" for n in range(queries)])
    return TaskResult(
        **kind, metrics=first, chance=expected, intervals=intervals, counts=counts, per_query={"R@10": ranked},
        keys=keys, groups=keys,
    )  # fmt: skip


def verdict(*results, **about):
    return EvaluationReport(split="test", results=results, about=about).verdict()


def test_words_come_first():
    found = verdict(result("audio->video"), result("text->audio", hits=0.5), result("text->video"))
    assert found == [
        "Words find the right clip in the first ten for 88 % of 50 queries by what is seen (chance 11 %), "
        "and for 50 % of 50 queries by what is heard (chance 11 %)."
    ]


def test_without_words_sounds_and_pictures():
    found = verdict(result("video->audio", queries=1), result("audio->video"), result("text->video", "ridge"))
    assert found == [
        "Sounds find the right pictures in the first ten for 88 % of 50 queries (chance 11 %); "
        "pictures find the right sounds in the first ten for 88 % of 1 query (chance 11 %)."
    ]


def test_what_may_be_chance_says_so_and_few_clips_count_by_the_first():
    (found,) = verdict(result("text->video", low=0.1, high=0.3))
    assert "for 88 % of 50 queries by what is seen (chance 11 %, which may be all it is)" in found
    for unknown in ({}, {"R@10": (float("nan"), float("nan"))}):
        assert "which may be all it is" in verdict(replace(result("text->video"), intervals=unknown))[0]
    (found,) = verdict(result("text->video", hits=1.0, chance=1.0, low=1.0, high=1.0))
    assert found == "Words find the right clip first for 50 % of 50 queries by what is seen (chance 10 %)."


@pytest.mark.parametrize(
    ("hits", "says"),
    [
        (0.5, "It beats the closed form cca (50 %)."),
        (0.86, "It is ahead of the closed form cca (86 %), which may be chance."),
        (0.88, "It is no better than the closed form cca (88 %)."),
        (1.0, "It loses to the closed form cca (100 %)."),
    ],
)
def test_the_second_sentence_is_of_the_baselines(hits, says):
    assert verdict(result("text->video"), result("text->video", "cca", hits=hits))[1] == says


def test_what_it_loses_to_comes_first_in_every_direction():
    found = verdict(
        *(result(task) for task in ("text->video", "text->audio")),
        *(result(task, "fusemix, weighted", hits=1.0) for task in ("text->video", "text->audio")),
        result("text->video", "cca", hits=0.7),
        result("text->video", "frozen siglip", hits=0.4),
        result("text->video", "asif", hits=0.2),
        result("text->audio", "ridge", hits=1.0),
        result("text->audio", "gcca", hits=0.9),
        result("text->audio", "asif", hits=0.1),
    )
    assert found[1] == (
        "By what is heard it loses to the closed form ridge (100 %) and beats the untrained encoders (10 %); "
        "by what is seen it beats the closed form cca (70 %) and the untrained space siglip (40 %)."
    )


def test_a_run_that_holds_what_training_did_not_beat_says_so_before_all_else():
    found = verdict(result("text->video"), result("text->video", "ridge", hits=0.2), kept="the closed form")
    assert found[1] == "The model is the closed form: training did not beat it on the validation clips."
    (found,) = verdict(result("text->video", "frozen"), result("text->video", "frozen siglip"))
    assert "untrained" not in found


@pytest.mark.parametrize(
    ("groups", "low", "high", "says"),
    [
        (9, 0.85, 0.9, "The queries are of only 9 recordings: the 88 % may be 85 to 90 %."),
        (40, 0.6, 0.95, "The queries are of 40 recordings: the 88 % may be 60 to 95 %."),
        (1, float("nan"), float("nan"), "All queries are of one recording: the uncertainty is unknown."),
    ],
)
def test_how_sure_it_is_is_said_where_the_test_set_is_small(groups, low, high, says):
    assert verdict(result("text->video", low=low, high=high, groups=groups))[-1] == says


def test_texts_of_a_machine_are_marked():
    found = verdict(result("text->video"), machine_texts="50 of 50 texts transcribed by Whisper tiny.en")
    assert found[-1].startswith("A machine made the words that are asked with (50 of 50 texts transcribed by Whisper")


def test_the_summary_is_the_verdict_and_the_tables_come_when_they_are_asked_for():
    report = EvaluationReport(split="test", results=(result("text->video"),), warnings=("beware",))
    (first,) = report.verdict()
    assert report.summary().splitlines() == [first, "warning: beware"]
    lines = str(report).splitlines()
    assert lines[:2] == [first, "split: test"]
    assert any(line.startswith("text->video") for line in lines)


def test_without_a_sentence_the_summary_is_the_tables():
    report = EvaluationReport(split="test", results=(result("video->text"),))
    assert report.verdict() == []
    assert "video->text" in report.summary()
