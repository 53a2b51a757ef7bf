"""The API, asked without a browser."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import pytest

from seehear.demo import MEDIA
from seehear.folders.find import open_library
from seehear.library.tables import Clip, LibraryTables, Text
from seehear.search.background import calibrate_index
from seehear.search.index import indexes, set_index
from seehear.search.query import Searcher
from seehear.serve import runs
from seehear.space import SharedSpace
from tests.serve import world


def together(client, *parts, **options):
    """The answer of all indexes."""
    answer = client.post("/api/search", json={"parts": list(parts), **options})
    assert answer.status_code == 200, answer.text
    return answer.json()


def search(client, *parts, run="late", **options):
    """The answer of one."""
    return together(client, *parts, run=run, **options)


FROZEN = ["frozen-efficientnet-lite0", "frozen-logmel", "frozen-minilm"]


def ids(answer):
    return [hit["clip"]["id"] for hit in answer["hits"]]


def send(client, path, run="late"):
    return client.post("/api/uploads", params={"run": run}, content=Path(path).read_bytes())


@pytest.fixture(scope="module")
def library(built):
    return LibraryTables.open(built / "lib")


def test_the_status_says_what_there_is(client, library):
    status = client.get("/api/status").json()
    assert status["clips"] == library.count_clips()
    assert [run["name"] for run in status["runs"]] == [*FROZEN, "late", "early"], "newest first"
    assert [run["name"] for run in status["runs"] if run["together"]] == [*FROZEN, "late"]
    assert status["labels"]["dog"] == world.SOUNDS
    assert sum(status["splits"].values()) == status["clips"]
    assert {"clips", "pictures", "sounds", "talk"} == set(status["folders"])
    assert status["problem"] is None


def test_words_find_what_the_search_command_finds(client, built, library):
    space = SharedSpace.from_pretrained(built / "runs" / "late", device="cpu")
    expected = Searcher(library, space, "late").search("a dog barks", k=7)
    answer = search(client, {"text": "a dog barks"}, k=7)
    assert answer["run"] == "late"
    assert ids(answer) == [hit.id for hit in expected]
    for hit, one in zip(answer["hits"], expected, strict=True):
        assert hit["score"] == pytest.approx(one.score, abs=1e-6)
        assert (hit["modality"], hit["start"], hit["end"], hit["text"]) == (one.modality, one.start, one.end, one.text)
    assert answer["hits"][0]["clip"]["labels"] == ["dog"]


def test_films_have_their_moments_and_their_length(client):
    answer = together(client, {"text": "the last train leaves the station"}, by="film", k=3)
    assert (answer["hits"], len(answer["films"])) == ([], 3)
    first = answer["films"][0]
    assert (first["source"], round(first["seconds"])) == (world.TRAIN, 12)
    best = first["hits"][0]
    assert (best["kind"], best["start"], best["end"]) == ("spoken", 7.5, 9.0)
    assert best["clip"] == first["clip"]["id"]
    refused = client.post("/api/search", json={"parts": [{"text": "rain"}], "run": "late", "by": "film"})
    assert (refused.status_code, refused.json()["code"]) == (422, "by")


def test_words_are_answered_with_confidence_where_an_index_is_calibrated(
    client, built, library, monkeypatch, few_phrases
):
    assert {hit["words"] for hit in search(client, {"text": "a dog barks"}, k=5, run="early")["hits"]} == {None}
    space = SharedSpace.from_pretrained(built / "runs" / "early", device="cpu")
    calibrate_index(library, space, "early")
    monkeypatch.setattr(runs, "FRESH", 0.0)
    hits = search(client, {"text": "a dog barks"}, run="early", k=50)["hits"]
    assert {hit["words"] for hit in hits} <= {"strong", "fair", "weak", "nothing close"}
    assert all(0 <= hit["confidence"] <= 1 for hit in hits)
    assert hits[0]["confidence"] > hits[-1]["confidence"]
    for other in ({"text": "a dog barks", "weight": -1}, {"clip": hits[0]["clip"]["id"]}):
        assert {hit["confidence"] for hit in search(client, other, run="early")["hits"]} == {None}
    assert {hit["words"] for hit in search(client, {"text": "a dog"}, run="early", hybrid=True)["hits"]} == {None}
    set_index(
        library, "early", {name: value for name, value in indexes(library)["early"].items() if name != "background"}
    )


def test_a_file_of_the_library_finds_itself(client, library):
    for clip in [c for c in library.clips() if c.source.startswith(("sounds/", "pictures/"))][::30]:
        sent = send(client, library.path_of(clip.source_of("audio" if clip.has_audio else "video")))
        assert sent.status_code == 201, sent.text
        kind = "sound" if clip.has_audio else "picture"
        assert (sent.json()["kind"], sent.json()["run"]) == (kind, "late")
        wanted = ["audio"] if clip.has_audio else ["video"]
        assert sent.json()["modalities"] == wanted
        answer = search(client, {"upload": sent.json()["id"]}, k=3, modalities=wanted)
        assert ids(answer)[0] == clip.id
        assert answer["hits"][0]["score"] == pytest.approx(1.0, abs=2e-3)


def test_a_video_is_searched_by_what_is_seen_or_heard_of_it(client, library):
    sent = send(client, library.path_of(world.TALK)).json()
    assert (sent["kind"], sent["modalities"]) == ("video", ["video", "audio"])
    assert sent["seconds"] == pytest.approx(world.SECONDS, abs=0.2)
    for modality in ("video", "audio"):
        answer = search(client, {"upload": sent["id"], "modality": modality}, k=1, modalities=[modality])
        assert ids(answer) == [world.TALK]
    assert ids(search(client, {"upload": sent["id"]}, k=2, modalities=["video", "audio"]))[0] == world.TALK


def test_words_and_a_sound_together_with_weights(client, library):
    dog = next(c for c in library.clips("array_has(labels, 'dog')"))
    rain = next(c for c in library.clips("array_has(labels, 'rain')"))
    mostly = {}
    for weight in (0.05, 10.0):
        answer = search(client, {"clip": dog.id}, {"clip": rain.id, "weight": weight}, k=5)
        assert not {dog.id, rain.id} & set(ids(answer)), "more like them, not they themselves"
        mostly[weight] = ids(answer)
    assert mostly[0.05] == ids(search(client, {"clip": dog.id}, k=6))[:5] or mostly[0.05] != mostly[10.0]
    sent = send(client, library.path_of(rain.source)).json()
    both = search(
        client, {"text": "a dog", "weight": 0.1}, {"upload": sent["id"], "weight": 10}, k=3, modalities=["audio"]
    )
    assert ids(both)[0] == rain.id
    assert ids(search(client, {"text": "a dog"}, {"upload": sent["id"], "weight": 0}, k=3)) == ids(
        search(client, {"text": "a dog"}, k=3)
    )


def test_filters(client, library):
    clips = {c.id: c for c in library.clips()}

    def found(**filters):
        return [clips[i] for i in ids(search(client, {"text": "rain"}, k=200, filters=filters))]

    assert {c.source.split("/")[0] for c in found(source="pictures/*")} == {"pictures"}
    assert {c.labels for c in found(labels=["rain", "dog"])} == {("rain",), ("dog",)}
    assert {c.split for c in found(splits=["test"])} == {"test"}
    assert all(2 <= c.end - c.start <= 4 for c in found(min_seconds=2, max_seconds=4))
    assert len(found(min_seconds=2, max_seconds=4)) == sum(2 <= c.end - c.start <= 4 for c in clips.values())
    assert [c.id for c in found(says="square moves")] == [world.TALK]
    assert found(labels=["'; DROP TABLE clips; --"]) == []
    assert found(source="' OR 1=1 --") == []


def test_hybrid_joins_the_words(client):
    answer = search(client, {"text": "square left to right"}, k=3, hybrid=True)
    assert ids(answer)[0] == world.TALK
    assert answer["hits"][0]["score"] == pytest.approx(2 / 61, abs=1e-3)


def test_runs_are_chosen_and_keep_their_uploads_apart(client, library):
    early, late = (search(client, {"text": "a fire"}, run=run) for run in ("early", "late"))
    assert (early["run"], late["run"]) == ("early", "late")
    assert [h["score"] for h in early["hits"]] != [h["score"] for h in late["hits"]]
    sent = send(client, MEDIA / "photos" / "panda.jpg", run="early").json()
    assert search(client, {"upload": sent["id"]}, run="early")["hits"]
    refused = client.post("/api/search", json={"parts": [{"upload": sent["id"]}], "run": "late"})
    assert (refused.status_code, refused.json()["code"]) == (404, "upload_gone")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"parts": []}, 422, "request"),
        ({"parts": [{}]}, 422, "request"),
        ({"parts": [{"text": "a", "clip": "b"}]}, 422, "request"),
        ({"parts": [{"clip": "nowhere"}]}, 404, "no_clip"),
        ({"parts": [{"text": "a"}, {"text": "a", "weight": -1}], "run": "late"}, 422, "query"),
        ({"parts": [{"clip": "nowhere"}], "run": "late"}, 404, "no_clip"),
        ({"parts": [{"text": "a"}], "kinds": ["smelt"]}, 422, "request"),
        ({"parts": [{"upload": "x"}], "run": "late"}, 404, "upload_gone"),
        ({"parts": [{"text": "a"}], "run": "none"}, 404, "no_run_of_that_name"),
        ({"parts": [{"text": "a"}], "k": 0}, 422, "request"),
        ({"parts": [{"text": "a"}], "filters": {"where": "1=1"}}, 422, "request"),
        ({"parts": [{"upload": "x"}]}, 404, "upload_gone"),
    ],
)
def test_a_query_that_cannot_be_asked_says_why(client, query, status, code):
    answer = client.post("/api/search", json=query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]


# -- all indexes together ----------------------------------------------------------------------------------------------


def test_moments_are_those_of_the_search_command(client, library):
    words = "the last train leaves the station"
    expected = open_library(library, device="cpu").search(words, k=7)
    answer = together(client, {"text": words}, k=7)
    assert {name: answer[name] for name in ("query", "words", "indexed", "clips")} == {
        "query": words,
        "words": expected.words,
        "indexed": expected.indexed,
        "clips": expected.clips,
    }
    for hit, moment in zip(answer["hits"], expected.hits, strict=True):
        assert hit.items() >= ({"also": []} | moment.plain()).items()
        assert (hit["clip"]["id"], hit["still"]) == (moment.clip, moment.still)


def test_a_spoken_line_answers_with_its_own_times(client):
    hit = together(client, {"text": "the last train leaves the station"}, k=1)["hits"][0]
    assert (hit["kind"], hit["start"], hit["end"], hit["still"]) == ("spoken", 7.5, 9.0, 8.25)
    assert hit["words"] == "strong"


def test_a_moment_answers_in_the_ways_asked_for(client):
    for kind in ("seen", "heard", "spoken"):
        assert {hit["kind"] for hit in together(client, {"text": "a dog"}, kinds=[kind])["hits"]} == {kind}
    some = together(client, {"text": "a dog"}, filters={"source": "pictures/*"})["hits"]
    assert {hit["clip"]["source"].split("/")[0] for hit in some} == {"pictures"}


def test_a_file_that_is_sent_finds_what_the_search_command_finds(client, library):
    searcher = open_library(library, device="cpu")
    for source, key in (("sounds/dog-0.opus", "audio"), (world.TALK, "video")):
        sent = send(client, library.path_of(source), run="")
        assert (sent.status_code, sent.json()["run"]) == (201, "")
        answer = together(client, {"upload": sent.json()["id"], "modality": key}, k=5)
        expected = searcher.search({key: str(library.path_of(source))}, k=5)
        assert [(hit["clip"]["id"], hit["kind"]) for hit in answer["hits"]] == [(m.clip, m.kind) for m in expected.hits]
        assert answer["words"] == expected.words
    heard = together(client, {"upload": sent.json()["id"], "modality": "audio"}, kinds=["heard"], k=1)["hits"][0]
    assert heard["clip"]["id"] == world.TALK
    wrong = client.post("/api/search", json={"parts": [{"upload": sent.json()["id"], "modality": "text"}]})
    assert wrong.status_code == 422
    gone = client.post("/api/search", json={"parts": [{"upload": sent.json()["id"]}], "run": "early"})
    assert gone.json()["code"] == "upload_gone"


def test_words_and_a_clip_together_find_more_like_both(client, library):
    dog = "sounds/dog-0.opus"
    like = ids(together(client, {"clip": dog}, kinds=["heard"], k=5))
    assert dog not in like
    mixed = together(client, {"clip": dog, "weight": 2.0}, {"text": "rain on a window"}, k=40)
    assert mixed["query"] == f"{dog} + rain on a window"
    assert dog not in ids(mixed)
    assert set(like) & set(ids(mixed))


def test_clips_that_come_are_found_without_a_restart(client, library, monkeypatch):
    monkeypatch.setattr(runs, "FRESH", -1.0)
    before = together(client, {"text": "a zebra crosses"})
    library.put_clips([Clip(id="new", texts=(Text("a zebra crosses"),))])
    try:
        after = together(client, {"text": "a zebra crosses"})
        assert after["clips"] == before["clips"] + 1
    finally:
        library.table("clips").delete("id = 'new'")


# -- media -------------------------------------------------------------------------------------------------------------


def test_media_by_ranges(client, library):
    clip = next(c for c in library.clips() if c.source.startswith("clips/"))
    content = library.path_of(clip.source).read_bytes()
    size = len(content)

    def get(wanted=None):
        headers = {"range": wanted} if wanted else {}
        return client.get("/api/media", params={"clip": clip.id}, headers=headers)

    whole = get()
    assert (whole.status_code, whole.content) == (200, content)
    assert (whole.headers["accept-ranges"], whole.headers["content-type"]) == ("bytes", "video/mp4")
    part = get("bytes=100-199")
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{size}"
    assert get("bytes=-50").content == content[-50:]
    assert get(f"bytes={size - 10}-").content == content[-10:]
    beyond = get(f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    head = client.head("/api/media", params={"clip": clip.id})
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))


def test_a_poster_is_a_small_picture(client, library):
    for clip in [c for c in library.clips() if c.has_video][::25]:
        answer = client.get("/api/poster", params={"clip": clip.id})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.content[:3] == b"\xff\xd8\xff"
        assert len(answer.content) < 60_000
    assert client.get("/api/poster", params={"clip": clip.id}).content == answer.content


def test_a_poster_is_of_the_second_asked_for(client):
    import io

    from PIL import Image

    def bright(at):
        answer = client.get("/api/poster", params={"clip": world.TALK, "at": at})
        image = Image.open(io.BytesIO(answer.content)).convert("L")
        columns = [sum(image.getpixel((x, image.height // 2 + d)) for d in (-4, 0, 4)) for x in range(image.width)]
        return columns.index(max(columns)) / image.width

    assert bright(0.5) < bright(3.0) < bright(5.5)


def test_peaks_follow_the_loudness(client, library):
    clip = next(c for c in library.clips() if c.source.startswith("sounds/"))
    found = client.get("/api/peaks", params={"clip": clip.id}).json()
    assert (found["start"], found["end"]) == (clip.start, clip.end)
    assert len(found["peaks"]) == 240
    assert max(found["peaks"]) == 1.0
    assert min(found["peaks"]) >= 0


def test_what_browsers_do_not_play_has_a_preview(client, tmp_path):
    clip = client.get("/api/clip", params={"id": world.TALK}).json()
    assert (clip["kind"], clip["played"], clip["missing"]) == ("video", False, False)
    answer = client.get("/api/preview", params={"clip": world.TALK})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    (tmp_path / "preview.mp4").write_bytes(answer.content)
    with av.open(str(tmp_path / "preview.mp4")) as container:
        assert [s.codec_context.name for s in container.streams] in (["aac", "h264"], ["h264", "aac"])
        assert container.duration / 1e6 == pytest.approx(world.SECONDS, abs=0.3)
    part = client.get("/api/preview", params={"clip": world.TALK}, headers={"range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, answer.content[:10])


def test_a_preview_goes_on_over_the_clips_of_a_moment(client, tmp_path):
    clip = f"{world.TRAIN}#5.000-11.000"
    answer = client.get("/api/preview", params={"clip": clip, "start": 3.0, "end": 5.5})
    (tmp_path / "preview.mp4").write_bytes(answer.content)
    with av.open(str(tmp_path / "preview.mp4")) as container:
        assert container.duration / 1e6 == pytest.approx(2.5, abs=0.3)
    elsewhere = client.get("/api/preview", params={"clip": clip, "start": 0.0, "end": 4.0})
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "no_media")


def test_the_map_has_every_clip_once(client, library):
    drawn = client.get("/api/map", params={"run": "late"}).json()
    assert sorted(drawn["ids"]) == sorted(c.id for c in library.clips())
    assert all(0 <= v <= 1 for v in drawn["x"] + drawn["y"])
    assert min(drawn["x"]) == 0
    assert max(drawn["x"]) == 1
    labels = drawn["colours"]["label"]
    clips = {c.id: c for c in library.clips()}
    for name, group in zip(drawn["ids"], labels["of"], strict=True):
        assert labels["names"][group] == (clips[name].labels[0] if clips[name].labels else "none")
    assert set(drawn["colours"]) == {"label", "cluster", "source", "kind", "split"}


def test_twenty_clients_at_once(client):
    words = ["a dog", "rain", "sea waves", "a baby"]
    sound = (MEDIA / "sounds" / "dog.opus").read_bytes()

    def own(n):
        """Everything that is asked for, one answer after the other; what differs from time to time is left out."""
        word = {"text": words[n % len(words)]}
        found = together(client, word, k=10) | {"milliseconds": 0.0}
        by_film = together(client, word, by="film", k=4)["films"]
        films = client.get("/api/films", params={"by": "folder", "offset": 25 * n, "limit": 5}).json()["films"]
        source = films[n]["name"]
        film = client.get("/api/film", params={"file": source}).json()
        poster = client.get("/api/poster", params={"clip": world.TALK})
        assert (film["name"], poster.status_code) == (Path(source).name, 200)
        return ids(search(client, word, k=10)), found, by_film, films, film, poster.content

    def upload():
        sent = client.post("/api/uploads", params={"run": "late"}, content=sound).json()
        return search(client, {"upload": sent["id"]}, k=1, modalities=["audio"])["hits"][0]["score"]

    alone = [own(n) for n in range(4)]
    with ThreadPoolExecutor(20) as pool:
        scores = [pool.submit(upload) for _ in range(3)]
        assert list(pool.map(own, [n % 4 for n in range(20)])) == 5 * alone
    assert len({round(score.result(), 5) for score in scores}) == 1


def test_a_new_index_is_seen_without_a_restart(client, built, monkeypatch):
    from seehear.search.index import build_index

    space = SharedSpace.from_pretrained(built / "runs" / "early", device="cpu")
    build_index(LibraryTables.open(built / "lib"), space, name="again", model=str(built / "runs" / "early"))
    monkeypatch.setattr(runs, "FRESH", -1.0)  # the server looks at the library whenever it is asked
    try:
        assert client.get("/api/status").json()["runs"][0]["name"] == "again"
        assert together(client, {"text": "rain"})["hits"], "until it is calibrated the others answer"
        assert ids(search(client, {"text": "rain"}, run="again")) == ids(search(client, {"text": "rain"}, run="early"))
    finally:
        LibraryTables.open(built / "lib").drop("vectors_again")
    assert [run["name"] for run in client.get("/api/status").json()["runs"]] == [*FROZEN, "late", "early"]


def test_the_openapi_names_every_address(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {f"/api/{n}" for n in ("clip", "clips", "map", "media", "peaks", "poster", "preview")} | {
        "/api/cut",
        "/api/export",
        "/api/films",
        "/api/suggest",
        "/api/labels",
        "/api/learn",
        "/api/film",
        "/api/heard",
        "/api/loudness",
        "/api/part",
        "/api/progress",
        "/api/saved",
        "/api/search",
        "/api/status",
        "/api/texts",
        "/api/uploads",
    }
    assert json.dumps(paths).count('"summary"') >= len(paths)
    assert threading.active_count() < 80
