"""Windows of the clips of a file, and their splits."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.library.clips import (
    PrepareOptions,
    cut,
    divided,
    fixed_windows,
    group_of,
    line_window,
    scene_windows,
    split_of,
)
from seehear.library.records import Annotations, Clip, Source, Text, content_key, printable, unprintable


def whole(duration: float) -> Clip:
    return Clip(id="", source="a.mp4", end=duration, has_video=True, has_audio=True)


def windows(clips: list[Clip]) -> list[tuple[float, float]]:
    return [(clip.start, clip.end) for clip in clips]


LINES = (Text("one", 1.0, 2.5), Text("two", 3.0, 3.2), Text("late", 12.0, 13.0))


def test_auto_follows_the_subtitles():
    clips = cut(whole(10.0), Annotations(texts=(*LINES, Text("all"))), PrepareOptions())
    assert windows(clips) == [(1.0, 2.5), (2.6, 3.6)]  # 0.2 s is widened to 1 s; the third lies behind the end
    assert [clip.texts for clip in clips] == [LINES[:1], LINES[1:2]]
    assert clips[0].id == "a.mp4#1.000-2.500"
    assert {clip.group for clip in clips} == {"a.mp4"}


def test_auto_without_subtitles_is_whole_up_to_a_length():
    given = Annotations(texts=(Text("all"),), labels=("dog",), meta={"mood": "glad"})
    (clip,) = cut(whole(30.0), given, PrepareOptions())
    assert (clip.id, clip.start, clip.end, clip.texts) == ("a.mp4", 0.0, 30.0, given.captions)
    assert (clip.labels, clip.meta) == (("dog",), {"mood": "glad"})
    clips = cut(whole(31.0), given, PrepareOptions())
    assert windows(clips) == [(0, 10), (10, 20), (20, 30), (30, 31)]
    assert all(clip.texts == given.captions for clip in clips)


def test_subtitles_behind_the_end_count_as_none():
    (clip,) = cut(whole(5.0), Annotations(texts=LINES[2:]), PrepareOptions())
    assert windows([clip]) == [(0.0, 5.0)]
    assert cut(whole(5.0), Annotations(texts=LINES[2:]), PrepareOptions(clips="subtitles")) == []


def test_fixed_and_whole_keep_the_lines_inside():
    clips = cut(whole(10.0), Annotations(texts=LINES), PrepareOptions(clips="fixed", seconds=3.0))
    assert windows(clips) == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert [clip.texts for clip in clips] == [LINES[:1], LINES[1:2], (), ()]
    (clip,) = cut(whole(10.0), Annotations(texts=LINES), PrepareOptions(clips="whole"))
    assert clip.texts == LINES[:2]


def test_a_picture_is_one_clip():
    (clip,) = cut(
        Clip(id="", source="a.jpg", has_video=True), Annotations(texts=(Text("x"),)), PrepareOptions(clips="fixed")
    )
    assert (clip.id, clip.start, clip.end, clip.texts) == ("a.jpg", 0.0, 0.0, (Text("x"),))


def test_line_windows_by_hand():
    def window(start, end, duration=100.0, **options):
        return line_window(start, end, duration, PrepareOptions(**options))

    assert window(5, 7) == (5, 7)
    assert window(5, 7, pad=0.5) == (4.5, 7.5)
    assert window(5, 5.2) == (4.6, 5.6)
    assert window(0.1, 0.3) == (0.0, 1.0)  # widened to the other side at the start
    assert window(99.7, 99.9) == (99.0, 100.0)
    assert window(5, 90) == (5, 35)
    assert window(98, 120) == (98, 100)
    assert window(0.2, 3, pad=1.0) == (0.0, 4.0)


SECONDS = st.floats(0, 100).map(lambda x: round(x, 3))


@given(SECONDS, st.floats(0.01, 60), st.floats(0.05, 100), st.floats(0, 2))
def test_line_windows_stay_in_the_file(start, length, duration, pad):
    if start >= duration:
        return
    begin, end = line_window(start, start + length, duration, PrepareOptions(pad=pad))
    assert 0.0 <= begin < end <= duration + 0.001
    assert end - begin >= min(1.0, duration) - 0.01
    assert end - begin <= max(1.0, 30.0 + 2 * pad) + 0.01
    assert begin <= start + 0.001


@given(st.floats(0.01, 1000), st.floats(1, 50))
def test_fixed_windows_tile_the_file(duration, seconds):
    options = PrepareOptions(seconds=seconds, max_seconds=60)
    cuts = fixed_windows(duration, options)
    assert cuts[0][0] == 0
    assert all(a[1] == pytest.approx(b[0]) for a, b in pairwise(cuts))
    assert cuts[-1][1] <= duration + 1e-4
    assert duration - cuts[-1][1] <= options.min_seconds


def test_splits_are_shares_of_groups_and_follow_from_the_name():
    names = [f"talk {i}" for i in range(4000)]
    first = [split_of(name, (0.8, 0.1, 0.1), 0) for name in names]
    assert first == [split_of(name, (8, 1, 1), 0) for name in names]
    assert [first.count(s) / 4000 for s in ("train", "val", "test")] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    assert first != [split_of(name, (0.8, 0.1, 0.1), 1) for name in names]
    assert {split_of(name, (1, 0, 0), 0) for name in names} == {"train"}
    # Taking from train alone moves nothing else: val and test keep what they had.
    less = [split_of(name, (0.7, 0.1, 0.1), 0) for name in names]
    assert sum(a != b for a, b in zip(first, less, strict=True)) < 400


def test_groups():
    assert group_of("talks/anna_01.mp4", PrepareOptions()) == "talks/anna_01.mp4"
    assert group_of("talks/anna_01.mp4", PrepareOptions(group=r"(\w+)_\d+")) == "anna"
    assert group_of("talks/anna_01.mp4", PrepareOptions(group=r"^[^/]+")) == "talks"
    assert group_of("other.mp4", PrepareOptions(group=r"(\w+)_\d+")) == "other.mp4"
    (clip,) = cut(whole(3.0), Annotations(group="given", split="test"), PrepareOptions(group="a"))
    assert (clip.group, clip.split) == ("given", "test")


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 0.5},
        {"min_seconds": 0.0},
        {"splits": (0, 0, 0)},
        {"splits": (1, -1, 1)},
        {"pad": -1},
        {"group": "("},
    ],
)
def test_options_that_make_no_sense(wrong):
    with pytest.raises(SeehearError):
        PrepareOptions(**wrong)


def test_content_keys_change_with_what_a_vector_is_made_of():
    clip = Clip(id="x", source="a.jpg", audio_source="a.wav", end=2.0, texts=(Text("one"), Text("two")))
    sources = {name: Source(source=name, size=1, mtime_ns=1, fingerprint=name[-3:]) for name in ("a.jpg", "a.wav")}
    keys = [content_key(clip, *what, sources) for what in (("video", 0), ("audio", 0), ("text", 0), ("text", 1))]
    assert len(set(keys)) == 4
    assert all(len(key) == 16 for key in keys)
    other = sources | {"a.wav": Source(source="a.wav", size=2, mtime_ns=2, fingerprint="new")}
    assert content_key(clip, "video", 0, other) == keys[0]
    assert content_key(clip, "audio", 0, other) != keys[1]


@given(st.binary(min_size=1, max_size=30))
def test_any_file_name_survives_as_unicode(raw):
    name = raw.decode("utf-8", "surrogateescape")
    if any(0xF780 <= ord(c) <= 0xF7FF for c in name):
        return
    assert printable(name).encode("utf-8")
    assert unprintable(printable(name)) == name


# -- scenes and pauses -------------------------------------------------------------------------------------------------


def test_scenes_lie_between_the_strongest_cuts():
    cuts = [(4.0, 50.0), (4.5, 90.0), (9.8, 99.0), (7.0, 20.0)]
    # 4.0 is too near to the stronger 4.5, 9.8 to the end.
    assert scene_windows(10.0, cuts, PrepareOptions()) == [(0.0, 4.5), (4.5, 7.0), (7.0, 10.0)]
    assert scene_windows(10.0, [], PrepareOptions()) == [(0.0, 10.0)]


def test_long_scenes_end_at_pauses():
    loud = [-20] * 250
    loud[70:74] = [-60, -70, -70, -60]
    loud[160:162] = [-50, -50]
    assert divided([(0.0, 25.0)], loud, 0.1, PrepareOptions()) == [(0.0, 7.2), (7.2, 16.1), (16.1, 25.0)]
    assert divided([(0.0, 25.0)], [-20] * 250, 0.1, PrepareOptions()) == [(0.0, 10.0), (10.0, 20.0), (20.0, 25.0)]
    assert divided([(0.0, 25.0)], [], 0.1, PrepareOptions()) == [(0.0, 8.333), (8.333, 16.667), (16.667, 25.0)]
    assert divided([(0.0, 10.0), (10.0, 12.0)], loud, 0.1, PrepareOptions()) == [(0.0, 10.0), (10.0, 12.0)]


@given(
    st.floats(1, 200),
    st.lists(st.tuples(SECONDS, st.floats(1, 100)), max_size=20),
    st.floats(2, 40),
    st.lists(st.integers(-96, 0), max_size=300),
)
def test_scenes_tile_the_file(duration, cuts, seconds, levels):
    options = PrepareOptions(seconds=seconds, max_seconds=60)
    cut_up = divided(scene_windows(duration, cuts, options), levels, 0.1, options)
    assert (cut_up[0][0], cut_up[-1][1]) == (0.0, duration)
    assert all(a[1] == b[0] for a, b in pairwise(cut_up))
    assert all(min(1.0, duration) - 0.11 <= end - start <= seconds + 0.01 for start, end in cut_up)


def test_auto_looks_for_scenes_where_nothing_is_said_of_the_whole():
    asked = []

    def scenes(clip: Clip) -> list[tuple[float, float]]:
        asked.append(clip.end)
        return [(0.0, 4.0), (4.0, clip.end)]

    options = PrepareOptions()
    assert windows(cut(whole(12.0), Annotations(), options, scenes)) == [(0.0, 4.0), (4.0, 12.0)]
    assert windows(cut(whole(12.0), Annotations(labels=("dog",)), options, scenes)) == [(0.0, 12.0)]
    assert windows(cut(whole(12.0), Annotations(texts=LINES[:1]), options, scenes)) == [(1.0, 2.5)]
    assert windows(cut(whole(5.0), Annotations(), options, scenes)) == [(0.0, 5.0)]
    sound = Clip(id="", source="a.wav", end=10.0, has_audio=True)
    assert windows(cut(sound, Annotations(), options, scenes)) == [(0.0, 10.0)]
    assert asked == [12.0]
    (one,) = cut(whole(12.0), Annotations(), options, lambda clip: [(0.0, clip.end)])
    assert one.id == "a.mp4"


def test_options_of_older_libraries_keep_their_recipe():
    """A library is not cut anew because this version cuts otherwise: only what is new or changed is."""
    assert PrepareOptions().recipe() == "3c53f60da833be20"
    assert PrepareOptions(clips="fixed", seconds=5).recipe() == "35dff58957853bba"
