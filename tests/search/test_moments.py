"""Moments of a toy library: a joint space of words, pictures and sounds, and one of texts alone."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from seehear.commands.search import QueryOptions
from seehear.errors import SeehearError
from seehear.library import clip_table
from seehear.library.current import frame_item
from seehear.library.records import clip_of_row
from seehear.library.tables import Source, Text, VectorTable
from seehear.search import moments
from seehear.search.background import calibrate_index
from seehear.search.filters import Allowed, Filters
from seehear.search.index import build_index
from seehear.search.moments import MomentSearch
from tests.search import toy


class Space(toy.Space):
    """Some towers of the toy; a phrase without a known animal means something else, the same every time."""

    def __init__(self, *modalities, fingerprint="joint"):
        super().__init__(fingerprint)
        self.modalities = modalities
        self.encoders = {m: self.encoders[m] for m in modalities}

    def encode_query(self, items):
        return np.stack([self.one(item if isinstance(item, dict) else {"text": item}) for item in items])

    def one(self, item):
        kind = next(k for k in ("text", "audio", "video", "image") if k in item)
        word = next((w for w in toy.ANIMALS if w in item[kind]), None)
        if word:
            return toy.unit(toy.meaning(word) + (0.5 if kind == "text" else 0.0))
        return toy.unit(np.random.default_rng(toy.hash_of(item[kind])).normal(size=toy.WIDTH) + 0.5)


JOINT, TEXTS = Space("video", "audio", "text"), Space("text", fingerprint="texts")


def indexed(library):
    build_index(library, JOINT, name="frozen-toy", model="frozen:#toy")
    calibrate_index(library, JOINT, "frozen-toy")
    if any(clip.texts for clip in library.clips()):
        build_index(library, TEXTS, name="frozen-texts", model="frozen:#texts")
        calibrate_index(library, TEXTS, "frozen-texts")
        return MomentSearch(library, {"frozen-toy": JOINT, "frozen-texts": TEXTS})
    return MomentSearch(library, {"frozen-toy": JOINT})


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return toy.library(tmp_path_factory.mktemp("moments"))


@pytest.fixture(scope="module")
def searcher(library):
    return indexed(library)


def test_an_index_that_is_as_it_was_keeps_its_calibration(tmp_path, monkeypatch):
    """To make it, more than a thousand phrases are encoded."""
    library = toy.library(tmp_path)
    before = indexed(library).search("a cat", k=3)
    monkeypatch.setattr(Space, "encode_query", None)
    again = indexed(library)
    monkeypatch.undo()
    assert again.search("a cat", k=3) == before


def test_a_large_library_is_not_made_into_objects(library, searcher, monkeypatch):
    """Opening it looks at columns; a question puts together the clips that it may show."""
    made = []
    monkeypatch.setattr(clip_table, "clip_of_row", lambda row: made.append(row["id"]) or clip_of_row(row))
    monkeypatch.setattr(type(library), "clips", lambda *_: pytest.fail("all clips are read"))
    monkeypatch.setattr(VectorTable, "read", lambda *_: pytest.fail("a row is an object"))
    opened = MomentSearch(library, {"frozen-toy": JOINT})
    assert made == []
    opened.search("a dog", k=1, fulltext=False)
    assert len(made) <= 2, "the one shown, and the one that is another moment"


def test_clips_and_the_kinds_of_their_texts_by_id(tmp_path):
    library = toy.library(tmp_path)
    clips = {clip.id: clip for clip in library.clips()}
    first, second = list(clips)[:2]
    texts = (Text("a sign", 0.0, 1.0, "screen"), Text("woof", 1.0, 2.0, "speech"))
    library.put_clips([replace(clips[first], texts=texts), replace(clips[second], texts=())])
    table = clip_table.ClipTable(library)
    assert dict(table) == {clip.id: clip for clip in library.clips()}
    asked = [(first, 1), (first, 0), (first, 2), (second, 0), ("gone", 0)]
    places = table.places(pa.array([id for id, _ in asked]))
    kinds = table.kinds_of_texts(places, np.array([item for _, item in asked]))
    assert kinds.to_pylist() == ["speech", "screen", None, None, None]
    assert table.ids(places[:4]) == [id for id, _ in asked[:4]]
    library.remove_clips(clips)
    empty = clip_table.ClipTable(library)
    gone = empty.places(pa.array(["gone"]))
    assert (len(empty), empty.has_texts, empty.kinds_of_texts(gone, np.array([0])).to_pylist()) == (0, False, [None])


def indexed_alone(library):
    calibrate_index(library, JOINT, "frozen-toy")
    return MomentSearch(library, {"frozen-toy": JOINT})


def animals(answer):
    return [hit.clip[:-2] for hit in answer.hits]


@pytest.mark.parametrize("kind", ["seen", "heard", "spoken", "text"])
def test_words_find_each_kind(searcher, kind):
    answer = searcher.search("a cat", k=2, kinds=[kind])
    assert animals(answer) == ["cat"] * 2
    assert {hit.kind for hit in answer.hits} == {kind}


def test_all_kinds_together(searcher):
    answer = searcher.search("a horse", k=4)
    assert animals(answer) == ["horse"] * 4
    assert (answer.query, answer.indexed, answer.clips) == ("a horse", 24, 24)
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= hit.confidence <= hit.score <= 1 for hit in answer.hits)


def test_what_answers_in_two_ways_comes_first(tmp_path):
    """All of these films show a dog, and in one a dog is spoken of as well."""
    library = toy.library(tmp_path)
    clips = {clip.id: clip for clip in library.clips()}
    library.put_clips([replace(clip, texts=clip.texts[:1]) for i, clip in clips.items() if i != "dog12"])
    search = indexed(library)
    first = search.search("a dog", k=1, kinds=["seen", "spoken"], fulltext=False).hits[0]
    assert first.clip == "dog12"
    alone = search.search("a dog", k=4, kinds=["seen"]).hits
    assert first.confidence <= max(hit.confidence for hit in alone), "it is as sure as its best way alone"


def test_a_spoken_moment_has_the_times_of_its_line(searcher):
    hit = searcher.search("rain", k=1, kinds=["spoken"]).hits[0]
    assert (hit.start, hit.end, hit.text) == (0.25, 0.75, "it is rain again")
    seen = searcher.search("rain", k=1, kinds=["seen"]).hits[0]
    assert (seen.start, seen.end) == (0.0, 1.0 + int(seen.clip[-2:]))


def test_the_plain_answer_has_just_the_documented_fields(searcher):
    plain = searcher.search("a bell", k=1).plain()
    assert list(plain) == ["query", "words", "hits", "indexed", "clips"]
    assert list(plain["hits"][0]) == ["file", "start", "end", "kind", "text", "score", "confidence", "words"]


def test_a_moment_names_all_places_of_its_file(tmp_path):
    made = toy.library(tmp_path)
    first = indexed(made).search("a bell", k=1).hits[0]
    info = {"copy_of": first.source}
    made.put_sources([Source(source="copy.mp4", size=1, mtime_ns=1, fingerprint="x", info=info)])
    plain = indexed(made).search("a bell", k=1).plain()["hits"][0]
    assert (plain["file"], plain["also"]) == (first.file, [str(made.path_of("copy.mp4"))])


def test_what_is_not_there_is_answered_with_less_confidence(searcher):
    there, absent = (searcher.search(words, k=1).hits[0] for words in ("a horse", "something else entirely"))
    assert there.confidence > absent.confidence
    assert absent.words != "strong"


def test_nothing_close_is_said(searcher, capsys):
    there, absent = searcher.search("a horse", k=3), searcher.search("xylophone quantum banking", k=3)
    assert (there.words, absent.words) == (there.hits[0].words, "nothing close")
    assert there.words != "nothing close"
    assert {hit["words"] for hit in absent.plain()["hits"]} == {"nothing close"}
    QueryOptions().tell("", absent, [])
    assert capsys.readouterr().out.startswith("Nothing close to 'xylophone quantum banking'; the nearest are:\n  1  ")
    QueryOptions().tell("", there, [])
    assert "othing close to" not in capsys.readouterr().out
    assert searcher.search("a horse", filters=Filters(labels=("emu",))).words == "nothing close"


def test_full_text_finds_the_words_themselves(searcher):
    """By meaning, one horse is as good as another: only the text says which."""
    assert [hit.clip for hit in searcher.search("horse number 15", k=1).hits] == ["horse15"]
    hit = searcher.search("number 15", k=1).hits[0]
    assert (hit.clip, hit.kind, hit.text) == ("horse15", "text", "here a horse number 15")
    assert hit.confidence >= 0.9
    assert searcher.search("horse number 15", k=1, fulltext=False).hits[0].clip != "horse15"


def test_like_finds_like(searcher):
    queries = ({"audio": "cat.wav"}, "heard"), ({"image": "cat.jpg"}, "seen"), ({"clip": "cat01"}, "seen")
    for query, kind in queries:
        answer = searcher.search(query, k=2, kinds=[kind])
        assert animals(answer) == ["cat"] * 2
        assert {hit.kind for hit in answer.hits} == {kind}
        assert "cat01" not in {hit.clip for hit in answer.hits} or "clip" not in query


def test_a_sound_finds_its_pictures(searcher):
    assert animals(searcher.search({"audio": "bird.wav"}, k=2, kinds=["seen"])) == ["bird"] * 2


def test_words_and_a_sound_together(searcher):
    """Each part alone prefers another animal; a horse that is loud is in both."""
    both = searcher.search(["a horse", {"audio": "dog.wav", "weight": 0.5}], k=8)
    assert {"horse", "dog"} <= set(animals(both))


def test_the_confidence_of_several_parts_is_that_of_their_mean(searcher):
    alone = searcher.search("a horse", k=1).hits[0].confidence
    for parts in (["a horse"] * 2, [{"text": "a horse", "weight": 0.5}]):
        assert searcher.search(parts, k=1).hits[0].confidence == pytest.approx(alone, abs=1e-3)
    less = searcher.search(["a horse", {"audio": "dog.wav", "weight": -1.0}], k=24).hits
    assert all(0 <= hit.confidence <= 1 for hit in less)


def test_likeness_is_not_left_to_what_was_trained(library):
    """A trained run's vectors answer words, and counterparts; sounds are compared as their encoder hears them."""

    class Wrong(Space):
        def encode_latents(self, latents):
            return {m: toy.unit(np.roll(x, 1, axis=1)) for m, x in latents.items()}

    run = Wrong("video", "audio", "text", fingerprint="run")
    build_index(library, run, name="run", model="/runs/run")
    calibrate_index(library, run, "run")
    both = MomentSearch(library, {"frozen-toy": JOINT, "run": run})
    assert animals(both.search({"audio": "cat.wav"}, k=3, kinds=["heard"])) == ["cat"] * 3


