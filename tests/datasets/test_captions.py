"""Sets of pictures, sounds and videos with captions, from official files in their true formats."""

import pytest

from seehear.errors import SeehearError
from tests.datasets.sets import imported, official, originals, put, rejects, texts, write


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def karpathy(dataset, *images):
    def image(name, split, said, **more):
        sentences = [{"tokens": text.split(), "raw": text, "imgid": 0, "sentid": i} for i, text in enumerate(said)]
        return {"filename": name, "split": split, "sentences": sentences, "sentids": [0], "imgid": 0} | more

    return {"images": [image(*some[:3], **some[3]) for some in images], "dataset": dataset}


def test_flickr30k(root, media):
    said = [f"caption {n}" for n in range(5)]
    images = [("1.jpg", "train", said, {}), ("2.jpg", "val", said, {}), ("3.jpg", "test", [*said[:4], " "], {})]
    write(root / "dataset_flickr30k.json", karpathy("flickr30k", *images, ("4.jpg", "test", said, {})))
    put(media["picture"], root, "flickr30k-images/1.jpg", "flickr30k-images/2.jpg", "flickr30k-images/3.jpg")
    clips, report = imported("flickr30k", root)
    assert {id: clip.split for id, clip in clips.items()} == {"1": "train", "2": "val", "3": "test"}
    assert texts(clips["2"]) == said
    assert texts(clips["3"]) == said[:4]
    assert clips["1"].source == "flickr30k-images/1.jpg"
    assert (clips["1"].has_video, clips["1"].has_audio) == (True, False)
    assert (report.rows, report.media, report.missing, report.missing_first) == (4, 3, 1, ("4",))
    assert rejects(root) == {
        "flickr30k/dataset_flickr30k.json:4": "its media file is not on disk (rows of 4)",
    }


def test_coco_by_karpathy_in_both_layouts(root, media):
    old, new = "COCO_val2014_000000000042.jpg", "COCO_train2014_000000000009.jpg"
    images = [
        (old, "test", ["a shoe"], {"filepath": "val2014", "cocoid": 42}),
        (new, "restval", ["a meal"], {"filepath": "train2014", "cocoid": 9}),
    ]
    write(root / "annotations" / "dataset_coco.json", karpathy("coco", *images))
    put(media["picture"], root, f"val2014/{old}", "train2017/000000000009.jpg")
    clips, _ = imported("coco", root)
    found = {id.removesuffix(".jpg"): (clip.split, clip.source) for id, clip in clips.items()}
    assert found == {
        "COCO_val2014_000000000042": ("test", f"val2014/{old}"),
        "COCO_train2014_000000000009": ("train", "train2017/000000000009.jpg"),
    }
    assert clips["COCO_train2014_000000000009"].meta == {"karpathy": "restval"}


def test_coco_by_its_own_files_has_no_test_split(root, media):
    official(root, "captions_val2017.json", folder="annotations")
    put(media["picture"], root, "val2017/000000397133.jpg", "val2017/000000252219.jpg")
    clips, report = imported("coco", root)
    assert [clip.split for clip in clips.values()] == ["val", "val"]
    assert "A man is in a kitchen making pizzas." in texts(clips["000000397133"])
    assert len(texts(clips["000000252219"])) == 5
    assert any("Karpathy's" in note for note in report.notes)
    assert any("captions_train2017.json (train)" in note for note in report.notes)


def test_a_karpathy_file_of_another_set(root, media):
    write(root / "dataset_flickr30k.json", karpathy("flickr8k", ("1.jpg", "train", ["x"], {})))
    with pytest.raises(SeehearError, match="is of 'flickr8k', expected 'flickr30k'"):
        imported("flickr30k", root)


def test_images_that_are_none(root, media):
    good = karpathy("flickr30k", ("1.jpg", "train", ["x"], {}), ("1b.jpg", "elsewhere", ["x"], {}))["images"]
    bad = [{"filename": "2.jpg"}, "3.jpg", {"filename": "4.jpg", "split": "test", "sentences": []}]
    write(root / "dataset_flickr30k.json", {"images": [*good, *bad]})
    put(media["picture"], root, "1.jpg")
    clips, report = imported("flickr30k", root)
    assert set(clips) == {"1"}
    assert report.bad_rows == 4
    said = rejects(root)
    assert said["flickr30k/dataset_flickr30k.json:2"].startswith("split 'elsewhere'")
    assert said["flickr30k/dataset_flickr30k.json:3"].startswith("is no image with a file name")
    assert said["flickr30k/dataset_flickr30k.json:5"] == "has no caption"


