"""A folder of media, found in with packaged weights and one command."""

import io
import json
import shutil
import signal
from contextlib import redirect_stdout

import numpy as np
import pytest
from PIL import Image

from seehear.cli import main
from seehear.demo import MEDIA
from seehear.errors import SeehearError
from seehear.folders import find, work
from seehear.library.tables import LibraryTables, library_of
from seehear.media.files import probe
from seehear.progress import Interrupted
from tests.library.makers import film
from tests.small_media import copy_photos

PANDA, SOUND = MEDIA / "photos" / "panda.jpg", MEDIA / "sounds" / "accordion.opus"


@pytest.fixture(scope="module", autouse=True)
def plain(few_phrases):
    """Nothing that reads speech or text on screen is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "find_spec", lambda name: None)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A film with sound and two pictures; one has subtitles."""
    made = tmp_path_factory.mktemp("media")
    film(made / "talk.mp4")
    (made / "talk.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nthe harbour is closed tonight\n")
    draw = np.random.default_rng(0)
    for n, colour in enumerate(((20, 160, 30), (200, 30, 30))):
        noise = draw.integers(0, 30, (96, 96, 3))
        Image.fromarray((noise + np.array(colour)).clip(0, 255).astype(np.uint8)).save(made / f"{n}.jpg")
    return made


@pytest.fixture(scope="module")
def first(folder, tmp_path_factory):
    """The library that the first `find` makes, and its answer."""
    uri = str(tmp_path_factory.mktemp("find") / "lib")
    words = ["find", str(folder), "ships may not enter the port", "--library", uri, "--wait", "--preset", "light"]
    with redirect_stdout(io.TextIOWrapper(io.BytesIO())) as out:
        assert main([*words, "--json", "--quiet"]) == 0
    out.seek(0)
    return uri, json.load(out)


@pytest.fixture
def library(first):
    return first[0]


def test_words_find_what_is_said(folder, first):
    answer = first[1]
    assert list(answer) == ["query", "words", "hits", "indexed", "clips"]
    assert answer["indexed"] == answer["clips"] == 3
    spoken = [hit for hit in answer["hits"] if hit["kind"] == "spoken"]
    assert [(hit["text"], hit["start"], hit["end"]) for hit in spoken] == [("the harbour is closed tonight", 0.0, 1.0)]
    assert spoken[0]["file"] == str(folder.resolve() / "talk.mp4")


def test_a_reader_without_its_model_does_not_end_it(folder, library, monkeypatch, capsys):
    """The other reader still reads, and Ctrl-C is no missing model."""

    def lacking(_, portion):
        raise SeehearError("no speech model at hand")

    def stopped(_, portion):
        raise Interrupted("stopped")

    called = []
    monkeypatch.setattr(work, "find_spec", lambda name: name)
    monkeypatch.setattr("seehear.library.transcribe.transcribe", lacking)
    monkeypatch.setattr("seehear.library.ocr.ocr", lambda library, portion: called.append(library))
    assert not work.Work(folder, library)._read(LibraryTables.open(library))
    assert len(called) == 1
    assert "no speech model at hand" in capsys.readouterr().err
    monkeypatch.setattr("seehear.library.ocr.ocr", stopped)
    with pytest.raises(Interrupted):
        work.Work(folder, library)._read(LibraryTables.open(library))


