"""One film, sound or photo whole: GET /api/film, /api/loudness and /api/heard."""

from types import SimpleNamespace

import av
import numpy as np
import pytest

from seehear.library.records import COPY_OF, Source, clip_id
from seehear.library.tables import Clip, LibraryTables, Reject, Text
from seehear.search.background import Calibration
from seehear.serve.files import Folders
from seehear.serve.film import NamedSound, film_detail, named_sounds, timed_texts
from seehear.serve.problems import Problem
from tests.serve import world
from tests.small_media import write_sound

RATE = 48_000


def of(client, file, what="film"):
    answer = client.get(f"/api/{what}", params={"file": file})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_film_has_its_scenes_and_all_its_texts_by_time(client):
    film = of(client, world.TRAIN)
    assert (film["name"], film["folder"], film["kind"]) == ("train.mp4", "talk", "video")
    assert film["seconds"] == pytest.approx(12.0, abs=0.2)
    assert (film["has_sound"], film["separate_sound"], film["played"], film["problem"]) == (True, False, True, None)
    assert film["bytes"] > 1000
    assert (film["width"], film["height"], film["fps"]) == (192, 128, 12.0)
    assert film["changed"].startswith("20")
    assert [(s["start"], s["end"], s["searchable"], s["labels"]) for s in film["scenes"]] == [
        (start, end, True, [world.NIGHT]) for start, end, _ in world.TOLD
    ]
    said = [(t["text"], t["start"], t["end"]) for t in film["texts"]]
    assert said == [(t["text"], t["start"], t["end"]) for _, _, texts in world.TOLD for t in texts]
    assert {(t["kind"], t["machine"]) for t in film["texts"]} == {("subtitle", False)}


@pytest.mark.parametrize(
    ("file", "kind", "played"),
    [("sounds/dog-0.opus", "sound", True), ("pictures/moose.jpg", "picture", True), (world.TALK, "video", False)],
)
def test_every_kind_of_file(client, file, kind, played):
    film = of(client, file)
    assert (film["kind"], film["played"]) == (kind, played)
    assert len(film["scenes"]) == 1
    assert (film["seconds"] == 0) == (kind == "picture")


def test_a_film_is_made_playable_part_by_part(client, tmp_path):
    """Also where no clip is: subtitles leave gaps between their lines."""
    answer = client.get("/api/part", params={"file": world.TRAIN, "start": 11.2})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    (tmp_path / "part.mp4").write_bytes(answer.content)
    with av.open(str(tmp_path / "part.mp4")) as container:
        assert container.duration / 1e6 == pytest.approx(0.8, abs=0.2)
    beyond = client.get("/api/part", params={"file": world.TRAIN, "start": 99.0})
    assert (beyond.status_code, beyond.json()["code"]) == (404, "no_media")


def test_a_text_in_two_clips_is_one_line():
    line = Text("across the cut", 4.0, 6.0, kind="speech", by="whisper", confidence=0.7)
    clips = [
        Clip(id="a#0-5", source="a", end=5.0, texts=(Text("the whole film"), line, Text("its beginning"))),
        Clip(
            id="a#5-9",
            source="a",
            start=5.0,
            end=9.0,
            texts=(Text("the whole film"), line, Text("EXIT", 7, 8, "screen", "ocr")),
        ),
    ]
    found = [tuple(line[name] for name in ("text", "kind", "start", "end", "machine")) for line in timed_texts(clips)]
    assert found == [
        ("the whole film", "caption", None, None, False),
        ("its beginning", "caption", 0.0, 5.0, False),
        ("across the cut", "spoken", 4.0, 6.0, True),
        ("EXIT", "screen", 7.0, 8.0, True),
    ]


def test_what_a_library_knows_of_a_file_without_clips_of_its_own(tmp_path):
    """A copy has the clips of its original; of a broken file the reason is told; another is not there."""
    library = LibraryTables.create(tmp_path / "lib")
    library.add_root(tmp_path)
    library.put_clips([Clip(id="a.mp4", source="a.mp4", end=3.0, has_video=True)])
    library.put_sources([Source(source="b.mp4", size=7, mtime_ns=0, fingerprint="0" * 16, info={COPY_OF: "a.mp4"})])
    library.put_rejects([Reject(path="c.mp4", stage="probe", reason="it is damaged")])
    folders = Folders(library, library.roots())
    copy = film_detail(library, folders, "b.mp4")
    assert ([scene.id for scene in copy.scenes], copy.also) == (["a.mp4"], ["a.mp4"])
    assert not copy.scenes[0].searchable, "there is no index"
    assert copy.problem is not None
    assert "no longer at" in copy.problem.message
    for file, code, words in (("c.mp4", "broken", "it is damaged"), ("d'.mp4", "no_film", "d'.mp4")):
        with pytest.raises(Problem, match=words) as refusal:
            film_detail(library, folders, file)
        assert refusal.value.code == code