def test_what_a_run_left_as_it_is_counts_once(library, searcher):
    """A run that bound sounds to pictures holds the pictures of a frozen index again: words find them there."""

    class Bound(Space):
        locked = ("video",)

        def one(self, item):
            return super().one({"text": item["text"].replace("cat", "bird")} if "text" in item else item)

    run = Bound("video", "audio", "text", fingerprint="bound")
    build_index(library, run, name="bound", model="/runs/bound")
    calibrate_index(library, run, "bound")
    both, alone = (MomentSearch(library, names) for names in ({"frozen-toy": JOINT, "bound": run}, {"bound": run}))
    assert both.search("a cat", k=24, kinds=["seen"]).hits == searcher.search("a cat", k=24, kinds=["seen"]).hits
    assert animals(alone.search("a cat", k=3, kinds=["seen"])) == ["bird"] * 3
    assert {"bird", "cat"} <= set(animals(both.search("a cat", k=8, kinds=["heard"])))
    assert animals(both.search({"audio": "cat.wav"}, k=3, kinds=["seen"])) == ["cat"] * 3


def test_filters(searcher):
    answer = searcher.search("a horse", k=24, filters=Filters(splits=("test",)))
    assert {hit.clip for hit in answer.hits} <= {f"{toy.ANIMALS[n % 6]}{n:02d}" for n in range(18, 24)}
    assert searcher.search("a horse", filters=Filters(labels=("emu",))).hits == []


