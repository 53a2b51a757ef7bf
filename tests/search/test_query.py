import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.library.tables import Clip, LibraryTables, Source
from seehear.search.filters import Filters
from seehear.search.index import build_index
from seehear.search.query import Searcher
from tests.search import toy


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    made = toy.library(tmp_path_factory.mktemp("search"))
    build_index(made, toy.Space(), name="run")
    return made


@pytest.fixture(scope="module")
def searcher(library):
    return Searcher(library, toy.Space(), "run")


def words(hits):
    return [h.id[:-2] for h in hits]


@pytest.mark.parametrize("query", ["a dog barks", {"audio": "dog.wav"}, {"video": "dog.mp4"}, {"image": "dog.png"}])
def test_any_modality_asks_for_any(searcher, query):
    hits = searcher.search(query, k=4)
    assert words(hits) == ["dog"] * 4
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
    assert len({h.id for h in hits}) == 4


def test_a_hit_says_where_and_what(library, searcher):
    hit = searcher.search("horse", k=1, modalities=["text"], filters=Filters(where="id = 'horse03'"))[0]
    assert (hit.source, hit.modality, hit.labels) == ("farm/horse03.mp4", "text", ("horse",))
    assert hit.path == str(library.path_of("farm/horse03.mp4"))
    assert hit.text in ("here a horse number 3", "it is horse again")
    timed = hit.text == "it is horse again"
    assert (hit.start, hit.end) == ((0.25, 0.75) if timed else (0.0, 4.0))
    assert json.loads(json.dumps(hit.plain()))["labels"] == ["horse"]


def test_a_hit_names_all_places_of_a_file(tmp_path):
    made = toy.library(tmp_path)
    info = {"copy_of": "farm/horse03.mp4"}
    made.put_sources([Source(source="copy.mp4", size=1, mtime_ns=1, fingerprint="x", info=info)])
    build_index(made, toy.Space(), name="run")
    hit = Searcher(made, toy.Space(), "run").search("horse", k=1, filters=Filters(where="id = 'horse03'"))[0]
    assert hit.also == (str(made.path_of("copy.mp4")),)
    assert json.loads(json.dumps(hit.plain()))["also"] == [str(made.path_of("copy.mp4"))]


def test_scores_are_cosines_to_float16(library, searcher):
    hit = searcher.search({"video": "cat.mp4"}, k=1, modalities=["video"])[0]
    expected = toy.unit(toy.latent("cat", "video", f"{hit.id}0")) @ toy.unit(toy.meaning("cat"))
    assert hit.score == pytest.approx(float(expected), abs=2e-3)


def test_modalities_restrict_what_may_match(searcher):
    for m in ("video", "audio", "text"):
        assert {h.modality for h in searcher.search("bird", k=20, modalities=[m])} == {m}
    with_audio = searcher.search("bird", k=24, modalities=["audio"])
    assert len(with_audio) == 16
    with pytest.raises(SeehearError, match="did you mean 'audio'"):
        searcher.search("bird", modalities=["adio"])


def test_more_like_a_clip_leaves_it_out(searcher):
    hits = searcher.search({"clip": "bell04"}, k=3)
    assert words(hits) == ["bell"] * 3
    assert "bell04" not in {h.id for h in hits}
    with pytest.raises(SeehearError, match="no clip 'nowhere'"):
        searcher.search({"clip": "nowhere"})


def test_several_parts_are_their_weighted_mean(searcher):
    both = searcher.vector(["a dog", {"audio": "cat.wav", "weight": 3.0}])
    space = toy.Space()
    expected = space.encode_query([{"text": "dog"}])[0] + 3 * space.encode_query([{"audio": "cat"}])[0]
    np.testing.assert_allclose(both, toy.unit(expected), atol=1e-6)
    assert {"dog", "cat"} <= set(words(searcher.search(["dog", {"audio": "cat.wav"}], k=8)))
    away = searcher.search(["dog", {"text": "cat", "weight": -1.0}], k=4)
    assert words(away) == ["dog"] * 4


