"""Finding media by their names, and reading tables and JSON whatever is in them."""

import csv
import io
import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seehear.datasets import IMPORTERS, ImportOptions
from seehear.datasets.base import MediaIndex, by_folder, by_number, by_stem, by_youtube_id, new_row
from seehear.datasets.files import Files, read_table
from seehear.errors import SeehearError
from seehear.library.manifest import ManifestRow
from seehear.library.records import Reject
from tests.datasets.sets import official, write

ANNOTATIONS = Path(os.environ.get("SEEHEAR_DATA", "../shared/data")) / "annotations"

# -- finding media -----------------------------------------------------------------------------------------------------

IDS = st.text("abcXYZ019-_", min_size=11, max_size=11)
SECONDS = st.integers(0, 600)


@given(id=IDS, start=SECONDS, y=st.sampled_from(["", "Y"]))
def test_every_usual_name_gives_the_id(id, start, y):
    for times in (
        "",
        f"_{start}",
        f"_{start:06d}",
        f"_{start}.000_{start + 10}.000",
        f"_{1000 * start}_{1000 * start + 10_000}",
    ):
        assert by_youtube_id(f"some/folder/{y}{id}{times}") == id


def test_keys():
    assert by_stem("a/b.c/d.e") == "d.e"
    assert by_folder("data/bed/x_nohash_0") == "bed/x_nohash_0"
    assert by_number("a/COCO_train2014_000000000009") == by_number("b/000000000009") == "000000000009"
    assert by_youtube_id("short") == ""


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["AAAAAAAAAAA.wav"], ("AAAAAAAAAAA.wav", False)),
        (["AAAAAAAAAAA_30.wav"], ("AAAAAAAAAAA_30.wav", True)),
        (["AAAAAAAAAAA_40.wav"], None),
        (["AAAAAAAAAAA_40.wav", "YAAAAAAAAAAA_30000_40000.wav"], ("YAAAAAAAAAAA_30000_40000.wav", True)),
        (["AAAAAAAAAAA.wav", "AAAAAAAAAAA_30.wav"], ("AAAAAAAAAAA_30.wav", True)),
        (["AAAAAAAAAAA_30.wav", "AAAAAAAAAAA.mp4"], ("AAAAAAAAAAA.mp4", False)),
        (["AAAAAAAAAAA.f137.mp4"], ("AAAAAAAAAAA.f137.mp4", False)),
        (["AAAAAAAAAAA.jpg", "AAAAAAAAAAA.srt", ".AAAAAAAAAAA.wav", ".hidden/AAAAAAAAAAA.wav"], None),
    ],
)
def test_which_file_of_several(tmp_path, names, expected):
    """Video before sound, as AudioSet has it; then the part itself before the recording."""
    for name in names:
        write(tmp_path / name, "")
    index = MediaIndex(tmp_path, IMPORTERS["audioset"])
    item = new_row(source="AAAAAAAAAAA", split="test", id="x", start=30.0, end=40.0)
    found = index.locate(item)
    assert (found and (found.name, found.cut_out)) == expected
    index.close()


def test_names_are_found_however_they_are_composed(tmp_path):
    write(tmp_path / "cafe\u0301.wav", "")
    index = MediaIndex(tmp_path, IMPORTERS["clotho"])
    assert index.find("caf\u00e9") == ["cafe\u0301.wav"]
    assert list(index) == ["cafe\u0301.wav"]
    index.close()


# -- tables ------------------------------------------------------------------------------------------------------------

