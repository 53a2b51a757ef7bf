"""Text on screen: which frames are read, lines over time, what is kept once; the run over a library; RapidOCR itself,
where it is installed."""

import errno
import importlib.util
import shutil
import sys
import zlib
from collections.abc import Sequence

import av
import numpy as np
import pytest

from seehear.cli import main
from seehear.encoders.screen import RapidScreen, ScreenText
from seehear.library import recordings
from seehear.library.engines import EngineOptions
from seehear.library.ocr import LineTracker, OcrReader, ocr
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.recordings import read_recordings
from seehear.library.tables import LibraryTables
from seehear.library.transcripts import TimedLine, read_transcripts
from tests.library.fake_encoders import IN_PROCESS
from tests.library.fake_readers import FakeScreen
from tests.library.makers import film, picture, sound

# -- frames and lines --------------------------------------------------------------------------------------------------

HEIGHT, WIDTH = 90, 160
TOP, BOTTOM = (0.1, 0.1, 0.5, 0.2), (0.1, 0.8, 0.9, 0.9)


class Script:
    """Knows what stands in each frame: `frame(...)` draws it, and its number is in the red channel, which nothing else
    looks at."""

    def __init__(self) -> None:
        self.screens: list[Sequence[ScreenText]] = []
        self.probed = self.read_frames = 0

    def frame(self, *texts: tuple[str, tuple[float, float, float, float]], background: int = 30) -> np.ndarray:
        pixels = np.full((HEIGHT, WIDTH, 3), background, np.uint8)
        for text, (left, top, right, bottom) in texts:
            top, bottom, left, right = int(top * HEIGHT), int(bottom * HEIGHT), int(left * WIDTH), int(right * WIDTH)
            area = pixels[top - 2 : bottom + 2, left - 2 : right + 2, 1]
            area[:] = np.random.default_rng(zlib.crc32(text.encode())).integers(0, 255, area.shape)
        self.screens.append([ScreenText(text, 0.9, box) for text, box in texts])
        pixels[:, :, 0] = len(self.screens) - 1
        return pixels

    def find(self, frame: np.ndarray) -> np.ndarray:
        self.probed += 1
        return np.array([seen.box for seen in self.screens[frame[0, 0, 0]]]).reshape(-1, 4)

    def read(self, frame: np.ndarray) -> Sequence[ScreenText]:
        self.read_frames += 1
        return self.screens[frame[0, 0, 0]]


def follow(script, frames):
    """Lines of frames a second apart."""
    following = LineTracker(script)
    for n, frame in enumerate(frames):
        following.see(n + 0.5, frame)
    return following.lines(len(frames))


def test_a_line_lasts_from_its_first_frame_to_its_last():
    script = Script()
    empty, title = script.frame(), script.frame(("Opening", TOP))
    lines = follow(script, [empty] * 2 + [title] * 3 + [empty] * 2)
    assert lines == [TimedLine("Opening", 2.0, 5.0)]
    assert (script.probed, script.read_frames) == (4, 1), "frames that do not change are not looked at again"


def test_frames_without_text_are_never_read():
    script = Script()
    assert follow(script, [script.frame(background=10 * n) for n in range(20)]) == []
    assert (script.probed, script.read_frames) == (11, 0), "all but the first between two without text are passed over"


@pytest.mark.parametrize("first", [3, 4])
def test_a_line_of_two_seconds_is_seen_wherever_it_begins_and_changes_every_second_are_told(first):
    script = Script()
    frames = [script.frame(background=10 * n) for n in range(12)]
    for n, text in enumerate(("One moment", "Another one", "The third")):
        frames[first + n] = script.frame((text, BOTTOM), background=10 * n)
    found = [(line.text, line.start, line.end) for line in follow(script, frames)]
    assert found == [
        ("One moment", first, first + 1),
        ("Another one", first + 1, first + 2),
        ("The third", first + 2, first + 3),
    ]


def test_boxes_without_text_are_read_again_after_a_while_only():
    """Foliage looks like text at a small size."""
    script = Script()
    frames = [script.frame((str(n), TOP), background=10 * n) for n in range(12)]
    reads: list[int] = []
    script.read = lambda frame: reads.append(int(frame[0, 0, 0])) or []
    assert follow(script, frames) == []
    assert reads == [0, 5, 10]


def test_a_moving_picture_with_the_same_text_is_read_once():
    script = Script()
    frames = [script.frame(("Evening news", BOTTOM), background=10 * n) for n in range(20)]
    assert follow(script, frames) == [TimedLine("Evening news", 0.0, 20.0)]
    assert (script.probed, script.read_frames) == (11, 1)


def test_subtitles_in_one_place_are_told_apart():
    script = Script()
    one, two = script.frame(("Good evening", BOTTOM)), script.frame(("Here it rains", BOTTOM))
    assert follow(script, [one] * 2 + [two] * 2) == [
        TimedLine("Good evening", 0.0, 2.0),
        TimedLine("Here it rains", 2.0, 4.0),
    ]


