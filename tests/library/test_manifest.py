"""Tables of clips: what each column means, and what a bad row costs."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.library.inputs import GroupedRows
from seehear.library.manifest import ManifestRow, read_manifest
from seehear.library.records import Reject, Text

CSV = """\
id,file,start,end,text,labels,group,split,mood
a,x/one.mp4,1.5,0:03,"A dog, barking",dog|bark,g1,Training,glad
b,.\\x\\two.mp4,,,,,,,
,,,,only words,,,,
"""


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(path, **options):
    found = list(read_manifest(path, **options))
    return [r for r in found if isinstance(r, ManifestRow)], [r for r in found if isinstance(r, Reject)]


def test_csv(tmp_path):
    rows, rejects = rows_of(write(tmp_path, "m.csv", CSV))
    assert rejects == []
    assert rows[0] == ManifestRow(
        line=2,
        source="x/one.mp4",
        start=1.5,
        end=3.0,
        texts=(Text("A dog, barking"),),
        labels=("dog", "bark"),
        id="a",
        group="g1",
        split="train",
        meta={"mood": "glad"},
    )
    assert rows[1] == ManifestRow(line=3, source="x/two.mp4", id="b")
    assert rows[2] == ManifestRow(line=4, texts=(Text("only words"),))


def test_the_same_rows_in_every_format(tmp_path):
    columns = {"path": ["a.mp4", "b.mp4"], "start": [0.0, None], "caption": ["one", "two"], "n": [1, 2]}
    write(tmp_path, "m.csv", "path,start,caption,n\na.mp4,0.0,one,1\nb.mp4,,two,2\n")
    write(tmp_path, "m.tsv", "path\tstart\tcaption\tn\na.mp4\t0.0\tone\t1\nb.mp4\t\ttwo\t2\n")
    write(tmp_path, "semicolon.csv", "path;start;caption;n\na.mp4;0.0;one;1\nb.mp4;;two;2\n")
    lines = [json.dumps(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]
    write(tmp_path, "m.jsonl", "\n".join(lines))
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "m.parquet")
    wanted = [
        ("a.mp4", 0.0, (Text("one"),), {"n": "1"}),
        ("b.mp4", None, (Text("two"),), {"n": "2"}),
    ]
    for name in ("m.csv", "m.tsv", "semicolon.csv", "m.jsonl", "m.parquet"):
        rows, rejects = rows_of(tmp_path / name)
        assert rejects == []
        assert [(r.source, r.start, r.texts, r.meta) for r in rows] == wanted, name


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("a.mp4,5,3,x,", "ends at 3 s, but starts at 5 s"),
        ("a.mp4,soon,3,x,", "'soon' is no time"),
        ("a.mp4,-1,3,x,", "is no time"),
        ("a.mp4,nan,3,x,", "is no time"),
        ("a.mp4,1,2", "has 3 fields, the header has 5"),
        ("a.mp4,1,2,x,train,more", "has 6 fields"),
        ("a.mp4,1,2,x,tran", "did you mean 'train'"),
        (",,,,", "has neither a media file nor a text"),
        ("../secret.mp4,,,x,", "outside the media folder"),
        ("http://a/b.mp4,,,x,", "download the file"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_line(tmp_path, row, complaint):
    path = write(tmp_path, "m.csv", f'file,start,end,text,split\nok.mp4,,,"two\nlines",\n{row}\nok2.mp4,,,y,\n')
    rows, rejects = rows_of(path)
    assert [r.source for r in rows] == ["ok.mp4", "ok2.mp4"]
    (reject,) = rejects
    assert reject.path == "m.csv:4"
    assert complaint in reject.reason


def test_picture_and_sound_in_one_row(tmp_path):
    head = "image,audio,video,text\n"
    rows, rejects = rows_of(write(tmp_path, "m.csv", f"{head}a.jpg,a.wav,,x\n,b.wav,,\nc.jpg,,c.mp4,\n,d.mp4,d.mp4,\n"))
    assert [(r.source, r.audio_source, r.sound_only) for r in rows] == [
        ("a.jpg", "a.wav", False),
        ("b.wav", "", True),
        ("d.mp4", "", False),
    ]
    assert "two files to look at" in rejects[0].reason


def test_columns_named_by_the_user(tmp_path):
    path = write(tmp_path, "m.csv", "file,source,text_en,tags,Group\na.mp4,the web,hello,x|y,7\n")
    (row,), _ = rows_of(path, columns={"text": "text_en", "texts": "tags"})
    assert row.texts == (Text("hello"), Text("x"), Text("y"))
    assert row.group == "7"
    assert row.meta == {"source": "the web"}  # `file` is there, so this is a column like any other
    with pytest.raises(SeehearError, match="did you mean 'text_en'"):
        rows_of(path, columns={"text": "text_eng"})
    with pytest.raises(SeehearError, match="role of a column 'txt'; did you mean 'text'"):
        rows_of(path, columns={"txt": "text_en"})


def test_lists_in_cells(tmp_path):
    path = write(
        tmp_path,
        "m.csv",
        'file,texts,text,labels\na.mp4,"[""one"", {""text"": ""two"", ""start"": 1, ""end"": 2}]",a|b,"[1, 2]"\n',
    )
    (row,), _ = rows_of(path)
    assert row.texts == (Text("a|b"), Text("one"), Text("two", 1.0, 2.0))
    assert row.labels == ("1", "2")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("m.csv", "", "holds no rows"),
        ("m.csv", "file,text\n", "holds no rows"),
        (
            "m.csv",
            "filename,text\na.mp4,x\n",
            r"none of its columns \(filename, text\) is a media file.*--columns file filename",
        ),
        ("m.parquet", "no parquet", "is no Parquet file"),
        ("m.xlsx", "x", "a manifest is a .csv"),
    ],
)
def test_what_is_no_manifest(tmp_path, name, content, complaint):
    with pytest.raises(SeehearError, match=complaint):
        rows_of(write(tmp_path, name, content))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path, encoding):
    (row,), _ = rows_of(write(tmp_path, "m.csv", "file,text\ncafé.mp4,déjà\n".encode(encoding)))
    assert (row.source, row.texts[0].text) == ("café.mp4", "déjà")


def test_jsonl_lines_may_differ(tmp_path):
    lines = ['{"text": "words"}', "{broken", '{"file": "a.mp4", "mood": "glad"}', "", "[1]"]
    rows, rejects = rows_of(write(tmp_path, "m.jsonl", "\n".join(lines)))
    assert [(r.line, r.source, r.meta) for r in rows] == [(1, "", {}), (3, "a.mp4", {"mood": "glad"})]
    assert [r.path for r in rejects] == ["m.jsonl:2", "m.jsonl:5"]


def test_a_column_of_jsonl_may_first_come_late(tmp_path):
    lines = ['{"text": "words"}'] * 1499 + ['{"audio": "a.wav", "mood": "glad"}', '{"AUDIO": "b.wav"}']
    rows, rejects = rows_of(write(tmp_path, "m.jsonl", "\n".join(lines)))
    last = rows[-1]
    assert (last.line, last.source, last.sound_only, last.meta) == (1500, "a.wav", True, {"mood": "glad"})
    assert [reject.path for reject in rejects] == ["m.jsonl:1501"]  # another spelling of a column is another column
    (row, *_), _ = rows_of(tmp_path / "m.jsonl", columns={"file": "mood"})
    assert row.texts == (Text("words"),)


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(st.lists(st.tuples(CELL, CELL, CELL, CELL), min_size=1, max_size=6))
@example([("", "", "\r", "\n")])  # Python 3.11 leaves a lone \r unquoted unless all is quoted: that is no line of CSV
def test_every_row_is_a_row_or_a_reject(tmp_path_factory, cells):
    import csv

    path = tmp_path_factory.mktemp("m") / "m.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(["file", "start", "text", "extra"])
        writer.writerows(cells)
    rows, rejects = rows_of(path)
    assert len(rows) + len(rejects) == len(cells)
    lines = [row.line for row in rows] + [int(reject.path.rpartition(":")[2]) for reject in rejects]
    assert len(set(lines)) == len(cells)


HEADS = {".csv": b"file,text\n", ".tsv": b"file\ttext\n", ".jsonl": b'{"file": "a.mp4"}\n', ".parquet": b"PAR1"}


@given(st.sampled_from(sorted(HEADS)), st.booleans(), st.binary(max_size=300))
def test_any_bytes_are_rows_or_a_clear_error(tmp_path_factory, suffix, begun, content):
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(HEADS[suffix] * begun + content)
    try:
        rows, rejects = rows_of(path)
    except SeehearError as error:
        rows, rejects, complaint = [], [], str(error)
    else:
        complaint = str(path)
    assert str(path) in complaint
    assert all(row.source or row.texts for row in rows)
    assert all(reject.reason for reject in rejects)


# -- grouped by file ---------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=20))
def test_rows_by_file_in_any_order(sources):
    rows = [ManifestRow(line=i, source=s, texts=(Text("t"),)) for i, s in enumerate(sources)]
    grouped = GroupedRows(rows, name="m.csv")
    assert grouped.sources == [s for s in dict.fromkeys(sources) if s]
    assert list(grouped) == [(s, [r for r in rows if r.source == s]) for s in grouped.sources]
    assert list(grouped.texts()) == [r for r in rows if not r.source]
    grouped.close()


def test_an_id_belongs_to_one_file():
    rows = [
        ManifestRow(line=n, source=s, id=i)
        for n, (s, i) in enumerate([("a", "1"), ("b", "1"), ("a", "1"), ("", "2"), ("", "2")])
    ]
    grouped = GroupedRows([*rows, Reject(path="m.csv:9", stage="manifest", reason="bad")], name="m.csv")
    assert [(s, [r.line for r in found]) for s, found in grouped] == [("a", [0, 2])]
    assert [r.line for r in grouped.texts()] == [3]
    assert sorted(r.path for r in grouped.rejects) == ["m.csv:1", "m.csv:4", "m.csv:9"]
    grouped.close()