def test_a_filter_is_asked_of_the_best_clips_first(searcher, monkeypatch):
    """All clips of a large library are asked for only where too few of the best are left."""
    most = Filters(where="id NOT IN ('horse03', 'dog00')")
    of_all = searcher.search("a horse", k=1, filters=most, fulltext=False).hits
    asked = []
    monkeypatch.setattr(moments, "FIRST", 6)
    monkeypatch.setattr(moments, "DEPTH", 1)
    monkeypatch.setattr(Allowed, "all", property(lambda self: asked.append(self) or {"cat01"}))
    assert searcher.search("a horse", k=1, filters=most, fulltext=False).hits == of_all
    assert (asked, of_all[0].clip[:-2]) == ([], "horse")
    few = searcher.search("a horse", k=1, filters=Filters(labels=("cat",)), fulltext=False).hits
    assert (len(asked), [hit.clip for hit in few]) == (1, ["cat01"])


def test_rows_of_deleted_clips_are_not_found(tmp_path):
    library = toy.library(tmp_path)
    before = indexed(library).search("a horse", k=1).hits[0].clip
    library.remove_clips([before])
    after = MomentSearch(library, {"frozen-toy": JOINT, "frozen-texts": TEXTS})
    answer = after.search("a horse", k=24)
    assert (answer.indexed, answer.clips) == (23, 23)
    assert before not in {hit.clip for hit in answer.hits}
    assert animals(answer)[0] == "horse"