def test_queries_that_mean_nothing_are_told(searcher):
    with pytest.raises(SeehearError, match="nothing to search for"):
        searcher.search([])
    with pytest.raises(SeehearError, match="cancel out"):
        searcher.search(["dog", {"text": "dog", "weight": -1.0}])
    with pytest.raises(SeehearError, match=r"one of text, audio, image, video or clip; got smell"):
        searcher.search({"smell": "dog"})


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(source="farm/*"), lambda c: c.source.startswith("farm/")),
        (Filters(source="*/dog0?.mp4"), lambda c: c.source.split("/")[1][:4] == "dog0"),
        (Filters(labels=("dog", "it's loud")), lambda c: {"dog", "it's loud"} & set(c.labels)),
        (Filters(splits=("test",)), lambda c: c.split == "test"),
        (Filters(min_seconds=5, max_seconds=9.5), lambda c: 5 <= c.end - c.start <= 9.5),
        (Filters(meta={"place": 'the "old" barn'}), lambda c: c.meta["place"] == 'the "old" barn'),
        (Filters(where="has_audio AND array_length(texts) = 2"), lambda c: c.has_audio),
        (Filters(splits=("train",), labels=("cat",), source="farm/*"), lambda c: c.id in {"cat01", "cat07", "cat13"}),
        (Filters(labels=("emu",)), lambda c: False),
    ],
)
@pytest.mark.parametrize("hybrid", [False, True])
def test_filters(searcher, filters, expected, hybrid):
    wanted = {c.id for c in (toy.clip(n) for n in range(24)) if expected(c)}
    assert {h.id for h in searcher.search("dog", k=24, filters=filters, hybrid=hybrid)} == wanted


def test_bad_filters_are_told(searcher):
    with pytest.raises(SeehearError, match="cannot filter by"):
        searcher.search("dog", filters=Filters(where="no_such_column = 1"))
    with pytest.raises(SeehearError, match=r"cannot filter by '\(start =\)': [^']*Expected: an expression") as error:
        searcher.search("dog", filters=Filters(where="start ="))
    assert "SELECT" not in str(error.value)
    with pytest.raises(SeehearError, match="did you mean 'test'"):
        Filters(splits=("tests",))


awkward = st.text(st.sampled_from(list("ab\"'\\:,{}%_*?[](). é\n")), max_size=6)


@settings(max_examples=15)
@given(st.lists(st.tuples(awkward, awkward), min_size=2, max_size=6, unique=True))
def test_meta_filters_match_the_value_and_no_other(tmp_path_factory, pairs):
    library = LibraryTables.create(tmp_path_factory.mktemp("meta") / "lib")
    library.put_clips([Clip(id=f"c{n}", meta={"x" + key: value}) for n, (key, value) in enumerate(pairs)])
    key, value = pairs[0]
    expected = {f"c{n}" for n, (k, v) in enumerate(pairs) if (k, v) == (key, value)}
    assert {c.id for c in library.clips(Filters(meta={"x" + key: value}).sql())} == expected


def test_globs_are_literal_but_for_star_and_question_mark(tmp_path):
    library = LibraryTables.create(tmp_path / "lib")
    names = ["a[1].mp4", "a1.mp4", "a+b (c).mp4", "deep/er/a1.mp4"]
    library.put_clips([Clip(id=str(n), source=s) for n, s in enumerate(names)])

    def found(glob):
        return {names[int(c.id)] for c in library.clips(Filters(source=glob).sql())}

    assert found("a[1].mp4") == {"a[1].mp4"}
    assert found("a+b (*).mp4") == {"a+b (c).mp4"}
    assert found("*a1.mp4") == {"a1.mp4", "deep/er/a1.mp4"}
    assert found("a?.mp4") == {"a1.mp4"}


def test_hybrid_finds_the_words_that_vectors_miss(library, searcher):
    """Only the text itself says which number a dog has."""
    last = searcher.search("dog", k=4)[-1].id
    hits = searcher.search(f"dog number {int(last[-2:])}", k=4, hybrid=True)
    assert [h.id for h in hits].index(last) < 3
    assert hits[0].score <= 2 / 61
    sounds = searcher.search({"audio": "cat.wav"}, k=4, hybrid=True)
    assert words(sounds) == ["cat"] * 4


def test_removing_the_gap_lets_modalities_compete(library):
    """Texts share an offset here: a text query prefers texts until the offset is taken out."""
    plain = Searcher(library, toy.Space(), "run").search("dog", k=24)
    mended = Searcher(library, toy.Space(), "run", remove_gap=True).search("dog", k=24)
    share = [np.mean([h.modality == "text" for h in hits]) for hits in (plain, mended)]
    assert share[1] < share[0]
    assert words(mended)[:4] == ["dog"] * 4


def test_the_gap_is_measured_on_training_clips(library):
    searcher = Searcher(library, toy.Space(), "run", remove_gap=True)
    rows = library.vectors("vectors", "run").read()
    train = {c.id for c in library.clips("split = 'train'")}
    own = [i for i, m in enumerate(rows.modalities) if m == "text" and rows.ids[i] in train]
    np.testing.assert_allclose(searcher.gallery.means["text"], toy.unit(rows.vectors[own]).mean(axis=0), atol=1e-5)


def test_an_index_of_another_model_is_refused(library):
    with pytest.raises(SeehearError, match="another model"):
        Searcher(library, toy.Space("model-2"), "run")
    with pytest.raises(SeehearError, match="did you mean 'run'"):
        Searcher(library, toy.Space(), "runs")


def test_a_library_without_index_is_told(tmp_path):
    with pytest.raises(SeehearError, match="run 'seehear index"):
        Searcher(toy.library(tmp_path), toy.Space(), "run")