def test_lines_that_come_and_go_together_are_one_text():
    script = Script()
    card = script.frame(("Omar", (0.1, 0.7, 0.4, 0.78)), ("Software Engineer", BOTTOM))
    assert follow(script, [card] * 2 + [script.frame()]) == [TimedLine("Omar Software Engineer", 0.0, 2.0)]


def test_slightly_different_readings_are_one_line_with_the_surest_text():
    script = Script()
    blurred, sharp = script.frame(("FUTURE SH0R", TOP)), script.frame(("FUTURE SHOP", TOP), background=60)
    script.screens[0] = [ScreenText("FUTURE SHOR", 0.75, TOP)]
    assert follow(script, [blurred] * 3 + [sharp] * 3) == [TimedLine("FUTURE SHOP", 0.0, 6.0)]


def test_what_stands_there_throughout_is_kept_once():
    """A watermark, and a clock that changes every second, over forty seconds."""
    script = Script()
    frames = []
    for n in range(40):
        texts = [("SeehearTV", TOP), (f"12:00:{n:02d}", (0.7, 0.1, 0.9, 0.2))]
        texts += [("Breaking", BOTTOM)] if 10 <= n < 15 else []
        frames.append(script.frame(*texts))
    lines = follow(script, frames)
    assert [line.text for line in lines] == ["SeehearTV 12:00:00", "Breaking"]
    assert (lines[0].start, lines[0].end) == (0.0, 5.0)
    assert (lines[1].start, lines[1].end) == (10.0, 15.0)


def test_a_short_film_of_one_slide_keeps_it_for_all_of_it():
    script = Script()
    assert follow(script, [script.frame(("Agenda", TOP))] * 20) == [TimedLine("Agenda", 0.0, 20.0)]


def test_two_letters_seen_once_are_noise():
    script = Script()
    assert follow(script, [script.frame(), script.frame(("il", TOP)), script.frame()]) == []


# -- a library ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp("originals")
    (root / "media").mkdir()
    for n in range(4):
        film(root / "media" / f"{n}.mp4", seconds=2.0 + n / 2)
    picture(root / "media" / "p.png", colour=(200, 200, 200))
    picture(root / "media" / "dark.png", colour=(0, 0, 0))
    sound(root / "media" / "s.wav", seconds=1.0, rate=8000)
    prepare(root / "media", root / "lib", PrepareOptions(workers=0, clips="fixed", seconds=1.0))
    return root


@pytest.fixture
def library(tmp_path, originals):
    shutil.copytree(originals / "lib", tmp_path / "lib")
    return LibraryTables.open(tmp_path / "lib")


def read(library, *, workers=0):
    return read_recordings(library, OcrReader(FakeScreen(), name="fake", weights="w1"), EngineOptions(workers=workers))


def state(library):
    library = LibraryTables.open(library.uri)
    return read_transcripts(library), {clip.id: clip.texts for clip in library.clips()}


def test_films_and_pictures_once(library):
    report = read(library)
    assert (report.made, report.without, report.rejected) == (6, 1, 0)
    clips = {clip.id: clip for clip in library.clips()}
    assert [(text.text, text.start, text.kind) for text in clips["p.png"].texts] == [("glare", None, "screen")]
    assert clips["dark.png"].texts == ()
    assert all(text.kind == "screen" and text.by for text in clips["0.mp4#0.000-1.000"].texts)
    assert "text on screen read by fake: 6 files" in str(report)
    before = state(library)
    assert (read(library).made, state(library)) == (0, before)


@pytest.mark.slow  # test_transcribe.py has it for the other reader
def test_workers_give_the_same(library, tmp_path, originals):
    read(library)
    shutil.copytree(originals / "lib", tmp_path / "other")
    read(LibraryTables.open(tmp_path / "other"), workers=2)
    assert state(LibraryTables.open(tmp_path / "other")) == state(library)


def test_a_run_that_ends_in_the_middle_goes_on_to_the_same(library, tmp_path, originals, monkeypatch):
    """Written parts stay and the rest is read, like after a kill."""

    class Dying(FakeScreen):
        def read(self, frame):
            if self.read_frames == 4:
                raise KeyboardInterrupt
            return super().read(frame)

    with pytest.raises(KeyboardInterrupt):
        read_recordings(library, OcrReader(Dying(), name="fake", weights="w1"), IN_PROCESS)
    done = len(read_transcripts(library))
    assert 0 < done < 6
    assert read(library).made == 6 - done
    shutil.copytree(originals / "lib", tmp_path / "plain")
    read(LibraryTables.open(tmp_path / "plain"))
    assert state(library) == state(LibraryTables.open(tmp_path / "plain"))


