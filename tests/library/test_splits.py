"""Splits: every one has its share of clips, no recording is on both sides, nothing moves, a kill changes nothing."""

import shutil
from collections import Counter
from dataclasses import replace

import pytest

from seehear.library import splits
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from tests.library.makers import picture, sound, srt

HERE = PrepareOptions(workers=0, clips="fixed", seconds=1.0)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    for seconds in (1, 7, 40):
        sound(folder / f"{seconds}.wav", seconds=float(seconds), rate=8_000)
    picture(folder / "picture.jpg")
    return folder


def recordings(folder, originals, lengths, *, first=0):
    folder.mkdir(exist_ok=True)
    for n, seconds in enumerate(lengths, first):
        # A byte behind the sound: files with the same content would be one recording.
        (folder / f"rec{n:02d}.wav").write_bytes((originals / f"{seconds}.wav").read_bytes() + bytes([n]))


def split_of_clips(uri):
    return {clip.id: clip.split for clip in LibraryTables.open(uri).clips()}


def test_every_split_has_its_share_of_the_clips(tmp_path, originals):
    """30 recordings of very different length: by their names alone, a split could be nearly empty."""
    recordings(tmp_path / "m", originals, [1, 7, 1, 7, 7, 40] * 5)
    for seed in range(3):
        report = prepare(tmp_path / "m", tmp_path / f"lib{seed}", replace(HERE, seed=seed))
        assert sum(report.splits.values()) == 315
        assert 20 <= report.splits["val"] <= 75
        assert 20 <= report.splits["test"] <= 75
        by_recording = {}
        for clip in LibraryTables.open(tmp_path / f"lib{seed}").clips():
            by_recording.setdefault(clip.group, set()).add(clip.split)
        assert all(len(found) == 1 for found in by_recording.values())
    assert split_of_clips(tmp_path / "lib0") != split_of_clips(tmp_path / "lib1")


def test_new_files_and_changed_ones_move_none(tmp_path, originals):
    folder, lib = tmp_path / "m", tmp_path / "lib"
    recordings(folder, originals, [1, 7, 7, 1, 7, 1, 7])
    prepare(folder, lib, HERE)
    before = split_of_clips(lib)
    recordings(folder, originals, [40, 7], first=7)
    shutil.copy(originals / "40.wav", folder / "rec00.wav")
    prepare(folder, lib, HERE)
    after = split_of_clips(lib)
    assert {id: after[id] for id in before if not id.startswith("rec00")} == {
        id: split for id, split in before.items() if not id.startswith("rec00")
    }
    assert {after[id] for id in after if id.startswith("rec00")} == {before["rec00.wav#0.000-1.000"]}


def test_one_recording_is_divided_in_time_with_gaps(tmp_path, originals):
    recordings(tmp_path / "m", originals, [40])
    report = prepare(tmp_path / "m", tmp_path / "lib", HERE)
    clips = sorted(LibraryTables.open(tmp_path / "lib").clips(), key=lambda clip: clip.start)
    runs = "".join({"train": "t", "val": "v", "test": "e", "gap": "-"}[clip.split] for clip in clips)
    assert runs == "t" * 30 + "-" + "v" * 4 + "-" + "e" * 4
    assert "parts of each in time" in str(report)
    assert prepare(tmp_path / "m", tmp_path / "lib", HERE).notes == ()
    recordings(tmp_path / "m", originals, [7] * 5, first=1)  # it stays divided when more are added
    prepare(tmp_path / "m", tmp_path / "lib", HERE)
    again = split_of_clips(tmp_path / "lib")
    assert {clip.id: again[clip.id] for clip in clips} == {clip.id: clip.split for clip in clips}


def test_the_note_counts_all_recordings(tmp_path, originals):
    recordings(tmp_path / "m", originals, [40, 1, 1])
    report = prepare(tmp_path / "m", tmp_path / "lib", HERE)
    assert "with only 3 recordings the splits are parts of 1 of them in time" in str(report)


def test_a_divided_recording_that_became_short_is_trained_on(tmp_path, originals):
    recordings(tmp_path / "m", originals, [40])
    prepare(tmp_path / "m", tmp_path / "lib", HERE)
    shutil.copy(originals / "1.wav", tmp_path / "m" / "rec00.wav")
    prepare(tmp_path / "m", tmp_path / "lib", HERE)
    assert list(split_of_clips(tmp_path / "lib").values()) == ["train"]


def test_lines_that_overlap_a_part_before_the_gap_belong_to_the_gap(tmp_path, originals):
    recordings(tmp_path / "m", originals, [40])
    srt(tmp_path / "m" / "rec00.srt", [(n, n + 3.5, f"line {n}") for n in range(36)])
    prepare(tmp_path / "m", tmp_path / "lib", replace(HERE, clips="auto"))
    clips = LibraryTables.open(tmp_path / "lib").clips()
    ends = {name: max(clip.end for clip in clips if clip.split == name) for name in ("train", "val")}
    starts = {name: min(clip.start for clip in clips if clip.split == name) for name in ("val", "test")}
    assert ends["train"] <= starts["val"]
    assert ends["val"] <= starts["test"]


def test_what_the_user_says_of_splits_stays(tmp_path, originals):
    recordings(tmp_path / "m", originals, [1, 1, 1, 7])
    rows = [f"rec{n:02d}.wav,{split}" for n, split in enumerate(["test", "test", "val", "test"])]
    (tmp_path / "m" / "list.csv").write_text("\n".join(["file,split", *rows]) + "\n")
    prepare(tmp_path / "m" / "list.csv", tmp_path / "lib", HERE)
    assert Counter(split_of_clips(tmp_path / "lib").values()) == {"test": 9, "val": 1}


def test_a_kill_while_splits_are_settled_changes_nothing(tmp_path, originals, monkeypatch):
    recordings(tmp_path / "m", originals, [1, 7, 7, 1, 7, 1, 7, 40])
    prepare(tmp_path / "m", tmp_path / "whole", HERE)
    monkeypatch.setattr(splits, "GROUPS_A_WRITE", 2)
    real, left = LibraryTables.put_sources, [4]

    def stops(library, sources):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        real(library, sources)

    monkeypatch.setattr(LibraryTables, "put_sources", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "m", tmp_path / "cut", HERE)
    assert split_of_clips(tmp_path / "cut") != split_of_clips(tmp_path / "whole")
    monkeypatch.setattr(LibraryTables, "put_sources", real)
    prepare(tmp_path / "m", tmp_path / "cut", HERE)
    assert split_of_clips(tmp_path / "cut") == split_of_clips(tmp_path / "whole")


def test_a_library_of_an_older_version_keeps_its_way(tmp_path, originals):
    recordings(tmp_path / "m", originals, [1, 7, 7])
    prepare(tmp_path / "m", tmp_path / "lib", HERE)
    library = LibraryTables.open(tmp_path / "lib")
    library.forget("splits")
    before = split_of_clips(tmp_path / "lib")
    recordings(tmp_path / "m", originals, [40], first=3)
    prepare(tmp_path / "m", tmp_path / "lib", HERE)
    after = split_of_clips(tmp_path / "lib")
    assert {id: after[id] for id in before} == before
    assert len(set(after.values()) & {"gap"}) == 0
