"""Sets of labelled sounds and videos, with their folds and lists, from official files in their true formats."""

import json

import pytest

from seehear.errors import SeehearError
from tests.datasets.sets import imported, official, originals, put, rejects, write


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def splits(clips):
    return {id: clip.split for id, clip in clips.items()}


# -- sounds ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def esc(root, media):
    rows = [f"{fold}-10{fold}-A-0.wav,{fold},0,dog,True,10{fold},A" for fold in range(1, 6)]
    rows += ["1-200-A-36.wav,1,36,vacuum_cleaner,False,200,A", "1-200-B-36.wav,9,36,vacuum_cleaner,False,200,B"]
    write(root / "meta" / "esc50.csv", "\n".join(["filename,fold,target,category,esc10,src_file,take", *rows]))
    put(media["sound"], root, *(f"audio/{row.split(',')[0]}" for row in rows))
    return root


def test_esc50_folds(esc):
    clips, report = imported("esc50", esc, fold=5)
    assert splits(clips) == {
        "1-101-A-0": "val",
        "1-200-A-36": "val",
        "2-102-A-0": "train",
        "3-103-A-0": "train",
        "4-104-A-0": "train",
        "5-105-A-0": "test",
    }
    clip = clips["1-200-A-36"]
    assert (clip.labels, clip.group) == (("vacuum cleaner",), "200")
    assert clip.meta == {"fold": "1", "target": "36", "esc10": "False"}
    assert rejects(esc) == {"esc50/meta/esc50.csv:8": "fold '9' is none of 1 to 5"}
    assert report.bad_rows == 1


def test_esc10_and_all_folds_at_once(esc):
    clips, _ = imported("esc10", esc, fold=0)
    assert len(clips) == 5
    assert {clip.split for clip in clips.values()} == {"train"}
    assert sorted(clip.meta["fold"] for clip in clips.values()) == ["1", "2", "3", "4", "5"]
    with pytest.raises(SeehearError, match="has folds 1 to 5, 0 for all; got 6"):
        imported("esc10", esc, fold=6)


def test_speech_commands(root, media):
    write(root / "validation_list.txt", "bed/0a_nohash_0.wav\nbed\ncat/zz_nohash_0.wav\n")
    write(root / "testing_list.txt", "cat/0a_nohash_0.wav\n")
    names = ["bed/0a_nohash_0.wav", "bed/0b_nohash_0.wav", "bed/0b_nohash_1.wav", "cat/0a_nohash_0.wav"]
    put(media["sound"], root, *names, "_background_noise_/pink_noise.wav")
    clips, report = imported("speech-commands", root)
    assert splits(clips) == {
        "bed/0a_nohash_0": "val",
        "bed/0b_nohash_0": "train",
        "bed/0b_nohash_1": "train",
        "cat/0a_nohash_0": "test",
    }
    assert (clips["bed/0b_nohash_1"].labels, clips["bed/0b_nohash_1"].group) == (("bed",), "0b")
    assert report.missing_first == ("cat/zz_nohash_0",)
    assert rejects(root)["speech-commands/validation_list.txt:2"].startswith("'bed' is no clip")


def test_grid_says_its_words_in_file_names(root, media):
    """Two layouts, pictures before sound alone; four speakers are the test; other files are none of it."""
    put(media["film"], root, "s3/bbaf2n.mpg", "s1/video/mpg_6000/swwz9a.mpg", "s4/notes.mpg", "bbaf2n.mpg")
    put(media["sound"], root, "audio_25k/s3/bbaf2n.wav", "audio_25k/s34/lgiz2p.wav", "s4/bbaf2x.wav")
    clips, report = imported("grid", root)
    assert splits(clips) == {"s3/bbaf2n": "train", "s1/swwz9a": "test", "s34/lgiz2p": "train"}
    clip = clips["s3/bbaf2n"]
    assert (clip.has_video, clip.source) == (True, "s3/bbaf2n.mpg")
    assert [text.text for text in clip.texts] == ["bin blue at f two now"]
    assert clip.meta == {
        "speaker": "s3", "command": "bin", "color": "blue", "preposition": "at", "letter": "f", "digit": "two",
        "adverb": "now",
    }  # fmt: skip
    assert [t.text for t in clips["s34/lgiz2p"].texts] == ["lay green in z two please"]
    assert not clips["s34/lgiz2p"].has_video
    held, _ = imported("grid", root, val=0.5)
    assert {clip.split for clip in held.values()} <= {"train", "val", "test"}
    assert "has no validation split: --val 0.1" in report.notes[0]


