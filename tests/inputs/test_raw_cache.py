"""Decoded clips on disk, and the list of what could not be read: both shared by processes."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from seehear.errors import SeehearError
from seehear.inputs.raw.reading import ClipCache, Lost


def test_what_is_put_is_got(tmp_path):
    cache = ClipCache(tmp_path / "a" / "b", most_bytes=10_000)
    assert cache.get("abcd") is None
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    cache.put("abcd", array)
    again = ClipCache(tmp_path / "a" / "b", most_bytes=10_000).get("abcd")
    assert again is not None
    np.testing.assert_array_equal(again, array)


def test_no_more_than_it_may(tmp_path):
    cache = ClipCache(tmp_path, most_bytes=1000)
    for n in range(10):
        cache.put(f"{n:04d}", np.zeros(200, np.uint8))
    kept = [n for n in range(10) if cache.get(f"{n:04d}") is not None]
    assert kept == [0, 1, 2]
    counted = int((tmp_path / ".bytes").read_text())
    assert sum(p.stat().st_size for p in tmp_path.glob("*/*")) == counted <= 1000


def test_a_lost_count_is_made_anew(tmp_path):
    cache, count = ClipCache(tmp_path, most_bytes=1000), tmp_path / ".bytes"
    cache.put("abcd", np.zeros(200, np.uint8))
    used = int(count.read_text())
    count.write_text("nonsense")
    cache.put("abce", np.zeros(200, np.uint8))
    assert int(count.read_text()) == 2 * used
    cache.put("abcf", np.zeros(200, np.uint8))
    cache.put("abcg", np.zeros(200, np.uint8))
    assert cache.get("abcg") is None, "the folder is full"


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"nothing"])
def test_a_damaged_file_counts_as_none(tmp_path, damage):
    cache = ClipCache(tmp_path, most_bytes=10_000)
    cache.put("abcd", np.zeros(200, np.uint8))
    (tmp_path / "ab" / "cd.npy").write_bytes(damage)
    assert cache.get("abcd") is None
    cache.put("abcd", np.ones(200, np.uint8))
    assert cache.get("abcd").all()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SeehearError, match="no clips can be cached there"):
        ClipCache(tmp_path / "file" / "cache", most_bytes=1)


def fill(folder: str) -> None:
    cache = ClipCache(folder, most_bytes=20_000)
    for n in range(60):
        cache.put(f"{n % 40:04d}", np.full(500, n % 40, np.uint8))


def complain(lost: Lost) -> None:
    for n in range(10):
        lost.add(f"film{n}", "is broken")


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as made:
        yield made


def test_processes_share_a_cache(tmp_path, pool):
    list(pool.map(fill, [str(tmp_path)] * 2))
    files = list(tmp_path.glob("*/*"))
    assert 10 <= len(files) <= 20_000 // 628
    assert sum(p.stat().st_size for p in files) <= 20_000
    for path in files:
        assert (np.load(path) == int(path.parent.name + path.stem)).all()


def test_processes_list_each_file_once(pool):
    lost = Lost()
    list(pool.map(complain, [lost] * 2))
    lost.add("film3", "is broken")
    lost.add("film11", "has a scratch", samples=0)
    assert lost.files() == {f"film{n}": "is broken" for n in range(10)} | {"film11": "has a scratch"}
    assert lost.samples == 21


def test_the_list_goes_with_what_made_it():
    lost = Lost()
    lost.add("film", "is broken")
    again = pickle.loads(pickle.dumps(lost))
    folder = lost._folder
    del again
    gc.collect()
    assert folder.is_dir()
    del lost
    gc.collect()
    assert not folder.exists()
