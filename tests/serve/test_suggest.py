"""Words that the search box suggests."""

import threading

import numpy as np
import pytest

from seehear.library.tables import Clip, LibraryTables, Text
from seehear.search.calibrate import PICTURES, Scale, heights
from seehear.serve.suggest import Lookup, library_words, seen_words

pytest.importorskip("fastapi")
from tests.serve import world


def says(n, *lines, kind="speech", labels=()):
    texts = tuple(Text(line, float(i), i + 1.0, kind) for i, line in enumerate(lines))
    return Clip(id=f"a.mp4#{n}", source="a.mp4", has_audio=True, texts=texts, labels=labels)


@pytest.fixture
def library(tmp_path):
    library = LibraryTables.create(tmp_path / "lib")
    library.put_clips(
        [
            says(1, "The birthday cake is on the table", "And there is the birthday cake again"),
            says(2, "Birthday cake for everybody, and it's Grandma's", labels=("Party <b>",)),
            says(3, "We cut the birthday cake. Table!", labels=("Party <b>", "Zürich")),
            says(4, "EXIT 12", "fire exit", kind="screen"),
            says(5, "EXIT", kind="screen"),
        ]
    )
    return library


def test_words_are_counted_by_clips_with_phrases_and_labels(library):
    words = library_words(library)
    assert words["birthday"] == {"spoken": 3}
    assert words["birthday cake"] == {"spoken": 3}
    assert words["table"] == {"spoken": 2}
    assert words["exit"] == {"screen": 2}
    assert words["Grandma"] == {"spoken": 1}, "as it is spelled, without its ending"
    assert (words["Party <b>"], words["Zürich"]) == ({"label": 2}, {"label": 1})
    assert "fire" in words, "a stop word elsewhere"
    assert not {"the", "The", "and", "it", "12"} & words.keys()


def test_words_of_every_second_line_say_nothing(tmp_path):
    library = LibraryTables.create(tmp_path / "lib")
    names = [chr(97 + n // 26) * 3 + chr(97 + n % 26) for n in range(200)]
    library.put_clips([says(n, f"nicht {name}" if n % 2 else name) for n, name in enumerate(names)])
    assert library_words(library).keys() == set(names)


def texts(suggestions):
    return [suggestion.text for suggestion in suggestions]


def test_the_beginning_of_any_word_counts_without_accents_and_capitals():
    words = {"Zürich": {"label": 1}, "zoo": {"spoken": 5}, "new zoo": {"seen": 9}, "Élan": {"screen": 1}}
    lookup = Lookup(words)
    assert texts(lookup.suggest("z", 9)) == ["zoo", "Zürich", "new zoo"]
    assert texts(lookup.suggest("ZURI", 9)) == ["Zürich"]
    assert texts(lookup.suggest("élA", 9)) == ["Élan"]
    assert texts(lookup.suggest("new z", 9)) == ["new zoo"]
    assert texts(lookup.suggest("a big zo", 9)) == ["a big zoo", "a big new zoo"]
    assert lookup.suggest("xylophone", 9) == []
    assert lookup.suggest("*", 9) == []


def test_kinds_of_one_word_are_one_suggestion():
    found = Lookup({"Dog": {"label": 2}, "dog": {"seen": 4, "spoken": 1}}).suggest("do", 9)
    assert [(s.text, s.found) for s in found] == [("Dog", {"label": 2, "seen": 4, "spoken": 1})]


def test_an_empty_text_brings_the_most_frequent_of_each_kind_in_turn():
    words = {f"word {n}": {"spoken": 10 - n} for n in range(10)}
    words |= {"beach": {"seen": 3}, "mine": {"label": 1}, "SALE": {"screen": 1}}
    assert texts(Lookup(words).suggest(" ", 4)) == ["mine", "beach", "word 0", "word 1"]
    assert "SALE" not in texts(Lookup(words).suggest("", 50)), "written once"


class SeenIndex:
    """An index in which the first noun is in two clips and the second in none."""

    frozen = True

    def __init__(self):
        self.space = self
        self.modalities = ("video", "text")
        self.calibration = type("Calibration", (), {"scales": {"seen": 1}})()

    def encode_query(self, nouns):
        return nouns

    def clips_found(self, nouns, kind, least):
        assert (kind, least) == ("seen", 0.7)
        return [2 * (noun == "lighthouse") for noun in nouns]


def test_things_are_suggested_that_are_seen_with_confidence():
    assert seen_words([SeenIndex()], threading.Event()) == {"lighthouse": {"seen": 2}}


def test_heights_of_several_words_are_those_of_each():
    rng = np.random.default_rng(0)
    rows, words, mean = (rng.normal(size=shape).astype(np.float32) for shape in ((7, 5), (3, 5), (5,)))
    scale = Scale(0.5, 0.1, 0.2)
    each = np.stack([heights(rows, word, mean, scale) for word in words], axis=1)
    np.testing.assert_allclose(heights(rows, words, mean, scale), each, rtol=1e-4, atol=1e-4)
    assert PICTURES.middle > 0


@pytest.fixture
def client(library, tmp_path):
    with world.client_of(library.uri, tmp_path / "cache") as client:
        yield client


def asked(client, **params):
    answer = client.get("/api/suggest", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["suggestions"]


def test_the_server_counts_again_only_when_the_library_has_changed(client, library, monkeypatch):
    monkeypatch.setattr("seehear.serve.runs.FRESH", -1.0)
    monkeypatch.setattr("seehear.serve.suggest.PAUSE", 0.0)
    assert asked(client, q="part") == [{"text": "Party <b>", "found": {"label": 2}}]
    with monkeypatch.context() as patched:
        patched.setattr("seehear.serve.suggest.library_words", lambda _: pytest.fail("counted again"))
        assert asked(client, q="birth", limit=1)[0]["text"] == "birthday"
    library.put_clips([says(6, "a parting glass")])
    asked(client)
    client.app.state.seehear.background.submit(int).result()  # what was begun before has ended
    assert [found["text"] for found in asked(client, q="part")] == ["Party <b>", "parting"]