# -- sounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_audiocaps_by_any_of_the_usual_names(root, media, version):
    """A file cut out already is the clip, whatever it is called; of a whole recording the clip is a window."""
    folder = {"v1": "dataset", "v2": "dataset2.0"}[version]
    official(root, f"audiocaps_{version}_test.csv=test.csv", folder=folder)
    put(media["sound"], root, "wav/7fmOlUlwoNg_20.wav", "wav/YYQSuFyFm3Lc.wav", "wav/paf0nyjg1Js_110000_120000.wav")
    put(media["recording"], root, "wav/VjSEIRnLAh8.wav")
    put(media["sound"], root, "wav/7fmOlUlwoNg_90.wav")  # another part of the same recording
    clips, report = imported({"v1": "audiocaps", "v2": "audiocaps-v2"}[version], root)
    windows = {id: (clip.source, clip.start, round(clip.end, 2)) for id, clip in clips.items()}
    assert windows == {
        "7fmOlUlwoNg_20": ("wav/7fmOlUlwoNg_20.wav", 0.0, 1.0),
        "YQSuFyFm3Lc_230": ("wav/YYQSuFyFm3Lc.wav", 0.0, 1.0),
        "paf0nyjg1Js_110": ("wav/paf0nyjg1Js_110000_120000.wav", 0.0, 1.0),
        "VjSEIRnLAh8_30": ("wav/VjSEIRnLAh8.wav", 30.0, 40.0),
    }
    assert len(clips["paf0nyjg1Js_110"].texts) == {"v1": 2, "v2": 1}[version]
    assert clips["VjSEIRnLAh8_30"].texts[0].text.lower() == "food is frying, and a woman talks"
    assert {(clip.split, clip.group) for clip in clips.values()} == {("test", id[:11]) for id in clips}
    assert (report.media, report.missing, report.bad_rows) == (4, 0, 0)


def test_clotho(root, media):
    header = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
    for split in ("development", "validation", "evaluation"):
        rows = f'Santa {split} No. 1.wav,one,"two, with a comma",three,four,five\n'
        write(root / f"clotho_captions_{split}.csv", header + rows)
        put(media["sound"], root, f"{split}/Santa {split} No. 1.wav")
    write(root / "clotho_captions_validation.csv", header + "short.wav,one\nSanta validation No. 1.wav,a,b,c,d,e\n")
    clips, report = imported("clotho", root)
    assert {clip.split: id for id, clip in clips.items()} == {
        "train": "Santa development No. 1",
        "val": "Santa validation No. 1",
        "test": "Santa evaluation No. 1",
    }
    assert texts(clips["Santa evaluation No. 1"]) == ["one", "two, with a comma", "three", "four", "five"]
    assert report.bad_rows == 1
    assert rejects(root)["clotho/clotho_captions_validation.csv:2"].startswith("has 2 fields, expected 6")


# -- videos ------------------------------------------------------------------------------------------------------------


def videodatainfo(*videos):
    listed = [
        {"video_id": name, "split": split, "url": f"https://www.youtube.com/watch?v={address}", "category": 1, "id": i}
        for i, (name, split, address) in enumerate(videos)
    ]
    said = [{"video_id": name, "caption": f"{name} {n}", "sen_id": n} for n in range(3) for name, _, _ in videos]
    return {"info": {}, "videos": listed, "sentences": said}


