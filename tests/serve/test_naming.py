"""Names of the map's groups: what tells a group from the rest, and never words that every text has."""

import numpy as np
import pytest

from seehear.library.records import Text
from seehear.library.tables import Clip
from seehear.nn.unit import unit
from seehear.search.background import Calibration
from seehear.serve.maps import draw, group_names, project, stopwords, things, things_in


def clip(n, *texts, labels=(), kind="speech", **more):
    has = {"has_video": True, "has_audio": True} | more
    return Clip(id=f"c{n}", texts=tuple(Text(t, 0.0, 1.0, kind=kind) for t in texts), labels=tuple(labels), **has)


def groups(*sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


SEA = ["the old boat left the harbour", "and the harbour was quiet, you know", "they went to the boat"]
KITCHEN = ["the old stove is in the kitchen", "and the flour is there, you know", "put the flour on the stove"]


def test_groups_are_named_by_words_that_tell_them_apart():
    clips = [clip(n, SEA[n % 3]) for n in range(12)] + [clip(20 + n, KITCHEN[n % 3]) for n in range(12)]
    names = group_names(clips, groups(12, 12))
    assert names == {0: "“boat, harbour”", 1: "“flour, stove”"}


@pytest.mark.parametrize(
    "sentences",
    [
        ["und das ist nicht die alte", "aber wir haben sie auch"],
        ["et puis nous avons aussi", "mais elle était là avec vous"],
        ["y entonces también estamos", "pero ella tiene muchas cosas"],
        ["ma anche questa cosa", "perché siamo sempre stati"],
        ["então você também", "mas ela está aqui"],
        ["maar dat is niet zo", "want wij hebben het ook"],
    ],
)
def test_words_that_are_no_names_of_other_languages(sentences):
    clips = [clip(n, sentences[n % 2]) for n in range(10)] + [clip(20 + n, "zebra") for n in range(10)]
    named = set(group_names(clips, groups(10, 10))[0].strip("“”").split(", "))
    assert not named & set(" ".join(sentences).split()) - {"alte", "stati"}


def test_a_word_that_most_clips_have_is_no_name_in_any_language():
    clips = [clip(n, "mbali sana") for n in range(6)] + [clip(20 + n, "mbali karibu") for n in range(6)]
    assert "mbali" not in " ".join(group_names(clips, groups(6, 6)).values())


def test_a_label_that_most_have_is_the_name():
    clips = [clip(n, "zebra", labels=["birthday"]) for n in range(5)] + [clip(9 + n, labels=["trip"]) for n in range(5)]
    assert group_names(clips, groups(5, 5)) == {0: "birthday", 1: "trip"}


def test_groups_of_which_nothing_can_be_said_are_named_by_what_they_are_and_differ():
    clips = [clip(n) for n in range(4)] + [clip(n, has_video=False) for n in range(4, 6)]
    names = group_names(clips, np.array([0, 0, 1, 1, 2, 2]))
    assert names == {0: "films with sound (1)", 1: "films with sound (2)", 2: "sounds"}
    assert group_names([], np.zeros(0, int)) == {}
    assert group_names(clips[:2], np.array([0, 1]), {0: ["a cow", "an engine"], 1: ["rain"]}) == {
        0: "cow, engine",
        1: "rain",
    }


def test_what_is_seen_in_a_group_and_not_elsewhere_names_it():
    rng = np.random.default_rng(0)
    words_WE = unit(rng.normal(size=(len(things()), 64)))
    beach, desk = things().index("beach"), things().index("desk")
    about = {"mean": [0.0] * 64, "scales": {"seen": [0.0, 0.3, 0.1]}}
    rows = [unit(words_WE[w] + 0.15 * rng.normal(size=64)) for w in (beach,) * 20 + (desk,) * 20]
    calibration = Calibration({"background": about})
    found = things_in(np.stack(rows), groups(20, 20), things(), lambda _: words_WE, calibration, "seen")
    assert (found[0][0], found[1][0]) == ("beach", "desk")
    noise_NE = unit(rng.normal(size=(40, 64)))
    assert things_in(noise_NE, groups(20, 20), things(), lambda _: words_WE, calibration, "seen") == {0: [], 1: []}


def test_every_word_of_the_lists_is_usable():
    assert len(set(things())) == len(things()) > 300
    assert all(word == word.strip().lower() for word in [*things(), *stopwords()])
    assert set(things()) & stopwords() == {"people", "hat", "saw"}, "in speech they are no names"


@pytest.mark.parametrize("how", ["pca", "tsne"])
def test_a_map_says_why_there_is_little_to_see(how):
    alike_NE = np.ones((12, 4), np.float32) / 2
    xy, clusters = project(alike_NE, how)
    clips = [clip(n) for n in range(12)]
    drawn = draw([c.id for c in clips], clips, xy, clusters)
    assert drawn["note"].startswith("All clips are alike")
    assert draw(["c0"], clips[:1], xy[:1], clusters[:1])["note"].startswith("There is one clip")
    assert draw([], [], np.zeros((0, 2)), np.zeros(0))["note"].startswith("No clip is indexed yet")
    assert draw(["gone"], [None], xy[:1], clusters[:1])["ids"] == []
