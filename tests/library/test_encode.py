"""Encoding a library: what is made, kept, taken out and set aside; kills, stops, several workers."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from seehear.errors import SeehearError
from seehear.library import encode
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables, Text, VectorTable
from seehear.progress import counted
from tests.faults.outcome import Command
from tests.library.fake_encoders import IN_PROCESS, Broken, FakeSound, FakeText, latents
from tests.library.makers import film, sound

SECONDS = 12


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A folder of two files in one-second clips, with a caption each, as a library."""
    root = tmp_path_factory.mktemp("originals")
    (root / "media").mkdir()
    sound(root / "media" / "a.wav", seconds=SECONDS, rate=8000)
    film(root / "media" / "b.mp4", seconds=2.0)
    (root / "media" / "a.txt").write_text("a dog barks\n")
    prepare(root / "media", root / "lib", PrepareOptions(workers=0, clips="fixed", seconds=1.0))
    return root


@pytest.fixture
def library(tmp_path, originals):
    shutil.copytree(originals / "lib", tmp_path / "lib")
    return LibraryTables.open(tmp_path / "lib")


def table(library, name="fake-sound"):
    """key -> (vector, maker, content): all that a table says, without its order."""
    rows = library.vectors("latents", name).read()
    keys = list(zip(rows.ids, rows.items.tolist(), strict=True))
    assert len(set(keys)) == len(keys), "a row is there twice"
    values = zip(rows.vectors.tolist(), rows.makers, rows.contents, strict=True)
    return {key: (tuple(vector), maker, content) for key, (vector, maker, content) in zip(keys, values, strict=True)}


def test_every_clip_once(library):
    encoder = FakeSound()
    whole = encode_library(library, [encoder], IN_PROCESS)
    assert str(whole).endswith(f"\nnext: seehear index {library.uri}; seehear train {library.uri}")
    report = whole.encoders[0]
    clips = [clip for clip in library.clips() if clip.has_audio]
    assert (report.made, report.kept, report.rejected) == (len(clips), 0, 0)
    rows = table(library)
    assert set(rows) == {(clip.id, 0) for clip in clips}
    for clip in clips:
        vector, maker, _ = rows[clip.id, 0]
        assert vector[0] == pytest.approx(clip.end - clip.start, abs=1e-3)
        assert maker == encoder.fingerprint
    about = json.loads(library.about()["encoder:fake-sound"])
    assert about == {"modality": "audio", "width": 4, "fingerprint": encoder.fingerprint}


def test_second_run_computes_nothing(library, capsys):
    encode_library(library, [FakeSound()], IN_PROCESS)
    before = table(library)
    again = FakeSound()
    report = encode_library(library, [again], IN_PROCESS).encoders[0]
    assert again.batches == []
    assert (report.made, report.kept) == (0, len(before))
    assert table(library) == before
    assert "nothing to encode" in capsys.readouterr().err


def test_workers_and_batch_sizes_give_the_same_table(library, tmp_path, originals):
    encode_library(library, [FakeSound()], EngineOptions(workers=0, batch_size=1))
    shutil.copytree(originals / "lib", tmp_path / "other")
    other = LibraryTables.open(tmp_path / "other")
    encode_library(other, [FakeSound()], EngineOptions(workers=3, batch_size=5))
    assert table(other) == table(library)


@pytest.mark.slow  # tests/encoders/test_packaged.py has the rows of every packaged encoder
def test_default_encoders_encode_media_bit_for_bit(library, tmp_path, originals):
    """float16 of an encoder that gives media the same to the last bit, whatever they are batched with."""
    where = "source = 'b.mp4'"
    shutil.copytree(originals / "lib", tmp_path / "other")
    other = LibraryTables.open(tmp_path / "other")
    names = ["aisfx", "efficientnet-lite0"]
    encode_library(library, names, EngineOptions(workers=2), where=where, device="cpu")
    encode_library(other, names, EngineOptions(workers=0, batch_size=1), where=where, device="cpu")
    for name in names:
        assert table(library, name) == table(other, name)
        assert len({clip for clip, _ in table(library, name)}) == 2


