"""A folder brought into its library in parts: what may happen to it, and to the work, between any two of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from seehear.cli import main
from seehear.errors import SeehearError
from seehear.folders import find, work
from seehear.folders.find import watched
from seehear.folders.standing import Pace
from seehear.folders.work import Work
from seehear.library import reading
from seehear.library.clips import PrepareOptions, coarse_windows
from seehear.library.locking import Server, announced, keeper, server_of, writing
from seehear.library.prepare import prepare
from seehear.library.records import COARSE, COPY_OF, UNCUT
from seehear.library.tables import LibraryTables
from seehear.progress import Interrupted
from seehear.search.index import indexes
from tests.library.fake_encoders import FakeSound
from tests.library.makers import shots, sound
from tests.small_media import copy_photos


@pytest.fixture(scope="module", autouse=True)
def cheap():
    """One encoder, of sound; all is decoded in this process, no text is read, and three seconds are a long file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "load_all", lambda *_: [FakeSound()])
        patch.setattr(work, "PrepareOptions", partial(PrepareOptions, workers=0))
        patch.setattr("seehear.library.engines.cores", lambda: 0)
        patch.setattr(work, "find_spec", lambda name: None)
        patch.setattr(reading, "COARSE_FROM", 3.0)
        yield


@pytest.fixture(scope="module")
def originals(tmp_path_factory, cheap):
    """Two sounds and a film of three scenes, with sound; and the library of the folder, with nothing left to do."""
    root = tmp_path_factory.mktemp("worked")
    made = root / "media"
    made.mkdir()
    for name, seconds in (("a", 1.0), ("b", 1.5)):
        sound(made / f"{name}.wav", seconds=seconds, rate=8000)
    noise = 0.2 * np.random.default_rng(0).standard_normal(6 * 8000)
    shots(made / "film.mkv", [2.0, 2.0, 2.0], audio=noise)
    whole(made, str(root / "lib"))
    return root


@pytest.fixture
def folder(tmp_path, originals):
    return shutil.copytree(originals / "media", tmp_path / "media")


@pytest.fixture
def worked(tmp_path, folder, originals):
    """The library of the folder."""
    uri = str(shutil.copytree(originals / "lib", tmp_path / "lib"))
    LibraryTables.open(uri).set_about("roots", json.dumps({"": str(folder)}))
    return uri


def whole(folder, uri):
    """Works until nothing is left."""
    one = Work(folder, uri)
    while one.step():
        pass
    return one


def state(uri):
    """Clips with their splits, what each encoder and index has, and what is set aside."""
    library = LibraryTables.open(uri)
    tables = {name: sorted(library.vectors("vectors", name).keys().items()) for name in indexes(library)}
    clips = [(clip.id, clip.start, clip.end, clip.split) for clip in library.clips()]
    latents = sorted(library.vectors("latents", "fake-sound").keys().items())
    return clips, latents, tables, sorted(reject.path for reject in library.rejects())


def found(uri):
    rows = LibraryTables.open(uri).vectors("vectors", "frozen-fake-sound").keys()
    return sorted({clip for clip, _, _ in rows})


def test_a_long_film_can_be_searched_before_it_is_cut(folder, tmp_path):
    uri = str(tmp_path / "lib")
    one = Work(folder, uri)
    assert one.step()  # looks
    assert one.step()  # encodes
    early = found(uri)
    assert early == ["a.wav", "b.wav", "film.mkv#0.500-2.500", "film.mkv#3.500-5.500"]
    assert LibraryTables.open(uri).sources()["film.mkv"].info[COARSE] == UNCUT
    while one.step():  # the film can be found all the time
        assert any("film" in id for id in found(uri))
    scenes = ["film.mkv#0.000-2.040", "film.mkv#2.040-4.000", "film.mkv#4.000-6.000"]
    assert found(uri) == ["a.wav", "b.wav", *scenes]
    assert (one.standing().state, one.standing().found) == ("ready", 5)


def test_the_library_is_that_of_prepare(folder, tmp_path):
    """To all files: their clips, splits, and what is known of them."""
    os.link(folder / "film.mkv", folder / "copy.mkv")
    whole(folder, str(tmp_path / "lib"))
    prepare(folder, tmp_path / "other", PrepareOptions(workers=0))
    own, other = (LibraryTables.open(tmp_path / name) for name in ("lib", "other"))
    assert own.clips() == other.clips()
    assert own.sources() == other.sources()
    assert COPY_OF in own.sources()["film.mkv"].info


def test_work_that_ends_after_any_part_goes_on(folder, tmp_path, originals):
    """Each part by a process of its own, as it were."""
    uri, parts = str(tmp_path / "lib"), 0
    while not parts or any(COARSE in source.info for source in LibraryTables.open(uri).sources().values()):
        assert Work(folder, uri).step()
        parts += 1
    assert parts >= 3
    assert state(whole(folder, uri).uri) == state(str(originals / "lib"))


