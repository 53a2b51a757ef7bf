"""The first lines of an evaluation: what the run finds, in a sentence a direction."""

from dataclasses import replace

from seehear.evaluation.report import Report, TaskResult


def result(task, model="fusemix", *, hits=0.88, chance=0.11, low=0.8, queries=50):
    first = {"R@1": hits / 2, "R@10": hits}
    expected = {"R@1": chance / 10, "R@10": chance}
    intervals = {"R@1": (low / 2, 1.0), "R@10": (low, 1.0)}
    counts = {"queries": queries, "gallery": 90, "groups": 9}
    kind = {"task": task, "kind": "retrieval", "model": model}
    return TaskResult(**kind, metrics=first, chance=expected, intervals=intervals, counts=counts)


def verdict(*results):
    return Report(split="test", results=results).verdict()


def test_words_come_first():
    found = verdict(result("audio->video"), result("text->audio", hits=0.5), result("text->video"))
    assert found == [
        "Words find the right clip by what is seen in the first ten for 88 % of 50 queries (chance 11 %).",
        "Words find the right clip by what is heard in the first ten for 50 % of 50 queries (chance 11 %).",
    ]


def test_without_words_sounds_and_pictures():
    found = verdict(result("video->audio", queries=1), result("audio->video"), result("text->video", "ridge"))
    assert found == [
        "Sounds find the right pictures in the first ten for 88 % of 50 queries (chance 11 %).",
        "Pictures find the right sound in the first ten for 88 % of 1 query (chance 11 %).",
    ]


def test_what_may_be_chance_says_so_and_few_clips_count_by_the_first():
    (found,) = verdict(result("text->video", low=0.1))
    assert found.endswith("for 88 % of 50 queries (chance 11 %, which may be all it is).")
    for unknown in ({}, {"R@10": (float("nan"), float("nan"))}):
        (found,) = verdict(replace(result("text->video"), intervals=unknown))
        assert found.endswith("(chance 11 %, which may be all it is).")
    (found,) = verdict(result("text->video", hits=1.0, chance=1.0, low=1.0))
    assert found == "Words find the right clip by what is seen first for 50 % of 50 queries (chance 10 %)."


def test_the_verdict_is_the_first_line():
    lines = str(Report(split="test", results=(result("text->video"),))).splitlines()
    assert lines[0].startswith("Words find the right clip")
    assert lines[1] == "split: test"