def test_every_sample_of_media_has_a_thread_of_its_own(library):
    """A model that divides each layer among threads waits for the one whose core decodes."""

    class Noting(FakeSound):
        def encode(self, prepared):
            threads.add((threading.current_thread(), torch.get_num_threads()))
            return super().encode(prepared)

    encoder, threads, before = Noting(), set(), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        encode_library(library, [encoder], IN_PROCESS)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert set(encoder.batches) == {1}
    assert {own for _, own in threads} == {1}
    assert threading.main_thread() not in {thread for thread, _ in threads}
    assert len(threads) <= 3


def test_another_version_of_the_encoder_replaces_all(library, capsys):
    encode_library(library, [FakeSound()], IN_PROCESS)
    count = len(table(library))
    newer = FakeSound(fingerprint="3333333333333333", scale=2.0)
    report = encode_library(library, [newer], IN_PROCESS).encoders[0]
    assert report.removed == {"another version of the encoder": count}
    assert {maker for _, maker, _ in table(library).values()} == {"3333333333333333"}
    assert f"{count} rows removed: another version of the encoder" in capsys.readouterr().err
    wider = FakeSound(fingerprint="4444444444444444", width=6)
    assert encode_library(library, [wider], IN_PROCESS).encoders[0].made == count
    assert library.vectors("latents", "fake-sound").width == 6


def test_rows_of_another_version_are_never_read(library):
    """A run that was killed right after its start leaves rows of both: only the new are current."""
    encode_library(library, [FakeSound()], IN_PROCESS)
    some = [clip.id for clip in library.clips() if clip.has_audio][:2]
    newer = FakeSound(fingerprint="3333333333333333")
    encode_library(library, [newer], IN_PROCESS, where=f"id IN ({', '.join(repr(i) for i in some)})")
    current = latents(library, "fake-sound")
    assert current.ids == some
    assert set(current.makers) == {"3333333333333333"}


def test_changed_file_and_text_are_encoded_again(tmp_path, originals):
    shutil.copytree(originals / "media", tmp_path / "media")
    options = PrepareOptions(workers=0, clips="fixed", seconds=1.0)
    prepare(tmp_path / "media", tmp_path / "lib", options)
    library = LibraryTables.open(tmp_path / "lib")
    encode_library(library, [FakeSound(), FakeText()], IN_PROCESS)
    before = table(library)
    text = next(clip for clip in library.clips() if clip.texts)
    library.put_clips([replace(text, texts=(Text("a cat"), Text("and a dog")))])
    sound(tmp_path / "media" / "a.wav", seconds=2.0, rate=16_000)
    prepare(tmp_path / "media", tmp_path / "lib", options)
    encoder = FakeSound()
    report = encode_library(LibraryTables.open(tmp_path / "lib"), [encoder], IN_PROCESS).encoders[0]
    after = table(LibraryTables.open(tmp_path / "lib"))
    kept = {key for key in before if key[0].startswith("b.mp4")}
    assert (report.made, report.kept) == (2, len(kept))
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert set(after) - kept == {("a.wav#0.000-1.000", 0), ("a.wav#1.000-2.000", 0)}


def test_texts_are_items_and_equal_ones_are_read_once(library):
    clips = library.clips()
    library.put_clips([replace(clip, texts=(Text("a dog"), Text(f"clip {i}"))) for i, clip in enumerate(clips)])
    encoder = FakeText()
    report = encode_library(library, [encoder]).encoders[0]
    assert report.made == 2 * len(clips)
    assert encoder.read.count("a dog") == 1
    rows = table(library, "fake-text")
    assert all(rows[clip.id, 0][0] == (5.0, 2.0) for clip in clips)
    library.put_clips([replace(clips[0], texts=(Text("a cat sleeps"),))])
    again = FakeText()
    report = encode_library(library, [again]).encoders[0]
    assert again.read == ["a cat sleeps"]
    assert report.removed == {"the file, window or text has changed": 1, "the clip was deleted": 1}