def test_files_come_change_and_go_while_it_works(folder, tmp_path):
    uri = str(tmp_path / "lib")
    one = Work(folder, uri)
    one.step()
    changes = [
        lambda: sound(folder / "new.wav", seconds=2.0, rate=8000),
        lambda: (folder / "a.wav").rename(folder / "renamed.wav"),
        lambda: (folder / "film.mkv").rename(folder / "other.mkv"),
        lambda: (folder / "b.wav").unlink(),
        lambda: sound(folder / "new.wav", seconds=1.2, rate=8000),
    ]
    for change in changes:
        change()
        one.changed.set()
        one.step()
    while one.step():
        pass
    whole(folder, str(tmp_path / "fresh"))
    assert state(uri)[:2] == state(str(tmp_path / "fresh"))[:2]
    assert found(uri) == found(str(tmp_path / "fresh"))
    assert "renamed.wav" in found(uri)
    assert "b.wav" not in found(uri)


def test_a_file_that_is_being_copied_is_waited_for(folder, tmp_path, monkeypatch):
    """The clock is the test's; the files were made at its second 0."""
    (folder / "film.mkv").unlink()
    now = 0.0
    begun = os.stat(folder / "a.wav").st_mtime_ns / 1e9
    clock = SimpleNamespace(time=lambda: begun + now, monotonic=lambda: now)
    monkeypatch.setattr(work, "time", clock)
    for file in folder.iterdir():
        os.utime(file, (begun - 100, begun - 100))
    os.utime(folder / "b.wav", (begun, begun))
    uri = str(tmp_path / "lib")
    one = Work(folder, uri, rest_seconds=5.0)

    def go_on():
        one.changed.set()
        while one.step():
            pass
        return set(found(uri))

    assert go_on() == {"a.wav"}
    assert one._restless
    now = 4.0
    sound(folder / "b.wav", seconds=2.0, rate=8000)
    os.utime(folder / "b.wav", (begun + 4, begun + 4))
    assert go_on() == {"a.wav"}
    now = 9.5
    assert go_on() == {"a.wav", "b.wav"}
    assert not one._restless
    # A file that is written anew keeps its clips meanwhile, and a disk whose clock is ahead is no hindrance.
    sound(folder / "b.wav", seconds=1.2, rate=8000)
    os.utime(folder / "b.wav", (begun + 1000, begun + 1000))
    assert "b.wav" in go_on()
    assert LibraryTables.open(uri).clips("id = 'b.wav'")[0].end == 2.0
    now = 15.0
    assert "b.wav" in go_on()
    assert LibraryTables.open(uri).clips("id = 'b.wav'")[0].end == 1.2


def test_nothing_is_written_among_the_media_and_damaged_files_are_set_aside(folder, tmp_path):
    (folder / "damaged.wav").write_bytes(b"RIFF" + bytes(40))
    (folder / "empty.mp4").write_bytes(b"")
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())}
    folder.chmod(0o555)
    try:
        one = whole(folder, str(tmp_path / "lib"))
    finally:
        folder.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())} == before
    assert state(one.uri)[3] == ["damaged.wav", "empty.mp4"]
    assert "a.wav" in found(one.uri)


