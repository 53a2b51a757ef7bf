"""Words as vectors: what is kept of a text, and files of vectors, whole and damaged."""

from __future__ import annotations

import io
import json
import random
import string

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from seehear.encoders import Sample, load_encoder, wordfiles
from seehear.encoders.wordfiles import open_word_file
from seehear.errors import SeehearError

TABLE = {"dog": [1.0, 2.0, 3.0], "Dog": [4.0, 5.0, 6.0], "it's": [0.5, 0.0, -0.5], "cat": [-1.0, 0.25, 0.0]}


def binary(table, *, header=None, between=b""):
    width = len(next(iter(table.values()))) if table else 0
    said = header or f"{len(table)} {width}\n".encode()
    return said + between.join(w.encode() + b" " + np.array(v, "<f4").tobytes() for w, v in table.items()) + between


def text(table, *, header=True, end="\n"):
    lines = [f"{len(table)} {len(next(iter(table.values())))}"] if header else []
    return end.join([*lines, *(" ".join([w, *map(repr, map(float, v))]) for w, v in table.items()), ""]).encode()


def written(path, content):
    path.write_bytes(content)
    return open_word_file(path)


def npz(table):
    file = io.BytesIO()
    np.savez(file, words=np.array(list(table)), vectors=np.array(list(table.values()), np.float32))
    return file.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


# -- what is kept of a text --------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    (tmp_path / "words.bin").write_bytes(binary(TABLE))
    return f"words:{tmp_path / 'words.bin'}"


def rows(encoder, *texts):
    return encoder.encode([encoder.prepare(Sample(text=t)) for t in texts]).reshape(len(texts), *encoder.shape)


def test_known_words_in_order_then_zeros(table):
    encoder = load_encoder(table + "#max=3")
    assert (encoder.name, encoder.modality) == (table + "#max=3", "text")
    assert (encoder.shape, encoder.width) == ((3, 3), 9)
    a, b, c = rows(encoder, "The dog, it's-a Dog; cat", "  DOG!\nbird", "cat 'dog'")
    assert a.tolist() == [TABLE["dog"], TABLE["it's"], TABLE["Dog"]]
    assert not b.any()  # case is kept, and this one is not known
    assert c.tolist() == [TABLE["cat"], [0.0] * 3, [0.0] * 3]  # MCN's pattern takes the quotes for letters


def test_lower_case_as_a_second_try(table):
    encoder = load_encoder(table + "#lower=unknown,max=3")
    assert rows(encoder, "Dog CAT IT'S bird")[0].tolist() == [TABLE["Dog"], TABLE["cat"], TABLE["it's"]]
    assert encoder.fingerprint != load_encoder(table + "#max=3").fingerprint


def test_fingerprint_is_of_the_content(tmp_path, table):
    before = load_encoder(table).fingerprint
    assert load_encoder(table).fingerprint == before
    (tmp_path / "words.bin").write_bytes(binary(TABLE | {"dog": [1.0, 2.0, 3.5]}))
    assert load_encoder(table).fingerprint != before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("words:", "needs a table after it"),
        ("words:nowhere.bin", "no such file of word vectors: nowhere.bin"),
        ("words:minilm#max=0", "max must be from 1 to 1000"),
        ("words:minilm#lower=yes", "lower must be never or unknown; got 'yes'"),
    ],
)
def test_wrong_names_are_one_clear_line(name, message):
    with pytest.raises(SeehearError, match=message):
        load_encoder(name)


def test_words_of_minilm():
    """Each is MiniLM's vector of the word alone; what it cannot read is left out."""
    encoder, minilm = load_encoder("words:minilm#max=4", device="cpu"), load_encoder("minilm", device="cpu")
    assert encoder.shape == (4, 384)
    (a, b) = rows(encoder, "A dog ' barks", "⺀⺀ ... dog")
    expected = minilm.encode(["A", "dog", "barks"])
    np.testing.assert_allclose(a[:3], expected, atol=1e-5)
    np.testing.assert_allclose(b[0], expected[1], atol=1e-5)
    assert not a[3:].any()
    assert not b[1:].any()
    again = rows(encoder, "dog", "a new word of it")
    np.testing.assert_allclose(again[0, 0], expected[1], atol=1e-5)


# -- files -------------------------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=("Zs", "Zl", "Zp", "Cc", "Cs")), min_size=1, max_size=12)
tables = st.integers(1, 5).flatmap(
    lambda d: st.dictionaries(
        words.filter(lambda w: not w.isspace()),
        st.lists(st.floats(-1e4, 1e4, width=32), min_size=d, max_size=d),
        min_size=1,
        max_size=12,
    )
)


@given(tables, st.sampled_from(["bin", "bin with line feeds", "text", "text without header", "npz", "safetensors"]))
def test_every_kind_of_file_gives_the_same_vectors(tmp_path_factory, table, kind):
    folder = tmp_path_factory.mktemp("words")
    if kind == "safetensors":
        path = folder / "t.safetensors"
        save_file({"vectors": torch.tensor(list(table.values()))}, path, metadata={"words": json.dumps(list(table))})
        file = open_word_file(path)
    elif kind == "text without header":
        file = written(
            folder / "t.txt", text({"ahead": [0.0] * len(next(iter(table.values()))), **table}, header=False)
        )
    else:
        suffix, content = {
            "bin": ("bin", binary(table)),
            "bin with line feeds": ("bin", binary(table, between=b"\n")),
            "text": ("vec", text(table, end=" \n")),
            "npz": ("npz", npz(table)),
        }[kind]
        file = written(folder / f"t.{suffix}", content)
    for word, vector in table.items():
        assert file.find(word).tolist() == np.array(vector, np.float32).tolist()
    assert file.vectors(list(table)).tolist() == np.array(list(table.values()), np.float32).tolist()
    assert not file.knows("no word of it")