def test_grid_without_its_files(root, media):
    put(media["film"], root, "film.mpg")
    with pytest.raises(SeehearError, match="does not look like GRID: expected s1/bbaf2n"):
        imported("grid", root)


# -- ten seconds of YouTube --------------------------------------------------------------------------------------------


def test_audioset_with_its_variants(root, media):
    """Comments and blanks after the commas in one file, a header and none in another; labels by name."""
    official(root, "class_labels_indices.csv", "eval_segments.csv", "balanced_train_segments.csv")
    plain = 'AAAAAAAAAAA,30.000,40.000,"/m/09x0r"\nBBBBBBBBBBB,0.000,10.000,"/m/nowhere"\nCCCCCCCCCCC,5,5,"/m/09x0r"\n'
    write(root / "unbalanced_train_segments.csv", plain)
    put(media["sound"], root, "audio/--4gqARaEJE.wav", "audio/--BfvyPmVMo_20.000_30.000.wav")
    put(media["ten"], root, "video/--4gqARaEJE.mp4", "video/--PJHxphWEs_30000_40000.mp4")
    put(media["recording"], root, "audio/YAAAAAAAAAAA.wav")
    clips, report = imported("audioset", root)
    assert {id: (clip.split, clip.source, clip.start, clip.meta["subset"]) for id, clip in clips.items()} == {
        "--4gqARaEJE_0": ("test", "video/--4gqARaEJE.mp4", 0.0, "eval"),
        "--BfvyPmVMo_20": ("test", "audio/--BfvyPmVMo_20.000_30.000.wav", 0.0, "eval"),
        "--PJHxphWEs_30": ("train", "video/--PJHxphWEs_30000_40000.mp4", 0.0, "balanced"),
        "AAAAAAAAAAA_30": ("train", "audio/YAAAAAAAAAAA.wav", 30.0, "unbalanced"),
    }
    assert clips["--4gqARaEJE_0"].labels == ("Domestic animals, pets", "Squeak", "Dog", "Animal")
    # Cut out already, and 0.4 s too long as cuts on key frames are: all of it.
    assert clips["--4gqARaEJE_0"].end == pytest.approx(10.4, abs=0.2)
    assert (clips["AAAAAAAAAAA_30"].end, clips["AAAAAAAAAAA_30"].group) == (40.0, "AAAAAAAAAAA")
    said = rejects(root)
    assert said["audioset/unbalanced_train_segments.csv:2"].startswith("label '/m/nowhere' is not in")
    assert said["audioset/unbalanced_train_segments.csv:3"] == "ends at 5 s, but starts at 5 s"
    assert said["audioset/eval_segments.csv:6"].startswith("its media file is not on disk")
    assert (report.rows, report.bad_rows, report.media, report.missing) == (13, 2, 4, 7)
    few, _ = imported("audioset", root, splits=("test",))
    assert set(few) == {"--4gqARaEJE_0", "--BfvyPmVMo_20"}


def test_audioset_20k_leaves_the_unbalanced_set_out(root, media):
    official(root, "class_labels_indices.csv", "balanced_train_segments.csv", "eval_segments.csv")
    write(root / "unbalanced_train_segments.csv", 'AAAAAAAAAAA, 0.000, 10.000, "/m/09x0r"\n')
    put(media["sound"], root, "--PJHxphWEs.wav", "AAAAAAAAAAA.wav")
    clips, _ = imported("audioset-20k", root)
    assert set(clips) == {"--PJHxphWEs_30"}


def test_vggsound_whole_or_by_lists(root, media):
    official(root, "vggsound_test.csv=test.csv", folder="data")
    put(media["sound"], root, "audio/glLQrEijrKg_000300.wav", "audio/glLQrEijrKg_000301.flac.wav")
    put(media["film"], root, "video/6jiO0tPLK7U_000090.mp4", "video/LDoXsip0BEQ_000099.mp4")
    clips, report = imported("vggsound", root)
    assert {id: (clip.split, clip.labels, clip.source) for id, clip in clips.items()} == {
        "glLQrEijrKg_000300": ("test", ("playing hammond organ",), "audio/glLQrEijrKg_000300.wav"),
        "6jiO0tPLK7U_000090": ("test", ("basketball bounce",), "video/6jiO0tPLK7U_000090.mp4"),
    }
    assert set(report.missing_first) == {"LDoXsip0BEQ", "cRlp5v9BHeE"}
    whole = 'glLQrEijrKg,300,"playing organ, loud",train\n6jiO0tPLK7U,90,x,dev\n6jiO0tPLK7U,soon,x,test\n'
    write(root / "vggsound.csv", whole)
    clips, _ = imported("vggsound", root)
    assert {id: (clip.split, clip.labels) for id, clip in clips.items()} == {
        "glLQrEijrKg_000300": ("train", ("playing organ, loud",)),
    }
    assert rejects(root)["vggsound/vggsound.csv:2"] == "split 'dev' is neither train nor test"
    assert rejects(root)["vggsound/vggsound.csv:3"] == "start_seconds 'soon' is no time in seconds"