@pytest.mark.parametrize(
    ("kind", "spans", "expected"),
    [
        ("seen", [(0.0, 5.0), (9.9, 12.0)], [(0.0, 12.0)]),  # one scene, less than five seconds apart
        ("seen", [(0.0, 5.0), (10.0, 12.0)], [(0.0, 5.0), (10.0, 12.0)]),
        ("spoken", [(0.0, 5.0), (4.9, 8.0)], 1),
        ("spoken", [(0.0, 5.0), (5.0, 8.0)], [(0.0, 5.0), (5.0, 8.0)]),  # lines that touch do not overlap
        ("spoken", [(5.0, 5.0), (5.0, 8.0)], 1),  # a line without duration belongs to the one that it touches
    ],
)
def test_when_two_matches_of_a_file_are_one_moment(tmp_path, kind, spans, expected):
    library = toy.library(tmp_path)
    clips = library.clips("id IN ('dog00', 'dog06')")
    for number, (clip, (start, end)) in enumerate(zip(clips, spans, strict=True)):
        if kind == "spoken":
            texts = (Text("a dog" + " barks" * number, start, end, kind="speech"),)
            library.put_clips([replace(clip, source="town/one.mp4", start=0.0, end=20.0, texts=texts)])
        else:
            library.put_clips([replace(clip, source="town/one.mp4", start=start, end=end, texts=())])
    for m in ("video", "audio", "text"):
        table = library.vectors("latents", f"toy-{m}")
        table.remove("id IN ('dog00', 'dog06')")
        if m == ("video" if kind == "seen" else "text"):
            table.append(toy.rows(library.clips("id IN ('dog00', 'dog06')"), m))
    hits = indexed(library).search("a dog", k=24, kinds=[kind], fulltext=False).hits
    own = sorted((hit.start, hit.end) for hit in hits if hit.source == "town/one.mp4")
    assert (len(own) if isinstance(expected, int) else own) == expected


def test_overlapping_clips_of_a_file_are_one_moment(tmp_path):
    library = toy.library(tmp_path)
    first = library.clips("id = 'dog00'")[0]
    library.put_clips([replace(first, start=0.0, end=5.0)])
    twin = replace(toy.clip(6), id="dog06", source=first.source, start=4.0, end=9.0, texts=())
    apart = replace(toy.clip(12), id="dog12", source=first.source, start=20.0, end=23.0, texts=())
    library.put_clips([twin, apart])
    for m in ("video", "audio"):
        table = library.vectors("latents", f"toy-{m}")
        table.remove("id IN ('dog00', 'dog06', 'dog12')")
        if m == "video":
            table.append(toy.rows(library.clips("id IN ('dog00', 'dog06', 'dog12')"), m))
    answer = indexed(library).search("a dog", k=24, kinds=["seen"])
    own = sorted((hit.start, hit.end) for hit in answer.hits if hit.source == first.source)
    assert own == [(0.0, 9.0), (20.0, 23.0)]


def test_clips_of_text_alone_are_moments_of_their_own(tmp_path):
    library = toy.library(tmp_path)
    texts = [replace(toy.clip(n), source="", end=0.0, has_video=False, has_audio=False) for n in range(0, 24, 6)]
    library.put_clips(texts)
    hits = indexed(library).search("a dog", k=4, kinds=["text"]).hits
    assert sorted(hit.clip for hit in hits) == [clip.id for clip in texts]


