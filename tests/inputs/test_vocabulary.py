"""Words as numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seehear.encoders.learning import text_of
from seehear.errors import SeehearError
from seehear.inputs.raw.text import PADDING, UNKNOWN, Vocabulary, VocabularyConfig, bytes_of_texts, learn_vocabulary
from tests.inputs.raw_library import words_of

TEXTS = ["A dog barks, a DOG runs!", "the cat's dog", "a cat"]


def test_the_most_frequent_words_come_first_and_ties_by_letter():
    made = learn_vocabulary(TEXTS)
    assert made.words == ("a", "dog", "barks", "cat", "cat's", "runs", "the")
    assert len(made) == 9
    assert learn_vocabulary(TEXTS, VocabularyConfig(words=2)).words == ("a", "dog")
    assert learn_vocabulary(TEXTS, VocabularyConfig(min_count=3)).words == ("a", "dog")
    assert learn_vocabulary(TEXTS, VocabularyConfig(lower=False)).words[:4] == ("a", "dog", "A", "DOG")
    assert learn_vocabulary(reversed(TEXTS)).fingerprint == made.fingerprint


def test_a_text_is_cut_and_padded():
    made = learn_vocabulary(TEXTS)
    assert made.encode("The zebra's dog -- barks", 6).tolist() == [8, UNKNOWN, 3, 4, PADDING, PADDING]
    assert made.encode("a a a a", 2).tolist() == [2, 2]
    assert made.encode(" ... '' ", 2).tolist() == [PADDING, PADDING]
    assert made.encode("a", 1).dtype == np.int64
    assert made.encode("a dog", 3).tolist() == [2, 3, 0]
    assert made.encode("", 3).tolist() == [0, 0, 0]
    assert words_of(made, [8, 1, 3, 0, 0]) == "the <unknown> dog"


def test_words_of_any_script():
    split = Vocabulary((), lower=True).split
    assert split("It\u2019s 5 o'clock, 'now'") == ["it's", "5", "o'clock", "now"]
    assert split("snake_case e-mail a/b 3.5\u20ac") == ["snake", "case", "e", "mail", "a", "b", "3", "5"]
    assert split("\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e") == [
        "\u0928\u092e\u0938\u094d\u0924\u0947",
        "\u0926\u0941\u0928\u093f\u092f\u093e",
    ]
    assert split("cafe\u0301") == split("caf\u00e9") == ["caf\u00e9"]
    assert split("in\u00advisible \u65e5\u672c\u8a9e\u3002\u306f") == ["invisible", "\u65e5\u672c\u8a9e", "\u306f"]


@given(st.lists(st.text(), max_size=6), st.integers(1, 12))
def test_any_text_goes_round(texts, length):
    """Fuzz: no text breaks it, known words come back, and what was split stays split."""
    try:
        made = learn_vocabulary(texts)
    except SeehearError:
        assert not any(Vocabulary((), lower=True).split(text) for text in texts)
        return
    for text in texts:
        words, row = made.split(text), made.encode(text, length)
        assert row.shape == (length,)
        assert words_of(made, row) == " ".join(words[:length])
        assert (row > UNKNOWN).sum() == min(len(words), length)
    assert all(" " not in word for word in made.words)


def test_it_is_kept_as_json(tmp_path):
    made, path = learn_vocabulary([*TEXTS, "\u00fcber \ud83d\ude00 '\u65e5'"]), tmp_path / "vocabulary.json"
    made.save(path)
    again = Vocabulary.load(path, expected=made.fingerprint)
    assert again.words == made.words
    assert again.fingerprint == made.fingerprint
    made.save(tmp_path / "twice.json")
    assert path.read_bytes() == (tmp_path / "twice.json").read_bytes()


def test_another_vocabulary_than_the_models_is_one_clear_line(tmp_path):
    path = tmp_path / "vocabulary.json"
    learn_vocabulary(TEXTS).save(path)
    other = learn_vocabulary(["another text"])
    with pytest.raises(SeehearError, match=r"is another vocabulary .of 9 words.*was trained with.*saved beside the"):
        Vocabulary.load(path, expected=other.fingerprint)
    with pytest.raises(SeehearError, match="there is no such vocabulary"):
        Vocabulary.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "is no vocabulary of seehear"),
        ("[]", "is no vocabulary of seehear"),
        ('{"words": ["a", "a"], "lower": true, "format": 1, "fingerprint": ""}', "a word comes twice"),
        ('{"words": "ab", "lower": true, "format": 1, "fingerprint": ""}', "must be a list of text"),
        ('{"words": ["a"], "lower": true, "format": 9, "fingerprint": ""}', "format 9, this seehear reads 1"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, match):
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(SeehearError, match=match):
        Vocabulary.load(path)


def test_a_word_changed_by_hand_is_noticed(tmp_path):
    path = tmp_path / "vocabulary.json"
    learn_vocabulary(TEXTS).save(path)
    content = json.loads(path.read_text())
    content["words"][0] = "b"
    path.write_text(json.dumps(content))
    with pytest.raises(SeehearError, match="was changed by hand or is damaged"):
        Vocabulary.load(path)


def test_no_words_are_refused():
    with pytest.raises(SeehearError, match="hold no word at least 1 times"):
        learn_vocabulary(["...", ""])
    with pytest.raises(SeehearError, match="words and min_count must be 1 or more; got 0 and 1"):
        VocabularyConfig(words=0)


# -- a table of word vectors -------------------------------------------------------------------------------------------

WORDS = {"dog": [1.0, 2.0], "Dog": [9.0, 9.0], "zebra": [3.0, 0.0], "a_b": [5.0, 5.0], "cat": [0.0, 4.0]}


@pytest.fixture(params=["txt", "bin", "npz", "safetensors"])
def table(request, tmp_path):
    path = tmp_path / f"table.{request.param}"
    vectors = np.array(list(WORDS.values()), np.float32)
    if request.param == "txt":
        path.write_text("".join(f"{w} {v[0]} {v[1]}\n" for w, v in WORDS.items()))
    elif request.param == "bin":
        rows = [w.encode() + b" " + np.array(v, "<f4").tobytes() + b"\n" for w, v in WORDS.items()]
        path.write_bytes(b"5 2\n" + b"".join(rows))
    elif request.param == "npz":
        np.savez(path, words=np.array(list(WORDS)), vectors=vectors)
    else:
        import torch
        from safetensors.torch import save_file

        save_file({"vectors": torch.from_numpy(vectors)}, path, metadata={"words": json.dumps(list(WORDS))})
    return path


def test_words_of_a_table_the_librarys_own_first(table):
    """'barks' has no vector; 'Dog' and 'a_b' are never what a text in small letters is split into."""
    config = VocabularyConfig(table=str(table))
    made = learn_vocabulary(TEXTS, config)
    assert made.words == ("dog", "cat", "zebra")
    assert learn_vocabulary(TEXTS, VocabularyConfig(table=str(table), words=1)).words == ("dog",)
    vectors = made.vectors(table)
    assert vectors.dtype == np.float32
    mean = [4 / 3, 2.0]
    np.testing.assert_allclose(vectors, [[0, 0], mean, [1, 2], [0, 4], [3, 0]], atol=1e-6)


def test_a_word_that_a_table_lacks_starts_as_the_mean(table):
    vectors = learn_vocabulary(TEXTS).vectors(table)
    np.testing.assert_allclose(vectors[2], [0.5, 3.0])  # 'a'
    np.testing.assert_allclose(vectors[3], [1.0, 2.0])


def test_a_table_of_other_words_is_one_clear_line(table):
    with pytest.raises(SeehearError, match="knows none of the vocabulary's 2 words"):
        learn_vocabulary(["quite different"]).vectors(table)


def test_texts_as_bytes_come_back_as_they_were(tmp_path):
    vocabulary = bytes_of_texts()
    for text in ("A dog, 3 cats: 'né' 日本", "Ünïcode"):
        assert text_of(vocabulary.encode(text, 64)) == text
    assert text_of(vocabulary.encode("né", 2)) == "n"  # the second letter is cut in two
    vocabulary.save(tmp_path / "vocabulary.json")
    again = Vocabulary.load(tmp_path / "vocabulary.json", expected=vocabulary.fingerprint)
    assert text_of(again.encode("né", 8)) == "né"