def test_vggsounder_keeps_what_is_heard_and_what_is_seen(root, media):
    header = "video_id,label,modality,background_music,static_image,voice_over\n"
    rows = 'aaaaaaaaaaa_000010,dog barking,A,False,False,True\naaaaaaaaaaa_000010,"speech, man",AV,False,False,True\n'
    rows += "aaaaaaaaaaa_000010,car passing,V,False,False,True\nbad,x,A,False,False,False\n"
    write(root / "data" / "vggsounder.csv", header + rows)
    put(media["film"], root, "aaaaaaaaaaa_000010.mp4")
    clips, report = imported("vggsounder", root)
    clip = clips["aaaaaaaaaaa_000010"]
    assert (clip.split, clip.labels) == ("test", ("dog barking", "speech, man", "car passing"))
    assert clip.meta["heard"] == "dog barking|speech, man"
    assert clip.meta["seen"] == "speech, man|car passing"
    assert (clip.meta["voice_over"], clip.meta["static_image"]) == ("True", "False")
    assert (report.rows, report.bad_rows) == (2, 1)


# -- actions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"),
    [("kinetics400", "kinetics400_val.csv"), ("kinetics600", "kinetics600_val.csv=kinetics-600_val.csv")],
)
def test_kinetics(root, media, name, file):
    official(root, file)
    first = {"kinetics400": "0wR5jVB-WPk_000417_000427", "kinetics600": "yq_M1PMw2hY_000038_000048"}[name]
    other = {"kinetics400": "3caPS4FHFF8", "kinetics600": "7pRfb0t34uo"}[name]
    put(media["film"], root, f"val/abseiling/{first}.mp4", f"val/{other}.mp4")
    clips, report = imported(name, root)
    assert clips[first].source == f"val/abseiling/{first}.mp4"
    assert {(clip.split, clip.labels) for clip in clips.values()} == {("val", ("abseiling",))}
    assert len(clips) == 2  # one that is shorter than asked for is the part itself
    assert (report.rows, report.missing) == (4, 2)


UCF = ["v_ApplyEyeMakeup_g01_c01", "v_ApplyEyeMakeup_g08_c01", "v_HandStandPushups_g08_c01"]


@pytest.fixture
def ucf(root, media):
    write(root / "ucfTrainTestlist" / "classInd.txt", "1 ApplyEyeMakeup\n37 HandstandPushups\n")
    eye, other, hand = f"ApplyEyeMakeup/{UCF[0]}.avi", f"ApplyEyeMakeup/{UCF[1]}.avi", f"HandstandPushups/{UCF[2]}.avi"
    lists = {
        "trainlist01": [f"{other} 1", f"{hand} 37", "Nothing/v_Nothing_g01_c01.avi 99"],
        "testlist01": [eye],
        "trainlist02": [f"{eye} 1", f"{other} 1"],
        "testlist02": [hand],
    }
    for name, listed in lists.items():
        write(root / "ucfTrainTestlist" / f"{name}.txt", "\r\n".join(listed) + "\r\n")
    for clip, folder in zip(UCF, ("ApplyEyeMakeup", "ApplyEyeMakeup", "HandstandPushups"), strict=True):
        put(media["film"], root, f"UCF-101/{folder}/{clip}.avi")
    return root


def test_ucf101(ucf):
    clips, report = imported("ucf101", ucf)
    assert splits(clips) == dict(zip(UCF, ("test", "train", "train"), strict=True))
    clip = clips[UCF[2]]
    assert (clip.labels, clip.group) == (("Handstand Pushups",), "v_HandStandPushups_g08")
    assert clip.meta == {"class": "HandstandPushups", "split1": "train", "split2": "test"}
    assert rejects(ucf) == {
        "ucf101/ucfTrainTestlist/trainlist01.txt:3": "'Nothing/v_Nothing_g01_c01.avi' is of no class of classInd.txt"
    }
    clips, _ = imported("ucf101", ucf, fold=2)
    assert splits(clips) == dict(zip(UCF, ("train", "train", "test"), strict=True))
    with pytest.raises(SeehearError, match="neither trainlist03"):
        imported("ucf101", ucf, fold=3)
    assert any("--val 0.1" in note for note in report.notes)