def test_by_film_each_has_all_its_moments(tmp_path):
    """And no moment that is far from as good as its best."""
    library = toy.library(tmp_path)
    spans = {"dog00": (0.0, 5.0), "dog06": (20.0, 25.0), "cat01": (40.0, 45.0), "dog12": (60.0, 65.0)}
    clips = {clip.id: clip for clip in library.clips()}
    one = "town/dog00.mp4"
    library.put_clips([replace(clips[i], source=one, start=a, end=b, texts=()) for i, (a, b) in spans.items()])
    table = library.vectors("latents", "toy-video")
    table.remove(f"id IN ({', '.join(map(repr, spans))})")
    table.append(toy.rows([clip for clip in library.clips() if clip.id in spans], "video"))
    searcher = indexed(library)
    answer = searcher.search("a dog", k=2, kinds=["seen"], by="film")
    order = [hit.film for hit in searcher.search("a dog", k=24, kinds=["seen"]).hits]
    assert [film.source for film in answer.films] == list(dict.fromkeys(order))[:2], "in the order of their best"
    starts = {film.source: [hit.start for hit in film.hits] for film in answer.films}
    assert sorted(starts[one]) == [0.0, 20.0, 60.0]
    assert answer.films[0].hits[0] == answer.hits[0]


def film_of(folder, words, *, seconds):
    """A library in which the clip of a long film shows several animals, one after the other; and that clip."""
    library, clip = toy.library(folder), replace(toy.clip(3), end=seconds)
    library.put_clips([clip])
    table = library.vectors("latents", "toy-video")
    table.remove(f"id = '{clip.id}'")
    latents = [toy.meaning(word) for word in words]
    items = [frame_item((n + 0.5) * seconds / len(words)) for n in range(len(words))]
    for item, vector in zip([0, *items], [np.mean(latents, axis=0), *latents], strict=True):
        table.append(replace(toy.rows([clip], "video"), items=np.array([item]), vectors=vector[None]))
    build_index(library, JOINT, name="frozen-toy", model="frozen:#toy")
    return library, clip


def test_a_film_is_found_by_the_frame_that_answers(tmp_path):
    library, clip = film_of(tmp_path, ["rain", "bell", "dog", "dog", "dog", "cat"], seconds=60.0)
    search = indexed_alone(library)
    for word, times in {"rain": (5.0, 0.0, 10.0), "bell": (15.0, 10.0, 20.0), "cat": (55.0, 50.0, 60.0)}.items():
        hits = search.search(f"a {word}", k=24, kinds=["seen"]).hits
        own = next(hit for hit in hits if hit.clip == clip.id)
        assert (own.still, own.start, own.end) == times
        assert own in hits[:5], "one frame of six is as good as a film of nothing else"


def test_a_run_reads_films_and_no_frames(tmp_path):
    library, clip = film_of(tmp_path, ["rain", "bell"], seconds=4.0)
    assert len([i for i in library.vectors("vectors", "frozen-toy").read(f"id = '{clip.id}'").items if i > 0]) == 2
    build_index(library, Space("video"), name="run")
    assert library.vectors("vectors", "run").read(f"id = '{clip.id}'").items.tolist() == [0]
    again = build_index(library, JOINT, name="frozen-toy", model="frozen:#toy")
    assert (again.added, again.removed) == (0, 0)


ONE_FILM = {"dog00": (0.0, 5.0), "dog06": (8.0, 12.0), "cat01": (12.0, 15.0), "dog12": (40.0, 45.0)}
"""Seconds of clips of one film."""


def in_one_film(folder):
    library = toy.library(folder)
    clips = {clip.id: clip for clip in library.clips()}
    film = [replace(clips[i], source="town/dog00.mp4", start=a, end=b, texts=()) for i, (a, b) in ONE_FILM.items()]
    library.put_clips(film)
    table = library.vectors("latents", "toy-video")
    table.remove(f"id IN ({', '.join(map(repr, ONE_FILM))})")
    table.append(toy.rows([clip for clip in library.clips() if clip.id in ONE_FILM], "video"))
    return indexed(library)


