"""A small library, prepared and transcribed once; each test gets a copy."""

import shutil

import pytest

from seehear.library.prepare import prepare
from seehear.library.tables import LibraryTables
from tests.library.fake_readers import FIXED, transcribe
from tests.library.makers import film, picture


@pytest.fixture(scope="session")
def transcribed(tmp_path_factory):
    """A film of two clips, transcribed, and a picture."""
    root = tmp_path_factory.mktemp("transcribed")
    (root / "media").mkdir()
    film(root / "media" / "a.mp4", seconds=4.0)
    picture(root / "media" / "p.png")
    (root / "media" / "a.txt").write_text("grey frames\n")
    prepare(root / "media", root / "lib", FIXED)
    transcribe(root / "lib")
    return root


@pytest.fixture
def folder(tmp_path, transcribed):
    for name in ("media", "lib"):
        shutil.copytree(transcribed / name, tmp_path / name)
    LibraryTables.open(tmp_path / "lib").set_about("roots", '{"": "%s"}' % (tmp_path / "media"))
    return tmp_path
