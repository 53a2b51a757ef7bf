"""What every import does: names, roots, what is missing, second runs, memory."""

import shutil
import tracemalloc

import pytest

from seehear.datasets import IMPORTERS, ImportOptions, import_dataset
from seehear.datasets.base import MediaIndex
from seehear.datasets.files import Files
from seehear.datasets.run import _Rows
from seehear.errors import SeehearError
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from tests.datasets.sets import imported, official, originals, put, rejects, write


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


@pytest.fixture
def audiocaps(root, media):
    official(root, "audiocaps_v1_test.csv=test.csv")
    put(media["sound"], root, "7fmOlUlwoNg.wav", "YQSuFyFm3Lc.wav")
    return root


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_refused_with_the_nearest(root):
    with pytest.raises(SeehearError, match="unknown data set 'audiocap'; did you mean 'audiocaps'"):
        imported("audiocap", root)


def test_a_missing_root(tmp_path):
    with pytest.raises(SeehearError, match="there is no such folder"):
        import_dataset("esc50", tmp_path / "nowhere", tmp_path / "library")


@pytest.mark.parametrize("name", IMPORTERS)
def test_a_wrong_root_says_what_is_expected_where_and_makes_nothing(name, root):
    write(root / "readme.txt", "not a data set")
    with pytest.raises(SeehearError) as caught:
        imported(name, root)
    assert str(root) in str(caught.value)
    own = IMPORTERS[name]
    wanted = own.media if own.annotations[0].startswith("none") else own.annotations[0]
    title = "GRID" if name == "grid" else own.title
    assert f"does not look like {title}: expected {wanted}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (root.parent / "library").exists()


def test_the_files_of_another_set(root):
    write(root / "test.csv", "label,youtube_id\nx,y\n")
    with pytest.raises(SeehearError, match=r"test.csv: has no column audiocap_id, start_time, caption \(its first"):
        imported("audiocaps", root)


def test_a_root_without_its_media(root):
    official(root, "audiocaps_v1_test.csv=test.csv")
    with pytest.raises(SeehearError, match=r"none of the 4 media files .* --media says where they are") as caught:
        imported("audiocaps", root)
    assert "7fmOlUlwoNg" in str(caught.value)
    assert not (root.parent / "library").exists()


def test_a_file_of_which_no_row_can_be_used(root):
    write(root / "test.csv", "audiocap_id,youtube_id,start_time,caption\n1,abc,soon,x\n")
    with pytest.raises(SeehearError, match=r"audiocaps/test.csv:2: start_time 'soon' is no time"):
        imported("audiocaps", root)