def test_neighbours_that_look_alike_are_one_moment(tmp_path):
    searcher = in_one_film(tmp_path)
    hits = [hit for hit in searcher.search("a dog", k=24, kinds=["seen"]).hits if hit.source == "town/dog00.mp4"]
    dogs = sorted((hit.start, hit.end) for hit in hits if hit.clip.startswith("dog"))
    assert dogs == [(0.0, 12.0), (40.0, 45.0)]
    assert [hit.start for hit in hits if hit.clip == "cat01"] == [12.0], "another scene is another moment"


def test_what_is_not_wanted_goes_with_the_rest_of_its_scene(tmp_path, monkeypatch):
    searcher = in_one_film(tmp_path)
    monkeypatch.setattr("seehear.search.background.SAME", 1.1)  # of its scene alone, not what looks the same elsewhere
    every = {hit.clip for hit in searcher.search("a dog", k=24).hits}
    left = {hit.clip for hit in searcher.search(["a dog", {"clip": "dog00", "weight": -0.1}], k=24).hits}
    assert every - left == {"dog00"}, "the other clip of the scene does not take its place"
    assert "dog06" not in left
    assert {"cat01", "dog12", "dog18"} <= left


def test_what_is_not_wanted_goes_with_what_looks_the_same(searcher):
    parts = ["a dog", {"clip": "dog00", "weight": -0.1}]
    assert animals(searcher.search("a dog", k=4)) == ["dog"] * 4
    found = animals(searcher.search(parts, k=24))
    assert len(found) == 20
    assert "dog" not in found
    liked = searcher.search(["a dog", {"clip": "dog00", "weight": 0.1}], k=24)
    assert animals(liked)[:3] == ["dog"] * 3
    assert "dog00" not in {hit.clip for hit in liked.hits}


def test_a_library_without_text_is_searched_by_words(tmp_path):
    library = toy.library(tmp_path)
    library.put_clips([replace(clip, texts=()) for clip in library.clips()])
    answer = indexed(library).search("a dog", k=3)
    assert animals(answer) == ["dog"] * 3
    assert {hit.kind for hit in answer.hits} <= {"seen", "heard"}


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_clips_are_searched(tmp_path, count):
    library = indexed(toy.library(tmp_path, count))
    assert animals(library.search("a dog", k=1)) == ["dog"]
    assert library.search("xylophone quantum banking").words != "strong"
    assert animals(library.search({"image": "dog.jpg"}, k=1)) == ["dog"]


def test_a_library_without_clips_says_what_to_do(tmp_path):
    library = toy.library(tmp_path, 1)
    library.table("clips").delete("true")
    with pytest.raises(SeehearError, match="run 'seehear encode'"):
        indexed(library)


def test_three_clips_are_searched(tmp_path):
    library = indexed(toy.library(tmp_path, 3))
    assert animals(library.search("a cat", k=1)) == ["cat"]
    assert animals(library.search({"image": "bird.jpg"}, k=1)) == ["bird"]


def test_queries_that_mean_nothing_are_told(searcher, tmp_path):
    with pytest.raises(SeehearError, match="nothing to search for"):
        searcher.search([])
    with pytest.raises(SeehearError, match=r"one of text, audio, image, video or clip; got smell"):
        searcher.search({"smell": "dog"})
    with pytest.raises(SeehearError, match="no clip 'emu'"):
        searcher.search({"clip": "emu"})
    with pytest.raises(SeehearError, match="did you mean 'seen'"):
        searcher.search("dog", kinds=["see"])


def test_an_index_without_calibration_is_told(library):
    build_index(library, space := Space("video", "text", fingerprint="new"), name="new")
    with pytest.raises(SeehearError, match="run 'seehear index' again"):
        MomentSearch(library, {"new": space}).search("a dog")


def test_calibrating_again_does_nothing(library, searcher, monkeypatch):
    monkeypatch.setattr(JOINT, "encode_query", lambda items: pytest.fail("the phrases are encoded once"))
    calibrate_index(library, JOINT, "frozen-toy")


def test_texts_of_machines_have_their_kind():
    from seehear.search.background import kind_of_text

    assert kind_of_text(Text("a caption")) == "text"
    assert kind_of_text(Text("a line", 0.0, 1.0)) == "spoken"
    assert kind_of_text(Text("a line", 0.0, 1.0, kind="speech", by="whisper")) == "spoken"
    assert kind_of_text(Text("EXIT", 0.0, 1.0, kind="screen", by="ocr")) == "screen"