def test_a_full_disk_loses_nothing_that_was_read(library, tmp_path, originals, monkeypatch):
    """The run ends with the system's error; what it could not write is written if there is room when it ends, and the
    next one goes on."""
    write, refused = recordings.write_transcripts, []

    def full(library, transcripts):
        if transcripts and not refused:
            refused.extend(transcripts)
            raise OSError(errno.ENOSPC, "No space left on device")
        write(library, transcripts)

    monkeypatch.setattr(recordings, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(recordings, "write_transcripts", full)
    with pytest.raises(OSError, match="No space left"):
        read(library)
    assert refused
    assert read_transcripts(library) == sorted(refused, key=lambda transcript: transcript.source)
    monkeypatch.undo()
    assert read(library).made == 6 - len(refused)
    shutil.copytree(originals / "lib", tmp_path / "plain")
    read(LibraryTables.open(tmp_path / "plain"))
    assert state(library) == state(LibraryTables.open(tmp_path / "plain"))


def test_a_long_film_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """A line that stands where a part ends is one line, and what stands there throughout is kept once."""
    monkeypatch.setattr("seehear.library.ocr.PART", 10.0)
    (tmp_path / "media").mkdir()
    film(tmp_path / "media" / "long.mp4", seconds=32.0, fps=2, audio=None)
    prepare(tmp_path / "media", tmp_path / "lib", PrepareOptions(workers=0))
    shutil.copytree(tmp_path / "lib", tmp_path / "plain")

    class Watermark(FakeScreen):
        def find(self, frame):
            return np.array([TOP])

        def read(self, frame):
            return [ScreenText("SeehearTV", 0.9, TOP)]

    class Stopped(OcrReader):
        def __call__(self, recording):
            if recording.start == 20.0:
                raise KeyboardInterrupt
            return super().__call__(recording)

    read_recordings(
        LibraryTables.open(tmp_path / "plain"), OcrReader(Watermark(), name="fake", weights="w1"), IN_PROCESS
    )
    (whole,) = read_transcripts(LibraryTables.open(tmp_path / "plain"))
    assert whole.lines == (TimedLine("SeehearTV", 0.0, 5.0),)

    library = LibraryTables.open(tmp_path / "lib")
    with pytest.raises(KeyboardInterrupt):
        read_recordings(library, Stopped(Watermark(), name="fake", weights="w1"), IN_PROCESS)
    (unfinished,) = read_transcripts(library)
    assert unfinished.until == 20.0
    assert unfinished.lines == (TimedLine("SeehearTV", 0.0, 20.0),)
    read_recordings(library, OcrReader(Watermark(), name="fake", weights="w1"), IN_PROCESS)
    assert state(library) == state(LibraryTables.open(tmp_path / "plain"))


def test_speech_and_screen_live_side_by_side(library):
    from tests.library.test_transcribe import read as transcribe

    read(library)
    transcribe(library)
    both = state(library)
    kinds = [text.kind for text in both[1]["0.mp4#0.000-1.000"]]
    assert kinds == sorted(kinds, reverse=True), "speech first"
    assert set(kinds) == {"speech", "screen"}
    read(library)
    assert state(library) == both


def test_an_extra_that_is_not_installed_is_named(library, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    assert main(["ocr", library.uri]) == 2
    assert capsys.readouterr().err == "seehear: this needs the package 'rapidocr': pip install 'seehear[ocr]'\n"


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="pip install 'seehear[ocr]'")
@pytest.mark.parametrize("shape", [(20, 6000, 3), (6000, 20, 3)])
def test_a_narrow_strip_has_no_text(shape):
    assert len(RapidScreen().find(np.zeros(shape, np.uint8))) == 0


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="pip install 'seehear[ocr]'")
@pytest.mark.filterwarnings("ignore")  # RapidOCR's and onnxruntime's own
def test_rapidocr_reads_a_title_card_and_a_picture(tmp_path, capsys):
    from PIL import Image, ImageDraw, ImageFont

    def card(text):
        image = Image.new("RGB", (320, 180), (20, 20, 60))
        ImageDraw.Draw(image).text((20, 70), text, (255, 255, 255), font=ImageFont.load_default(32))
        return image

    (tmp_path / "media").mkdir()
    card("Emergency exit").save(tmp_path / "media" / "sign.png")
    with av.open(str(tmp_path / "media" / "film.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for n in range(60):
            image = card("Summer holidays" if 20 <= n < 40 else "")
            out.mux(stream.encode(av.VideoFrame.from_image(image)))
        out.mux(stream.encode(None))
    prepare(tmp_path / "media", tmp_path / "lib", PrepareOptions(workers=0))
    library = LibraryTables.open(tmp_path / "lib")
    ocr(library, IN_PROCESS)
    film_lines, sign_lines = (t.lines for t in read_transcripts(library))
    assert [line.text for line in sign_lines] == ["Emergency exit"]
    assert [(line.text, line.start, line.end) for line in film_lines] == [("Summer holidays", 2.0, 4.0)]
    assert "INFO" not in capsys.readouterr().err
