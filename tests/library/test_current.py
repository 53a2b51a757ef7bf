"""One rule of which stored vectors are current, and what each reader makes of it."""

from dataclasses import replace

import numpy as np
import pytest

from seehear.library.current import current_content, frame_item, frame_seconds, read_current, why_stale
from seehear.library.tables import Clip, LibraryTables, Source, Text, Vectors, content_key
from seehear.library.vectors import side_by_side

CLIP = Clip(id="a", source="a.mp4", end=3.0, has_video=True, texts=(Text("one"), Text("two")))
SOURCES = {"a.mp4": Source(source="a.mp4", size=1, mtime_ns=1, fingerprint="f1")}


@pytest.mark.parametrize(
    ("clip", "modality", "item", "there"),
    [
        (CLIP, "video", 0, True),
        (CLIP, "video", frame_item(0.0), True),
        (CLIP, "video", frame_item(3.0), True),
        (CLIP, "video", frame_item(3.5), False),
        (CLIP, "audio", 0, False),
        (CLIP, "text", 1, True),
        (CLIP, "text", 2, False),
        (None, "video", 0, False),
    ],
)
def test_what_a_clip_no_longer_has_has_no_content(clip, modality, item, there):
    expected = content_key(CLIP, modality, item, SOURCES) if there else None
    assert current_content(clip, modality, item, SOURCES) == expected


def test_the_item_of_a_frame_says_when_it_is_on_show():
    later = replace(CLIP, start=10.0, end=20.0)
    assert frame_seconds(later, frame_item(3.2504)) == 13.25


@pytest.mark.parametrize(
    ("made", "content", "reason"),
    [
        (("e1", "c1"), "c1", ""),
        (("e0", "c1"), "c1", "another version of the encoder"),
        (("e0", "c1"), None, "another version of the encoder"),
        (("e1", "c1"), None, "the clip was deleted"),
        (("e1", "c0"), "c1", "the file, window or text has changed"),
    ],
)
def test_reasons(made, content, reason):
    assert why_stale(made, "e1", content) == reason


def rows(keys, contents, values):
    ids, items = [clip for clip, _ in keys], np.array([item for _, item in keys], np.int32)
    vectors = np.array(values, np.float16)[:, None]
    return Vectors(ids, items, ["text"] * len(keys), vectors, ["e1"] * len(keys), contents)


def test_latents_of_changed_texts_are_left_out_and_counted(tmp_path):
    library = LibraryTables.create(tmp_path / "lib")
    keys = [("a", 0), ("a", 1), ("a", 2), ("other", 0)]
    contents = [content_key(CLIP, "text", 0, {}), "changed", content_key(CLIP, "text", 1, {}), "of no clip"]
    library.vectors("latents", "words", width=1).append(rows(keys, contents, [1, 2, 3, 4]))
    current, stale = read_current(library, {"name": "words", "fingerprint": "e1"}, {"a": CLIP}, {})
    assert (current.ids, current.items.tolist(), current.vectors.tolist(), stale) == (["a"], [0], [[1]], 2)
    assert not len(read_current(library, {"name": "words", "fingerprint": "e2"}, {"a": CLIP}, {})[0])


def test_side_by_side_holds_what_every_table_has():
    one = rows([("a", 0), ("a", 1), ("b", 0)], ["x", "y", "z"], [1, 2, 3])
    other = replace(rows([("b", 0), ("a", 0), ("c", 0)], ["z", "x", "w"], [30, 10, 40]), makers=["e2"] * 3)
    joined = side_by_side([one, other])
    assert list(zip(joined.ids, joined.items.tolist(), joined.contents, strict=True)) == [("a", 0, "x"), ("b", 0, "z")]
    assert joined.vectors.tolist() == [[1, 10], [3, 30]]
    assert side_by_side([one]) is one


def test_frames_are_no_latents_of_clips(tmp_path):
    library = LibraryTables.create(tmp_path / "lib")
    content = content_key(CLIP, "video", 0, SOURCES)
    made = rows([("a", 0), ("a", frame_item(0.5)), ("a", frame_item(1.5))], [content] * 3, [1, 2, 3])
    library.vectors("latents", "pictures", width=1).append(replace(made, modalities=["video"] * 3))
    current, stale = read_current(library, {"name": "pictures", "fingerprint": "e1"}, {"a": CLIP}, SOURCES)
    assert (current.items.tolist(), current.vectors.tolist(), stale) == ([0], [[1]], 0)


def test_a_film_goes_with_its_frames(tmp_path):
    table = LibraryTables.create(tmp_path / "lib").vectors("latents", "pictures", width=1)
    keys = [("a", 0), ("a", frame_item(0.5)), ("b", 0), ("b", frame_item(0.5))]
    table.append(replace(rows(keys, ["x"] * 4, [1, 2, 3, 4]), modalities=["video"] * 4))
    table.append(rows([("a", 0), ("a", 1)], ["x", "y"], [5, 6]))
    table.remove_keys([("a", 0, "video"), ("a", 1, "text")])
    assert table.read().vectors.ravel().tolist() == [5, 3, 4]