@pytest.mark.parametrize("content", ["{", "[]", '{"images": 3}', "\udcff"])
def test_json_that_is_none(root, content):
    (root / "dataset_coco.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SeehearError, match=r"dataset_coco.json: (is no JSON|expected an object)"):
        imported("coco", root)


def test_options_are_checked():
    with pytest.raises(SeehearError, match="unknown split 'tset'; did you mean 'test'"):
        ImportOptions(splits=("tset",))
    with pytest.raises(SeehearError, match="val is a share"):
        ImportOptions(val=1.5)


# -- what is done ------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_counted_by_file_and_set_aside_by_row(audiocaps):
    _, report = imported("audiocaps", audiocaps)
    assert (report.rows, report.media, report.missing) == (5, 2, 2)
    assert report.missing_first == ("VjSEIRnLAh8", "paf0nyjg1Js")
    assert set(rejects(audiocaps)) == {f"audiocaps/test.csv:{line}" for line in (4, 5, 6)}
    assert "missing: VjSEIRnLAh8, paf0nyjg1Js" in str(report)
    assert report.prepared.splits == {"train": 0, "val": 0, "test": 2}
    assert any("train.csv" in note for note in report.notes)


def test_a_second_run_reads_nothing_and_a_changed_set_only_what_changed(audiocaps, media):
    first, _ = imported("audiocaps", audiocaps)
    again, report = imported("audiocaps", audiocaps)
    assert again == first
    assert (report.prepared.new, report.prepared.unchanged) == (0, 2)
    put(media["sound"], audiocaps, "VjSEIRnLAh8.wav")
    (audiocaps / "7fmOlUlwoNg.wav").unlink()
    clips, report = imported("audiocaps", audiocaps)
    assert set(clips) == {"YQSuFyFm3Lc_230", "VjSEIRnLAh8_30"}
    assert (report.prepared.new, report.prepared.unchanged, report.prepared.gone) == (1, 1, 1)


def test_damaged_media_are_set_aside_with_their_rows(audiocaps):
    write(audiocaps / "7fmOlUlwoNg.wav", "no sound")
    clips, _ = imported("audiocaps", audiocaps)
    assert set(clips) == {"YQSuFyFm3Lc_230"}
    assert "(rows audiocaps/test.csv:2)" in rejects(audiocaps)["7fmOlUlwoNg.wav"]


def test_media_elsewhere_and_a_library_inside_them(root, media, tmp_path):
    official(root, "audiocaps_v1_test.csv=test.csv")
    put(media["sound"], tmp_path / "media", "deep/down/7fmOlUlwoNg.wav")
    library = tmp_path / "media" / "library"
    options = ImportOptions(media=tmp_path / "media", workers=0)
    for _ in range(2):
        report = import_dataset("audiocaps", root, library, options)
        assert (report.media, report.prepared.clips) == (1, 1)
    assert LibraryTables.open(library).clips()[0].source == "deep/down/7fmOlUlwoNg.wav"


def test_a_set_that_moved_is_the_same_set(audiocaps, tmp_path):
    before, _ = imported("audiocaps", audiocaps)
    shutil.move(audiocaps, tmp_path / "moved")
    after, _ = imported("audiocaps", tmp_path / "moved")
    assert set(after) == set(before)


def test_two_sets_over_the_same_media_do_not_share_a_library(audiocaps):
    official(audiocaps, "audiocaps_v2_test.csv=test.csv", folder="dataset2.0")
    imported("audiocaps", audiocaps)
    with pytest.raises(
        SeehearError, match="already holds media of audiocaps-v2 through audiocaps: import into another"
    ):
        imported("audiocaps-v2", audiocaps)
    prepare(audiocaps, audiocaps.parent / "other", PrepareOptions(workers=0))
    with pytest.raises(SeehearError, match="already holds media"):
        import_dataset("audiocaps", audiocaps, audiocaps.parent / "other", ImportOptions(workers=0))


def test_text_files_beside_the_media_are_not_read(audiocaps):
    write(audiocaps / "7fmOlUlwoNg.txt", "what a downloader wrote")
    write(audiocaps / "7fmOlUlwoNg.json", {"captions": ["and this"], "labels": ["x"]})
    clips, _ = imported("audiocaps", audiocaps)
    assert [t.text for t in clips["7fmOlUlwoNg_20"].texts] == ["Constant rattling noise and sharp vibrations"]
    assert clips["7fmOlUlwoNg_20"].labels == ()


def test_a_validation_split_of_training_recordings_where_there_is_none(root, media):
    names = [f"{n:011d}_000000" for n in range(40)]
    write(
        root / "vggsound.csv",
        "".join(f"{name[:11]},0,x,{'test' if n < 10 else 'train'}\n" for n, name in enumerate(names)),
    )
    put(media["sound"], root, *(f"{name}.wav" for name in names))
    plain, report = imported("vggsound", root)
    assert {clip.split for clip in plain.values()} == {"train", "test"}
    assert any("--val 0.1" in note for note in report.notes)
    held, _ = imported("vggsound", root, val=0.3)
    assert {id for id, clip in held.items() if clip.split == "test"} == set(names[:10])
    assert 3 <= sum(clip.split == "val" for clip in held.values()) <= 16


@pytest.mark.slow
def test_a_table_of_many_rows_costs_little_memory(root, media, monkeypatch):
    """Rows of which two are on disk: the peak is far below what the rows would take."""
    rows = 20_000
    official(root, "class_labels_indices.csv")
    with open(root / "unbalanced_train_segments.csv", "w") as file:
        for n in range(rows):
            file.write(f'{n:011d}, 30.000, 40.000, "/m/09x0r,/m/0bt9lr"\n')
    put(media["sound"], root, "00000000005.wav", f"{rows - 1:011d}.wav")
    tracemalloc.start()
    wanted = IMPORTERS["audioset"]
    index = MediaIndex(root, wanted)
    rows_read = _Rows(Files(root, index, ImportOptions(workers=0)))
    found = [row for row in rows_read if hasattr(row, "source")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    index.close()
    assert [row.source for row in found] == ["00000000005.wav", f"{rows - 1:011d}.wav"]
    assert rows_read.rows == rows
    assert rows_read._num_missing() == rows - 2
    assert peak < 2.5e6  # 1,000 rejects, and 8 bytes a row


def test_only_the_first_thousand_are_set_aside_one_by_one(root, media):
    official(root, "class_labels_indices.csv")
    lines = [f'{n:011d}, 0.000, 10.000, "/m/09x0r"' for n in range(1500)]
    write(root / "eval_segments.csv", "\n".join(lines))
    put(media["sound"], root, "00000000005.wav")
    _, report = imported("audioset", root)
    assert report.missing == 1499
    said = rejects(root)
    assert len(said) == 1001
    assert said["audioset: rows whose media are not on disk"] == "499 more rows whose media are not on disk"