HMDB = [
    "April_09_brush_hair_u_nm_np1_ba_goo_0",
    "Aussie_Brunette_Brushing_Hair_II_brush_hair_u_nm_np1_ba_goo_4",
    "Aussie_Brunette_Brushing_Hair_II_brush_hair_u_nm_np1_ri_med_3",
    "Aussie_Brunette_Brushing_Hair_II_brush_hair_u_nm_np2_le_goo_0",
    "Aussie_Brunette_Brushing_Long_Hair_brush_hair_u_nm_np1_ba_med_3",
]


@pytest.mark.parametrize("own", [True, False])
def test_hmdb51_by_its_lists_or_by_the_table(root, media, own):
    if own:
        uses = {1: "1,0,1,1,2", 2: "1,0,2,2,1", 3: "2,1,1,1,1"}
        for n, said in uses.items():
            listed = [f"{name}.avi {use} " for name, use in zip(HMDB, said.split(","), strict=True)]
            write(root / "testTrainMulti_7030_splits" / f"brush_hair_test_split{n}.txt", "\n".join(listed))
    else:
        official(root, "hmdb51.csv")
    put(media["film"], root, *(f"brush_hair/{name}.avi" for name in HMDB))
    clips, _ = imported("hmdb51", root)
    assert splits(clips) == {HMDB[0]: "train", HMDB[2]: "train", HMDB[3]: "train", HMDB[4]: "test"}
    clip = clips[HMDB[4]]
    assert (clip.labels, clip.group) == (("brush hair",), "Aussie_Brunette_Brushing_Long_Hair")
    assert clip.meta == {"class": "brush_hair", "split1": "test", "split2": "train", "split3": "train"}
    everything, _ = imported("hmdb51", root, fold=0)
    assert set(everything) == set(HMDB)
    assert everything[HMDB[1]].meta == {"class": "brush_hair", "split3": "train"}


# -- events ------------------------------------------------------------------------------------------------------------


def test_ave(root, media):
    write(root / "trainSet.txt", "Church bell&aaaaaaaaaaa&good&0&10\n")
    write(
        root / "testSet.txt",
        "Category&VideoID&Quality&StartTime&EndTime\nMale speech, man speaking&bbbbbbbbbbb&good&2&7\nx\n",
    )
    put(media["film"], root, "AVE/aaaaaaaaaaa.mp4", "AVE/bbbbbbbbbbb.mp4")
    clips, report = imported("ave", root)
    assert {id: (clip.split, clip.labels) for id, clip in clips.items()} == {
        "aaaaaaaaaaa": ("train", ("Church bell",)),
        "bbbbbbbbbbb": ("test", ("Male speech, man speaking",)),
    }
    assert (clips["bbbbbbbbbbb"].meta["event_start"], clips["bbbbbbbbbbb"].meta["event_end"]) == ("2", "7")
    assert rejects(root)["ave/testSet.txt:3"].startswith("has 1 fields, expected 5")
    assert any("valSet.txt (val)" in note for note in report.notes)


def test_llp(root, media):
    write(root / "AVVP_train.csv", "filename\tevent_labels\naaaaaaaaaaa_23_33\tDog,Baby_cry_infant_cry\n")
    write(root / "AVVP_test_pd.csv", "filename\tevent_labels\nbbbbbbbbbbb_1_11\tSpeech\nbbbbbbbbbbb\tSpeech\n")
    heard = "filename\tonset\toffset\tevent_labels\nbbbbbbbbbbb_1_11\t0\t4\tSpeech\nbbbbbbbbbbb_1_11\t6\tx\tSpeech\n"
    write(root / "AVVP_eval_audio.csv", heard)
    put(media["film"], root, "aaaaaaaaaaa_23_33.mp4", "bbbbbbbbbbb.mp4")
    clips, report = imported("llp", root)
    assert clips["aaaaaaaaaaa_23_33"].labels == ("Dog", "Baby cry infant cry")
    assert json.loads(clips["bbbbbbbbbbb_1_11"].meta["events_heard"]) == [[0.0, 4.0, "Speech"]]
    assert "events_seen" not in clips["bbbbbbbbbbb_1_11"].meta
    assert clips["bbbbbbbbbbb_1_11"].group == "bbbbbbbbbbb"
    assert report.bad_rows == 1
    assert any("AVVP_eval_audio.csv:3" in note for note in report.notes)