def test_a_long_film_is_read_with_few_questions(tmp_path, monkeypatch):
    """720 scenes and 2,000 lines: the library is asked a fixed number of times, and no file is looked up twice."""
    library = LibraryTables.create(tmp_path / "lib")
    library.add_root(tmp_path)
    clips = [
        Clip(
            id=clip_id("long.mp4", 10.0 * n, 10.0 * n + 10),
            source="long.mp4",
            start=10.0 * n,
            end=10.0 * n + 10,
            has_video=True,
            texts=tuple(Text(f"line {n} {k}", 10.0 * n + k, 10.0 * n + k + 1) for k in range(3)),
        )
        for n in range(720)
    ]
    library.put_clips(clips)
    looked = []
    monkeypatch.setattr(Folders, "file", lambda self, clip, modality: looked.append(clip.id))
    film = film_detail(library, Folders(library, library.roots()), "long.mp4")
    assert (len(film.scenes), len(film.texts), film.seconds) == (720, 2160, 7200.0)
    assert len(looked) == 1


# -- sound -------------------------------------------------------------------------------------------------------------


def test_the_loudness_of_a_tone(client):
    loud = of(client, world.TRAIN, "loudness")
    assert loud["seconds"] == pytest.approx(12.0, abs=0.2)
    assert len(loud["levels"]) == 1000
    assert np.median(loud["levels"]) == pytest.approx(1 - 11 / 60, abs=0.02), "-11 dB"
    assert of(client, world.TRAIN, "loudness") == loud
    silent = client.get("/api/loudness", params={"file": "pictures/moose.jpg"})
    assert (silent.status_code, silent.json()["code"]) == (404, "no_media")


def test_a_long_sound_is_measured_by_the_beginnings_of_its_parts(tmp_path, monkeypatch):
    from seehear.serve import decoders as loudness

    times = np.arange(20 * RATE) / RATE
    wave = np.sin(2 * np.pi * 440 * times) * np.where(times < 10, 0.5, 0.005)
    write_sound(tmp_path / "long.opus", wave.astype(np.float32))
    whole = loudness.loudness(str(tmp_path / "long.opus"), 20.0)
    monkeypatch.setattr(loudness, "DECODED", 2.0)
    monkeypatch.setattr(loudness, "PARTS", 20)
    parts = loudness.loudness(str(tmp_path / "long.opus"), 20.0)
    assert len(parts) == 20
    # 0.5 of full scale is -9 dB, a hundredth of that -49 dB; 60 dB are the scale
    assert parts[1:9] == pytest.approx([1 - 9 / 60] * 8, abs=0.03)
    assert parts[12:] == pytest.approx([1 - 49 / 60] * 8, abs=0.06)
    assert whole[100:400] == pytest.approx([1 - 9 / 60] * 300, abs=0.03)


def test_sounds_are_named_where_an_index_is_sure(client):
    assert of(client, world.TRAIN, "heard") == {"sounds": []} or all(
        sound["words"] in ("strong", "fair") for sound in of(client, world.TRAIN, "heard")["sounds"]
    )
    clips = [Clip(id=f"a#{n}", source="a", start=n, end=n + 1.0, has_audio=True) for n in range(4)]
    found = named_sounds(heard_by(clips, {"rain": [5.0, 9.0, 5.0, -9.0], "thunder": [-9.0, -9.0, 9.0, -9.0]}), clips)
    assert found == [
        NamedSound(name="rain", start=0.0, end=2.0, words="strong"),
        NamedSound(name="thunder", start=2.0, end=3.0, words="strong"),
    ]
    assert named_sounds(heard_by(clips, {}, calibrated=False), clips) == [], (
        "an index that hears no words names nothing"
    )


def heard_by(clips, heights, calibrated=True):
    """A search with one index; `heights` above the calibrated middle of each sound's name for each clip."""
    axes = ["", *heights]
    table = {clip.id: clip for clip in clips}
    vectors_NE = np.array([[0.0, *(heights[name][n] for name in heights)] for n in range(len(clips))], np.float32)
    scales = {"heard": (0.0, 0.0, 1.0)} if calibrated else {}
    index = SimpleNamespace(
        calibration=Calibration({"background": {"mean": [0.0] * len(axes), "scales": scales}}),
        count=lambda kind: len(clips),
        rows=lambda kind: slice(0, len(clips)),
        vectors_NE=vectors_NE,
        clips_N=np.arange(len(clips)),
        space=SimpleNamespace(
            modalities=("audio", "text"),
            encode_query=lambda texts: np.eye(len(axes), dtype=np.float32)[
                [axes.index(t) if t in axes else 0 for t in texts]
            ],
        ),
        clips=SimpleNamespace(
            mask=lambda ids: np.array([clip.id in ids for clip in clips]),
            ids=lambda places: [clips[n].id for n in places],
        ),
    )
    return SimpleNamespace(indexes=[index], clips=table)