FIELD = (
    st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1)
    .map(str.strip)
    .filter(bool)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all examples: a new folder costs more than what is tested in it."""
    return tmp_path_factory.mktemp("table")


@given(rows=st.lists(st.tuples(FIELD, FIELD, FIELD), max_size=8))
def test_tables_are_read_as_they_were_written(folder, rows):
    rows = [row for row in rows if not row[0].startswith("#")]
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b", "c"), *rows])
    path = folder / "t.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    assert [values for _, values in read_table(path, ("c", "a"))] == [
        dict(zip("abc", row, strict=True)) for row in rows
    ]


@given(data=st.binary(max_size=300))
def test_no_bytes_break_a_table(folder, data):
    path = folder / "t.csv"
    path.write_bytes(data)
    for line, values in read_table(path, ("a", "b"), first=()):
        assert line >= 1
        assert isinstance(values, SeehearError) or set(values) == {"a", "b"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A folder for annotations, and an index without media for each importer."""
    empty = tmp_path_factory.mktemp("empty")
    indexes = {name: MediaIndex(empty, wanted) for name, wanted in IMPORTERS.items()}
    yield tmp_path_factory.mktemp("sets"), indexes
    for index in indexes.values():
        index.close()


def read_all(wanted, root, index):
    """Items, bad rows, or one error in one line that a user can mend; nothing else may come."""
    try:
        items = list(wanted.read(Files(root, index, ImportOptions())))
    except SeehearError as error:
        items, said = [], str(error)
        assert said.count("\n") == 0
    assert all(isinstance(item, ManifestRow | Reject) for item in items)


@given(data=st.binary(max_size=200))
def test_no_bytes_break_an_importer(sets, data):
    """Any content of any official file."""
    root = sets[0] / "bytes"
    root.mkdir(exist_ok=True)
    for name in (
        "test.csv",
        "vggsound.csv",
        "vggsounder.csv",
        "esc50.csv",
        "hmdb51.csv",
        "trainSet.txt",
        "classInd.txt",
    ):
        (root / name).write_bytes(data)
    official(root, "class_labels_indices.csv")
    for name in ("eval_segments.csv", "testlist01.txt", "validation_list.txt", "testing_list.txt", "AVVP_test_pd.csv"):
        (root / name).write_bytes(data)
    for name in ("dataset_coco.json", "MSRVTT_data.json", "youcookii_annotations_trainval.json"):
        (root / name).write_bytes(data)
    for name, wanted in IMPORTERS.items():
        read_all(wanted, root, sets[1][name])


NAMES = ["images", "filename", "split", "sentences", "raw", "videos", "video_id", "url", "database", "annotations"]
NAMES += ["segment", "subset", "training", "train", "caption", "image_id", "id", "file_name", "cocoid"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@given(content=st.dictionaries(st.sampled_from(["images", "videos", "sentences", "annotations", "database"]), JSON))
def test_no_json_breaks_an_importer(sets, content):
    root = sets[0] / "json"
    names = {"flickr30k": "dataset_flickr30k.json", "msrvtt": "MSRVTT_data.json"}
    names |= {"coco": "captions_val2017.json", "youcook2": "youcookii_annotations_trainval.json"}
    for name, file in names.items():
        write(root / file, content)
        read_all(IMPORTERS[name], root, sets[1][name])


@pytest.mark.data
@pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason=f"no {ANNOTATIONS}: set SEEHEAR_DATA")
@pytest.mark.parametrize(
    ("name", "rows", "kept"),
    [
        ("audioset", 202, 202),
        ("audiocaps", 100, 100),
        ("audiocaps-v2", 100, 100),
        ("msrvtt-1ka", 100, 100),
        ("youcook2", 100, 100),
        ("hmdb51", 100, 94),
        ("kinetics400", 100, 100),
        ("kinetics600", 100, 100),
        ("vggsounder", 42, 42),
    ],
)
def test_the_heads_of_real_files_have_no_bad_row(name, rows, kept, tmp_path):
    wanted = IMPORTERS[name]
    with closing(MediaIndex(tmp_path, wanted)) as index:
        root = ANNOTATIONS.resolve()
        items = list(wanted.read(Files(root, index, ImportOptions())))
        everything = list(wanted.read(Files(root, index, ImportOptions(fold=0))))
    assert [item for item in items if isinstance(item, Reject)] == []
    assert (len(everything), len(items)) == (rows, kept)