def test_approximate_search_finds_the_same(tmp_path, monkeypatch):
    made = toy.library(tmp_path, 240)
    build_index(made, toy.Space(), name="exact")
    monkeypatch.setattr("seehear.search.index.APPROXIMATE_FROM", 500)
    monkeypatch.setattr("seehear.search.index.CHECKED", 20)  # its recall is measured elsewhere
    build_index(made, toy.Space(), name="ann")
    exact, ann = (Searcher(made, toy.Space(), name) for name in ("exact", "ann"))
    for query in ("dog", {"audio": "rain.wav"}, {"clip": "cat01"}):
        for filters in (None, Filters(splits=("train",)), Filters(labels=("emu",))):
            ours = [h.id for h in exact.search(query, k=10, filters=filters, modalities=["audio", "text"])]
            theirs = [h.id for h in ann.search(query, k=10, filters=filters, modalities=["audio", "text"])]
            assert len(set(ours) & set(theirs)) >= 0.8 * len(ours)
            assert len(theirs) == len(ours)
    with pytest.raises(SeehearError, match="gap removal needs exact search"):
        Searcher(made, toy.Space(), "ann", remove_gap=True)


def test_gone_clips_are_not_shown(tmp_path):
    made = toy.library(tmp_path)
    build_index(made, toy.Space(), name="run")
    searcher = Searcher(made, toy.Space(), "run")
    best = searcher.search("dog", k=1)[0].id
    made.remove_clips([best])
    assert best not in {h.id for h in searcher.search("dog", k=5)}


def test_a_ready_vector_stands_for_its_part(searcher):
    vector = searcher.vector(["a dog"])
    assert searcher.search({"vector": vector}, k=4) == searcher.search("a dog", k=4)
    assert searcher.search({"text": "unknown word", "vector": vector}, k=4) == searcher.search("a dog", k=4)


def test_only_clips_that_say_all_the_words(searcher):
    hits = searcher.search("a dog", k=24, filters=Filters(says="Number, 06"))
    assert hits == []  # one text says "number 6"
    assert [h.id for h in searcher.search("a dog", k=24, filters=Filters(says="number 6"))] == ["dog06"]
    assert {h.id for h in searcher.search("a dog", k=24, filters=Filters(says="dog again"))} == {
        f"dog{n:02d}" for n in (0, 6, 12, 18)
    }
    assert {h.id for h in searcher.search("a dog", k=24, filters=Filters(says="dog", splits=("test",)))} == {"dog18"}
    assert searcher.search("a dog", filters=Filters(says="!?")) == []


def test_hits_come_with_their_clips(library, searcher):
    assert all(hit.clip == library.clips(f"id = '{hit.id}'")[0] for hit in searcher.search("a horse", k=3))


def test_words_search_a_library_without_any_text(tmp_path):
    made = LibraryTables.create(tmp_path / "lib")
    made.add_root(tmp_path)
    clips = [replace(toy.clip(n), texts=()) for n in range(6)]
    made.put_clips(clips)
    for m in ("video", "audio"):
        made.vectors("latents", f"toy-{m}", toy.WIDTH).append(toy.rows(clips, m))
    build_index(made, toy.Space(), name="run")
    assert words(Searcher(made, toy.Space(), "run").search("a dog", k=1)) == ["dog"]


@pytest.mark.parametrize("asked", [2, 10**6])
def test_a_filter_finds_clips_that_come_late_in_the_ranking(searcher, monkeypatch, asked):
    """Looked for among the first rows, then among more, then among all."""
    monkeypatch.setattr("seehear.search.gallery.FIRST", 1)
    monkeypatch.setattr("seehear.search.gallery.ASKED", asked)
    monkeypatch.setattr("seehear.search.filters.ASKED", asked)
    ranking = [h.id for h in searcher.search("dog", k=24)]
    for wanted in (ranking[-1:], ranking[1::2]):
        listed = ", ".join(f"'{name}'" for name in wanted)
        assert [h.id for h in searcher.search("dog", k=2, filters=Filters(where=f"id IN ({listed})"))] == wanted[:2]


def test_columns_of_many_clips_have_indexes(tmp_path, monkeypatch):
    monkeypatch.setattr("seehear.search.index.INDEXED_FROM", 10)
    made = toy.library(tmp_path)
    for _ in range(2):
        build_index(made, toy.Space(), name="run")
        own = made.table("clips").list_indices()
        assert sorted(column for index in own for column in index.columns) == ["id", "labels", "source"]
    made.put_clips([replace(clip, labels=("renamed",)) for clip in made.clips("id = 'dog06'")])
    hits = Searcher(made, toy.Space(), "run").search("dog", k=1, filters=Filters(labels=("renamed",)))
    assert [(h.id, h.labels) for h in hits] == [("dog06", ("renamed",))]