def test_where_encodes_a_part_and_keeps_the_rest(library):
    one = library.clips()[0].id
    assert encode_library(library, [FakeSound()], IN_PROCESS, where=f"id = '{one}'").encoders[0].made == 1
    report = encode_library(library, [FakeSound()], IN_PROCESS).encoders[0]
    assert (report.kept, report.removed) == (1, {})


def test_what_cannot_be_decoded_is_set_aside_and_tried_again(library, tmp_path):
    clips = [clip for clip in library.clips() if clip.source == "a.wav"]
    shutil.copytree(library.path_of(""), tmp_path / "media")
    names = ["gone.wav", "crash.wav", "bug.wav", "huge.wav"]
    for name in names[1:]:
        shutil.copy(tmp_path / "media" / "a.wav", tmp_path / "media" / name)
    library.set_about("roots", json.dumps({"": str(tmp_path / "media")}))
    library.put_clips([replace(clips[0], id=name, source=name) for name in names])
    library.put_clips([replace(clips[0], id="blank", has_audio=False, texts=(Text("  \n"),))])
    for _ in range(2):
        report = encode_library(library, [FakeSound(), FakeText()], EngineOptions(workers=2))
        assert [encoder.rejected for encoder in report.encoders] == [4, 1]
        reasons = {reject.path: reject.reason for reject in library.rejects() if reject.stage.startswith("encode:")}
        assert set(reasons) == {*(f"{name} (fake-sound)" for name in names), "blank (fake-text, text 0)"}
        assert "cannot be read" in reasons["gone.wav (fake-sound)"]
        assert "crashed the process" in reasons["crash.wav (fake-sound)"]
        assert reasons["bug.wav (fake-sound)"] == "KeyError: 'of this file alone'"
        assert reasons["huge.wav (fake-sound)"].startswith("not enough memory (Unable to allocate 4.00 TiB)")
        assert "blank" in reasons["blank (fake-text, text 0)"]
    assert len(table(library)) == SECONDS + 2
    shutil.copy(tmp_path / "media" / "a.wav", tmp_path / "media" / "gone.wav")
    library.remove_clips(["crash.wav", "bug.wav", "huge.wav"])
    assert encode_library(library, [FakeSound()], IN_PROCESS).encoders[0].made == 1
    assert [r.stage for r in library.rejects() if r.stage.startswith("encode:")] == ["encode:fake-text"]


def test_numbers_that_cannot_be_stored_are_set_aside(library):
    report = encode_library(library, [Broken()], EngineOptions(workers=0, batch_size=100)).encoders[0]
    assert report.rejected >= 2
    assert report.made + report.rejected == SECONDS + 2
    assert np.isfinite([vector for vector, _, _ in table(library).values()]).all()
    reasons = {reject.reason for reject in library.rejects()}
    assert any("not finite" in reason for reason in reasons)


def test_machine_that_lacks_something_ends_the_run(library, tmp_path):
    library.put_clips([replace(library.clips()[0], id="unready.wav", source="unready.wav")])
    with pytest.raises(SeehearError, match="this needs the package"):
        encode_library(library, [FakeSound()], EngineOptions(workers=1))
    assert not [reject for reject in library.rejects() if reject.stage.startswith("encode:")]


def test_a_media_folder_that_has_moved_is_one_line(tmp_path, originals, capsys):
    media, other, lib = tmp_path / "media", tmp_path / "other", tmp_path / "lib"
    shutil.copytree(originals / "media", media)
    for folder in (media, other):
        folder.mkdir(exist_ok=True)
        sound(folder / "c.wav", seconds=1.0 if folder == media else 1.25, rate=8000)
        prepare(folder, lib, PrepareOptions(workers=0, clips="whole"))
    library = LibraryTables.open(lib)
    media.rename(tmp_path / "moved")
    report = encode_library(library, [FakeSound()], IN_PROCESS).encoders[0]
    assert (report.made, report.rejected) == (1, 3)
    assert f"the media folder {media} no longer exists: put it back, or prepare it" in capsys.readouterr().err
    reasons = [r.reason for r in library.rejects() if r.stage.startswith("encode:")]
    assert reasons == 3 * [f"its media folder {media} no longer exists"]
    with pytest.raises(SeehearError, match=rf"{media} no longer exists: .*seehear prepare FOLDER --library {lib}"):
        encode_library(library, [FakeSound()], IN_PROCESS)
    (tmp_path / "moved").rename(media)
    assert encode_library(library, [FakeSound()], IN_PROCESS).encoders[0].made == 3