def test_an_empty_folder_is_waited_for_and_a_lost_one_loses_nothing(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    one = whole(tmp_path / "empty", str(tmp_path / "lib"))
    assert one.standing().state == "waiting"
    assert "waiting for files" in str(one.standing())
    sound(tmp_path / "empty" / "x.wav", rate=8000)
    one.changed.set()
    while one.step():
        pass
    assert found(one.uri) == ["x.wav"]
    (tmp_path / "empty").rename(tmp_path / "away")
    one.changed.set()
    while one.step():
        pass
    assert one.standing().state == "waiting"
    assert found(one.uri) == ["x.wav"]


def test_what_goes_wrong_is_said_and_tried_again(folder, tmp_path, monkeypatch):
    uri, waits = str(tmp_path / "lib"), []
    one = Work(folder, uri)

    def wait(seconds):
        waits.append((one.standing().state, one.standing().note))
        if len(waits) == 2:
            raise Interrupted("stopped")
        held.close()

    monkeypatch.setattr(one.changed, "wait", wait)
    held = ExitStack()
    held.enter_context(writing(uri))  # another command is at the library
    with pytest.raises(Interrupted):
        one.follow()
    assert waits[0][0] == "waiting"
    assert "is being written by another process" in waits[0][1]
    assert waits[1] == ("ready", "")
    assert len(found(uri)) == 5


def test_two_share_the_work(folder, worked, monkeypatch, capsys):
    """The second `find` answers from what is there; the second `open` shows the page of the first."""
    uri, shown = worked, []
    monkeypatch.setattr("webbrowser.open", shown.append)
    monkeypatch.setattr(work, "prepare_share", lambda *_: pytest.fail("works twice"))
    with keeper(uri) as alone, announced(uri, Server(address="http://127.0.0.1:1/")):
        assert alone
        assert not find.bring_up_to_date(folder, uri)
        assert main(["open", str(folder), "--library", uri]) == 0
        said = capsys.readouterr().err
        assert "is already open at http://127.0.0.1:1/" in said
        assert shown == ["http://127.0.0.1:1/"]
    with keeper(uri) as alone:
        assert alone
    assert server_of(uri) is None


def test_a_preset_that_cannot_be_had_is_not_remembered(folder, worked, monkeypatch):
    """Else every later call, which names none, would fail by it."""
    usual = LibraryTables.open(worked).about()["preset"]

    def offline(*_):
        raise SeehearError("the hub cannot be asked")

    with monkeypatch.context() as patch:
        patch.setattr(work, "load_all", offline)
        one = Work(folder, worked, preset="strong")
        with pytest.raises(SeehearError, match="the hub cannot be asked"):
            list(iter(one.step, False))
    assert LibraryTables.open(worked).about()["preset"] == usual


def test_the_last_line_counts_the_files_set_aside(folder, tmp_path):
    (folder / "empty.wav").touch()
    uri = str(tmp_path / "lib")
    line = str(whole(folder, uri).standing())
    assert line.endswith(f"can be searched; 1 file set aside: seehear info {uri} --rejects")


def test_a_second_start_counts_from_its_beginning_what_can_be_searched(folder, worked):
    sound(folder / "c.wav", seconds=1.0, rate=8000)
    again = Work(folder, worked)
    assert str(again.standing()) == "looking through the folder"
    again.step()
    assert str(again.standing()).endswith("; 5 clips can be searched")


def test_a_change_of_the_folder_is_noticed(tmp_path):
    folder, changed = tmp_path / "media", threading.Event()
    (folder / "lib").mkdir(parents=True)
    with watched(folder, changed, skip=str(folder / "lib")):
        for n in range(300):
            (folder / f"{n}.txt").write_text("")
            if changed.wait(0.1):
                break
    assert changed.is_set()


@pytest.mark.slow
def test_the_command_is_opened_killed_opened_again_and_shared(tmp_path):
    """With packaged weights, in processes of their own."""
    copy_photos(tmp_path / "photos", "panda")
    words = ["open", str(tmp_path / "photos"), "--library", str(tmp_path / "lib"), "--no-browser", "--preset", "light"]
    start = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", start + "from seehear.cli import main; sys.exit(main(sys.argv[1:]))", *words]

    def ask(address, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def opened(count):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        address = process.stderr.readline().split()[-1]
        while ask(address, "api/progress")["state"] != "ready" or ask(address, "api/progress")["searchable"] < count:
            assert process.poll() is None
            time.sleep(0.5)
        return process, address

    first, address = opened(1)
    hits = ask(address, "api/search", {"parts": [{"text": "a giraffe"}]})["hits"]
    assert [hit["clip"]["source"] for hit in hits] == ["panda.jpg"]
    copy_photos(tmp_path / "photos", "giraffe")
    while ask(address, "api/progress")["searchable"] < 2:
        time.sleep(0.5)
    assert len(ask(address, "api/search", {"parts": [{"text": "a giraffe"}]})["hits"]) == 2
    first.kill()
    first.communicate()
    again, address = opened(2)
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert second.stderr == f"{tmp_path / 'photos'} is already open at {address}\n"
    again.send_signal(signal.SIGINT)
    said = again.communicate()[1]
    assert again.returncode == 130
    assert said.endswith("seehear: stopped: run the same command again to continue\n")


def test_mistakes_are_one_line(tmp_path, capsys):
    assert main(["open", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"seehear: no folder {tmp_path / 'nowhere'}\n"
    (tmp_path / "empty").mkdir()
    with pytest.raises(SeehearError, match="there is no video, sound or picture in this folder"):
        find.bring_up_to_date(tmp_path / "empty", str(tmp_path / "lib"))


def test_any_beginning_covers_the_whole():
    assert work.spread([]) == []
    order = work.spread(range(7))
    assert sorted(order) == list(range(7))
    assert order[:3] == [3, 1, 5]


def test_windows_of_a_long_file():
    assert coarse_windows(60.0) == [(14.0, 16.0), (44.0, 46.0)]
    assert len(coarse_windows(600.0)) == len(coarse_windows(36_000.0)) == 6


def test_what_is_left_follows_from_what_it_took():
    pace = Pace()
    assert pace.seconds()[1] is None
    pace.add("encode", 10_000.0, 10_000.0)
    pace.expect({"encode": 100.0})
    left = pace.seconds()[1]
    assert left is not None
    assert 95 < left <= 100