def test_the_first_of_two_counts(tmp_path):
    double = binary(TABLE, header=b"5 3\n") + b"dog " + np.zeros(3, "<f4").tobytes()
    assert written(tmp_path / "t.bin", double).find("dog").tolist() == TABLE["dog"]
    lines = text(TABLE, header=False) + b"dog 0 0 0\n"
    assert written(tmp_path / "t.txt", lines).find("dog").tolist() == TABLE["dog"]


def test_words_with_spaces_hide_no_other(tmp_path):
    """As in GloVe's largest file: 'at name@domain.com 0.1 ...' is not 'at'."""
    lines = b"the 1 2 3\nat name@domain.com 4 5 6\nat 7 8 9\n"
    file = written(tmp_path / "t.txt", lines)
    assert file.find("at").tolist() == [7.0, 8.0, 9.0]


def test_the_index_of_a_large_file_is_kept(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(wordfiles, "LARGE", 0)
    file = written(tmp_path / "t.bin", binary(TABLE))
    assert file.find("dog").tolist() == TABLE["dog"]
    (kept,) = (cache / "seehear" / "words").iterdir()
    monkeypatch.setattr(wordfiles._BinaryFile, "_scan", lambda self: pytest.fail("read through again"))
    assert open_word_file(tmp_path / "t.bin").find("Dog").tolist() == TABLE["Dog"]
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(wordfiles, "LARGE", 0)
    kept.write_bytes(b"no array")
    assert open_word_file(tmp_path / "t.bin").find("Dog").tolist() == TABLE["Dog"]


def test_equal_hashes_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(wordfiles, "_hash", lambda word: b"\1" * 8)
    for name, content in (("t.bin", binary(TABLE)), ("t.txt", text(TABLE))):
        file = written(tmp_path / name, content)
        assert all(file.find(word).tolist() == vector for word, vector in TABLE.items())
        assert file.find("bird") is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.bin", b"", "is empty"),
        ("t.bin", b"\x80\x04unpickle me", "its first line must be 'WORDS WIDTH'"),
        ("t.bin", binary(TABLE)[:-1], "is cut, or its first line wrong: it ends, or makes no sense, in word 4 of 4"),
        (
            "t.bin",
            binary(TABLE, header=b"9 3\n"),
            "is cut, or no binary word2vec file: 9 words of 3 numbers need 126 bytes",
        ),
        ("t.bin", binary(TABLE, header=b"3 3\n"), "goes on behind the 3 words"),
        ("t.bin", binary(TABLE, header=b"4 2\n"), "is cut, or its first line wrong|goes on behind"),
        ("t.bin", binary(TABLE, header=b"0 3\n"), "holds no word vectors"),
        ("t.bin", binary(TABLE | {"dog": [1.0, np.nan, 0.0]}), "the vector of 'dog' has numbers that are not finite"),
        ("t.txt", text(TABLE)[:-5], r"t.txt:5 has 2 numbers, not 3: is the file cut\?"),
        ("t.txt", text(TABLE) + b"one 1 2 3\n", "says 4 words in its first line and has 5"),
        ("t.txt", b"dog 1 two 3\n", "the vector of 'dog' is no list of numbers"),
        ("t.txt", b"\0" * 2**21, "no text file of word vectors: a line goes on for more than a megabyte"),
        ("t.txt", b"dog\n", "holds no word vectors"),
        ("t.npz", b"PK", "is no .npz with `words` and `vectors`"),
        ("t.safetensors", b"\x80\x04", "is no .safetensors with `vectors`"),
        ("t.pkl", b"\x80\x04", "word vectors come as .bin, .txt, .vec, .npz, .safetensors"),
    ],
)
def test_what_is_no_file_of_vectors_is_one_clear_line(tmp_path, name, content, message):
    with pytest.raises(SeehearError, match=message) as caught:
        written(tmp_path / name, content).find("dog")
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_no_object_is_unpickled(tmp_path):
    np.savez(tmp_path / "t.npz", words=np.array(["dog", None], dtype=object), vectors=np.zeros((2, 3)))
    with pytest.raises(SeehearError, match=r"is no \.npz with"):
        open_word_file(tmp_path / "t.npz")
    for wrong in (
        {"words": np.array(["a"]), "vectors": np.zeros((2, 3))},
        {"words": np.arange(2), "vectors": np.zeros((2, 3))},
    ):
        np.savez(tmp_path / "t.npz", **wrong)
        with pytest.raises(SeehearError, match=r"t\.npz: "):
            open_word_file(tmp_path / "t.npz")


def test_damage_is_refused_or_changes_no_other_word(tmp_path):
    """Cut anywhere, a byte changed anywhere: a `SeehearError` or an answer, and never another error."""
    rng = random.Random(0)
    for name, whole in (("t.bin", binary(TABLE)), ("t.txt", text(TABLE)), ("t.npz", npz(TABLE))):
        for _ in range(150):
            damaged = bytearray(whole)
            if rng.random() < 0.5:
                del damaged[rng.randrange(len(damaged)) :]
            else:
                for _ in range(rng.randint(1, 3)):
                    damaged[rng.randrange(len(damaged))] = rng.choice([0, 10, 32, 255, *string.digits.encode()])
            try:
                file = written(tmp_path / name, bytes(damaged))
                for word in TABLE:
                    found = file.find(word)
                    assert found is None or found.shape == (file.width,)
            except SeehearError as error:
                assert "\n" not in str(error)  # noqa: PT017 (not raised by each)