@pytest.mark.slow
def test_a_picture_finds_its_like(folder, library, capsys):
    picture = str(folder / "1.jpg")
    assert main(["find", str(folder), "--image", picture, "--library", library, "--k", "1", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"][0]["file"].endswith("1.jpg")


@pytest.mark.slow
def test_search_is_the_same_on_a_library(folder, library, capsys):
    assert main(["find", str(folder), "a red wall", "--library", library, "--json", "--quiet"]) == 0
    found = capsys.readouterr().out
    assert main(["search", library, "a red wall", "--json", "--quiet"]) == 0
    assert capsys.readouterr().out == found


def test_without_wait_it_answers_from_what_is_indexed(folder, library, tmp_path, monkeypatch, capsys):
    """Time is up before anything is done: yesterday's index answers, and what it lacks is said."""
    monkeypatch.setattr(find, "bring_up_to_date", lambda *_, **__: False)
    there = LibraryTables.open(library)
    there.put_clips([there.clips()[0].__class__(id="new", source="0.jpg", has_video=True)])
    try:
        assert main(["find", str(folder), "a harbour", "--library", library]) == 0
    finally:
        there.remove_clips(["new"])
    said = capsys.readouterr()
    assert "1 of 4 clips are not indexed yet: run the same command again to continue, or with --wait" in said.err
    assert "talk.mp4" in said.out


@pytest.mark.parametrize("usual", [signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "background"])
def test_work_that_takes_too_long_is_stopped_as_by_ctrl_c(folder, tmp_path, monkeypatch, usual):
    """A step that never ends by itself: the time limit ends it, and the error is not the user's."""
    before = signal.signal(signal.SIGINT, usual)
    monkeypatch.setattr(work, "prepare_share", lambda *_: find.threading.Event().wait(60))
    try:
        assert not find.bring_up_to_date(folder, str(tmp_path / "lib"), seconds=0.2)
        assert signal.getsignal(signal.SIGINT) == usual
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_not_taken_for_the_time_limit(folder, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "prepare_share", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find.bring_up_to_date(folder, str(tmp_path / "lib"), seconds=60.0)


def test_the_library_of_a_folder_is_in_the_cache(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = library_of(folder)
    assert first.startswith(str(tmp_path / "seehear" / "libraries" / folder.name))
    assert first == library_of(f"{folder}/.")
    assert first != library_of(folder / "below")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/no/such/folder", "a dog"], "no folder /no/such/folder"),
        (["."], "nothing to search for: give words, --audio, --image, --video or --like"),
        ([".", "--audio", "/no/such.wav"], "no file /no/such.wav"),
        ([__file__, "a dog"], f"{__file__} is a file: give its folder, and --source test_find_folder.py for it alone"),
        ([".", "--audio", str(PANDA)], f"{PANDA} has no sound"),
        ([".", "--image", str(SOUND)], f"--image {SOUND} is no picture: use --audio"),
        ([".", "--video", __file__], f"{__file__}: cannot be read (Invalid data found when processing input)"),
        (
            [".", "a", "dog"],
            "'dog' is one argument too many: several words, or a path with spaces, go in quotes "
            "('seehear find --help' lists all options)",
        ),
    ],
)
def test_mistakes_are_one_line(words, expected, capsys):
    assert main(["find", *words]) == 2
    assert capsys.readouterr().err == f"seehear: {expected}\n"


def test_moments_are_saved_and_listed(folder, library, tmp_path, capsys):
    pytest.importorskip("opentimelineio")
    words = ["find", str(folder), "ships may not enter the port", "--library", library, "--kinds", "spoken", "--k", "1"]
    kept = tmp_path / "01 talk 0h00m00s.mp4"
    kept.write_bytes(b"the user's own")
    assert main([*words, "--save", str(tmp_path), "--edl", str(tmp_path / "cut.edl")]) == 0
    said = capsys.readouterr().err
    assert f"1 moment listed in {tmp_path / 'cut.edl'}\n" in said
    assert f"1 clip saved in {tmp_path}\n" in said
    assert probe(tmp_path / "01 talk 0h00m00s (2).mp4").duration == pytest.approx(1.0, abs=0.1)
    assert kept.read_bytes() == b"the user's own"
    listed = (tmp_path / "cut.edl").read_text()
    assert "  AX       B     C        00:00:00:00 00:00:01:00 00:00:00:00 00:00:01:00\n" in listed
    assert "* the harbour is closed tonight" in listed

    search = ["search", library, "ships may not enter the port", "--kinds", "spoken", "--edl", str(tmp_path / "a.csv")]
    assert main([*search, "--quiet"]) == 0
    assert (tmp_path / "a.csv").read_text("utf-8-sig").splitlines()[1].endswith(",spoken,the harbour is closed tonight")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--edl", "talk.srt"], "unknown kind of list '.srt' (known: .csv, .edl, .m3u, .otio)"),
        (["--edl", "{folder}/0.csv"], "{folder}/0.csv exists already: delete it, or give another name"),
        (["--edl", "nowhere/0.csv"], "no folder nowhere for 0.csv: make it first"),
        (["--save", "{folder}/0.csv"], "{folder}/0.csv is a file: give a folder to save clips in"),
        (
            ["--save", "{folder}/out"],
            "--save {folder}/out is inside {folder} and would be searched too: choose another folder",
        ),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_the_work(tmp_path, capsys, options, line):
    (tmp_path / "0.csv").touch()
    options = [option.format(folder=tmp_path) for option in options]
    assert main(["find", str(tmp_path), "a dog", "--library", str(tmp_path / "lib"), *options]) == 2
    assert capsys.readouterr().err == f"seehear: {line.format(folder=tmp_path)}\n"
    assert not (tmp_path / "lib").exists()


def test_a_folder_of_damaged_files_is_one_line(tmp_path, capsys):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "a.mp4").write_bytes(b"no film")
    (tmp_path / "damaged" / "b.jpg").write_bytes(b"no picture")
    lib = tmp_path / "lib"
    assert main(["find", str(tmp_path / "damaged"), "a dog", "--library", str(lib), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"seehear: nothing to search in {tmp_path / 'damaged'}: 2 files cannot be read; 'seehear info {lib} --rejects' "
        "lists the reasons\n"
    )


def test_an_answer_that_has_to_wait_says_so(folder, tmp_path, monkeypatch, capsys):
    """Time is up before anything is indexed, or before there is anything that words can be compared with."""
    words = ["find", str(folder), "a dog", "--library", str(tmp_path / "lib"), "--quiet"]

    def time_is_up(*_, **__):
        raise find.OutOfTime

    with monkeypatch.context() as patch:
        patch.setattr(work, "encode_library", time_is_up)  # by the clock, it could be up in the middle of an import
        assert main(words) == 2
    wait = "yet: run the same command again to continue, or with --wait to finish first"
    assert capsys.readouterr().err == f"seehear: nothing of {folder} is indexed {wait}\n"

    (tmp_path / "sounds").mkdir()
    shutil.copy(next((MEDIA / "sounds").glob("*")), tmp_path / "sounds")
    words = ["find", str(tmp_path / "sounds"), "a dog", "--library", str(tmp_path / "other"), "--quiet"]
    bring = find.bring_up_to_date
    monkeypatch.setattr(find, "bring_up_to_date", lambda *a, **k: bring(*a, **k | {"seconds": None}) and False)
    assert main([*words, "--preset", "light"]) == 2
    line = capsys.readouterr().err
    assert line == f"seehear: words find nothing before speech and text are read, which is not done {wait}\n"


@pytest.mark.slow
def test_photos_alone(tmp_path, capsys):
    """Words find them; nothing else has to be there."""
    copy_photos(tmp_path / "photos", "panda", "coffee", "giraffe")
    words = ["find", str(tmp_path / "photos"), "a giraffe", "--library", str(tmp_path / "lib"), "--wait", "--json"]
    assert main([*words, "--preset", "light", "--quiet"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["hits"][0]["file"].endswith("giraffe.jpg")
    assert {hit["kind"] for hit in answer["hits"]} == {"seen"}


@pytest.mark.slow
def test_sounds_alone(tmp_path, capsys):
    """Sounds find their like; that words find nothing is one line that says what can be done."""
    (tmp_path / "sounds").mkdir()
    sounds = sorted((MEDIA / "sounds").glob("*"))[:4]
    for sound in sounds:
        shutil.copy(sound, tmp_path / "sounds")
    own = [str(tmp_path / "sounds"), "--library", str(tmp_path / "lib"), "--quiet"]
    assert main(["find", *own, "--audio", str(sounds[2]), "--wait", "--preset", "light", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"][0]["file"].endswith(sounds[2].name)
    assert main(["find", *own, "a dog"]) == 2
    line = capsys.readouterr().err
    assert "no words can be compared with" in line
    assert "search by --audio" in line
    assert line.count("\n") == 1
