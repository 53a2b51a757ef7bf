"""Encoding through Ray leaves what encoding here leaves; a cluster of two workers on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from seehear.errors import SeehearError
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from seehear.progress import counted
from tests.library.fake_encoders import FakeSound, FakeText
from tests.library.makers import film, sound
from tests.library.test_encode import table

pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'seehear[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray warns of its own insides

SECONDS = 150
"""More clips than a decoder takes at a time."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp("originals")
    (root / "media").mkdir()
    sound(root / "media" / "a.wav", seconds=SECONDS, rate=8000)
    sound(root / "media" / "crash.wav", seconds=2, rate=8000)
    sound(root / "media" / "bug.wav", seconds=1, rate=8000)
    film(root / "media" / "b.mp4", seconds=2.0)
    (root / "media" / "a.txt").write_text("a dog barks\n")
    prepare(root / "media", root / "lib", PrepareOptions(workers=0, clips="fixed", seconds=1.0))
    return root


@pytest.fixture(scope="module")
def plain(originals):
    """The library as the plain engine encodes it."""
    shutil.copytree(originals / "lib", originals / "plain")
    library = LibraryTables.open(originals / "plain")
    encode_library(library, [FakeSound(), FakeText(), "logmel"], EngineOptions(workers=1))
    return library


@pytest.fixture
def library(tmp_path, originals):
    shutil.copytree(originals / "lib", tmp_path / "lib")
    return LibraryTables.open(tmp_path / "lib")


def reasons(library):
    return sorted((r.path, r.reason) for r in library.rejects())


def test_the_same_rows_and_rejects_as_the_plain_engine(library, plain):
    reports = encode_library(
        library, [FakeSound(), FakeText(), "logmel"], EngineOptions(workers=2, engine="ray")
    ).encoders
    for name in ("fake-sound", "fake-text", "logmel"):
        assert table(library, name) == table(plain, name)
    assert reasons(library) == reasons(plain)
    assert {path for path, _ in reasons(library)} == {
        "bug.wav#0.000-1.000 (fake-sound)",
        "crash.wav#0.000-1.000 (fake-sound)",
        "crash.wav#1.000-2.000 (fake-sound)",
    }
    assert [r.rejected for r in reports] == [3, 0, 0]


RUN = """
import sys
from seehear.library import encode
from seehear.library.engines import EngineOptions
from seehear.library.tables import LibraryTables
from tests.library.fake_encoders import FakeSound

encode.COMMIT_ROWS = 2
RAY = EngineOptions(workers=2, batch_size=2, engine="ray")
encode.encode_library(LibraryTables.open(sys.argv[1]), [FakeSound(delay=0.2)], RAY)
"""


def test_a_stopped_run_is_saved_and_the_next_one_does_the_rest(library, plain):
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", RUN, library.uri]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 120
    while "latents_fake-sound" not in library.tables() or not len(library.vectors("latents", "fake-sound")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no row was committed in two minutes"
        time.sleep(0.1)
        library = LibraryTables.open(library.uri)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[1]
    library = LibraryTables.open(library.uri)
    done = len(library.vectors("latents", "fake-sound"))
    assert 0 < done < SECONDS + 2
    assert f"SIGTERM while encoding with fake-sound: {counted(done, 'row')} saved" in said
    report = encode_library(library, [FakeSound()], EngineOptions(workers=2, engine="ray")).encoders[0]
    assert (report.kept, report.made, report.rejected) == (done, SECONDS + 2 - done, 3)
    assert table(library) == table(plain)


def test_what_the_machine_lacks_ends_the_run(tmp_path):
    (tmp_path / "media").mkdir()
    sound(tmp_path / "media" / "unready.wav", seconds=2, rate=8000)
    prepare(tmp_path / "media", tmp_path / "lib", PrepareOptions(workers=0))
    with pytest.raises(SeehearError, match="this needs the package 'decoder'"):
        encode_library(LibraryTables.open(tmp_path / "lib"), [FakeSound()], EngineOptions(workers=1, engine="ray"))


def test_recordings_are_transcribed_as_the_plain_engine_does(tmp_path, originals):
    from seehear.library.recordings import read_recordings
    from seehear.library.transcribe import Transcriber
    from tests.library.fake_readers import FakeRecogniser
    from tests.library.test_transcribe import state

    states = []
    for engine in ("local", "ray"):
        shutil.copytree(originals / "lib", tmp_path / engine)
        one = LibraryTables.open(tmp_path / engine)
        reader = Transcriber(FakeRecogniser(), name="fake", weights="w1")
        assert read_recordings(one, reader, EngineOptions(workers=2, engine=engine)).made == 4
        states.append(state(one))
    assert states[0] == states[1]