def test_msrvtt(root, media):
    some = [("video0", "train", "aaaaaaaaaaa"), ("video1", "validate", "bbbbbbbbbbb")]
    write(root / "train_val_videodatainfo.json", videodatainfo(*some))
    write(root / "test_videodatainfo.json", videodatainfo(("video2", "test", "aaaaaaaaaaa"), ("video3", "test", "c")))
    put(media["film"], root, "TrainValVideo/video0.mp4", "TrainValVideo/video1.mp4", "TestVideo/video2.mp4")
    clips, report = imported("msrvtt", root)
    assert {id: (clip.split, clip.group) for id, clip in clips.items()} == {
        "video0": ("train", "aaaaaaaaaaa"),
        "video1": ("val", "bbbbbbbbbbb"),
        "video2": ("test", "aaaaaaaaaaa"),
    }
    assert texts(clips["video2"]) == ["video2 0", "video2 1", "video2 2"]
    assert report.missing_first == ("video3",)


def test_msrvtt_1ka(root, media):
    official(root, "msrvtt_1ka_test.csv=MSRVTT_JSFUSION_test.csv")
    put(media["film"], root, "all/video9770.mp4", "all/video7020.mp4", "all/video1.mp4", "all/video2.mp4")
    clips, report = imported("msrvtt-1ka", root)
    assert {id: texts(clip) for id, clip in clips.items()} == {
        "video9770": ["a person is connecting something to system"],
        "video7020": ["a woman creating a fondant baby and flower"],
    }
    assert {clip.split for clip in clips.values()} == {"test"}
    assert report.missing == 2
    assert any("no training split" in note for note in report.notes)

    videos = [(name, "train", name * 2) for name in ("video9770", "video1", "video2")]
    write(root / "MSRVTT_data.json", videodatainfo(*videos))
    clips, _ = imported("msrvtt-1ka", root)
    assert {id: (clip.split, len(clip.texts)) for id, clip in clips.items()} == {
        "video9770": ("test", 1),
        "video7020": ("test", 1),
        "video1": ("train", 3),
        "video2": ("train", 3),
    }
    assert clips["video9770"].group == "video9770video9770"

    write(root / "MSRVTT_train.9k.csv", "video_id\nvideo2\n")
    clips, _ = imported("msrvtt-1ka", root)
    assert {id for id, clip in clips.items() if clip.split == "train"} == {"video2"}


def test_youcook2(root, media):
    official(root, "validation_youcook.csv")
    put(media["recording"], root, "validation/226/xHr8X2Wpmno.wav")
    with pytest.raises(SeehearError, match="none of the 2 media files of YouCook2"):
        imported("youcook2", root)  # a sound is no video
    put(media["film"], root, "validation/xHr8X2Wpmno_67_89.mp4")
    clips, report = imported("youcook2", root)
    assert {id: (clip.source, clip.start, clip.group) for id, clip in clips.items()} == {
        "xHr8X2Wpmno_67_89": ("validation/xHr8X2Wpmno_67_89.mp4", 0.0, "xHr8X2Wpmno"),
    }
    assert texts(clips["xHr8X2Wpmno_67_89"]) == ["combine lemon juice sumac garlic salt and oil in a bowl"]
    assert report.rows == 8


def test_youcook2_by_its_own_json(root, media):
    segments = [{"segment": [2, 5], "id": 0, "sentence": "cut"}, {"segment": [6, 9], "id": 1, "sentence": "fry"}]
    database = {
        "aaaaaaaaaaa": {"subset": "training", "recipe_type": "113", "annotations": segments},
        "bbbbbbbbbbb": {"subset": "validation", "recipe_type": "7", "annotations": [*segments, {"segment": [1]}]},
        "ccccccccccc": {"subset": "testing"},
    }
    write(root / "annotations" / "youcookii_annotations_trainval.json", {"database": database})
    put(media["ten"], root, "raw/aaaaaaaaaaa.mp4", "raw/bbbbbbbbbbb.mp4")
    clips, report = imported("youcook2", root)
    assert {id: (clip.split, clip.start, clip.end, texts(clip)) for id, clip in clips.items()} == {
        "aaaaaaaaaaa_2_5": ("train", 2.0, 5.0, ["cut"]),
        "aaaaaaaaaaa_6_9": ("train", 6.0, 9.0, ["fry"]),
        "bbbbbbbbbbb_2_5": ("test", 2.0, 5.0, ["cut"]),
        "bbbbbbbbbbb_6_9": ("test", 6.0, 9.0, ["fry"]),
    }
    assert clips["bbbbbbbbbbb_2_5"].meta["recipe"] == "7"
    assert report.bad_rows == 1