def test_bad_requests_are_one_line(library, tmp_path):
    with pytest.raises(SeehearError, match="did you mean 'aisfx'"):
        encode_library(library, ["aisfxx"])
    with pytest.raises(SeehearError, match="no latents of fake-sound"):
        latents(library, "fake-sound")
    with pytest.raises(SeehearError, match="no clips"):
        encode_library(LibraryTables.create(tmp_path / "empty"))
    library.put_clips([replace(clip, texts=()) for clip in library.clips()])
    with pytest.raises(SeehearError, match=r"encodes text, and no clip .* \(there is: video, audio\)"):
        encode_library(library, [FakeText()])
    with pytest.raises(SeehearError, match="cannot filter by"):
        encode_library(library, [FakeSound()], where="nonsense = 1")


def test_an_engine_that_is_not_installed_is_one_line(library, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SeehearError, match=r"this needs the package 'ray': pip install 'seehear\[ray\]'"):
        encode_library(library, [FakeSound()], EngineOptions(engine="ray"))


# -- kills and stops ---------------------------------------------------------------------------------------------------


def encode_slowly(uri: str) -> int:
    encode.COMMIT_ROWS = 2
    encode_library(LibraryTables.open(uri), [FakeSound(delay=0.15)], EngineOptions(workers=2, batch_size=1))
    return 0


def started(library) -> Command:
    """A run in another process, once its first rows are committed."""
    process = Command(partial(encode_slowly, library.uri))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if "latents_fake-sound" in library.tables() and len(
            LibraryTables.open(library.uri).vectors("latents", "fake-sound")
        ):
            return process
        assert not process.wait(0.05), process.ended().err
    raise AssertionError("no row was committed within a minute")


@pytest.mark.slow
def test_kill_in_the_middle_and_resume(library, tmp_path, originals):
    process = started(library)
    children = process.family()[1:]
    process.send(signal.SIGKILL)
    process.ended()
    done = len(LibraryTables.open(library.uri).vectors("latents", "fake-sound"))
    assert 0 < done < SECONDS + 2
    resumed = LibraryTables.open(library.uri)
    report = encode_library(resumed, [FakeSound()], IN_PROCESS).encoders[0]
    assert (report.kept, report.made) == (done, SECONDS + 2 - done)
    shutil.copytree(originals / "lib", tmp_path / "plain")
    plain = LibraryTables.open(tmp_path / "plain")
    encode_library(plain, [FakeSound()], IN_PROCESS)
    assert table(resumed) == table(plain)
    deadline = time.monotonic() + 120
    while any(os.path.exists(f"/proc/{pid}") for pid in children):
        assert time.monotonic() < deadline, "workers outlive the run"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_stop_saves_what_is_done_and_says_so(library, number):
    process = started(library)
    process.send(number)
    said = process.ended().err
    rows = len(LibraryTables.open(library.uri).vectors("latents", "fake-sound"))
    assert 0 < rows < SECONDS + 2
    assert f"{number.name} while encoding with fake-sound: {counted(rows, 'row')} saved" in said
    assert f"{SECONDS + 2 - rows} left: run the same command again" in said


def test_rows_are_committed_as_time_passes(library, monkeypatch):
    """A slow encoder does not wait for a thousand rows."""
    commits = []
    monkeypatch.setattr(encode, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(VectorTable, "append", lambda self, rows: commits.append(len(rows)), raising=True)
    encode_library(library, [FakeSound()], EngineOptions(workers=0, batch_size=1))
    assert sum(commits) == SECONDS + 2
    assert len(commits) > 3
