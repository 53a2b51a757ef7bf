"""Archives of arrays that declare more than they hold: refused before anything of that size is allocated."""

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from seehear.datasets.features import opened
from seehear.encoders.wordfiles import open_word_file
from seehear.errors import SeehearError
from seehear.npz import open_npz


def header(shape, dtype="<f4"):
    content = io.BytesIO()
    npy.write_array_header_1_0(content, {"descr": dtype, "fortran_order": False, "shape": shape})
    return content.getvalue()


def archive(path, *names, content, packed=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", packed) as file:
        for name in names:
            file.writestr(f"{name}.npy", content)
    return path


def zeros(path, *names, megabytes):
    """Arrays of zeros as large as they say, in a file a thousandth of that."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            with file.open(f"{name}.npy", "w") as member:
                member.write(header((megabytes, 2**18)))
                for _ in range(megabytes):
                    member.write(bytes(2**20))
    return path


def read_features(path):
    with opened(path) as array:
        return array[:2]


READERS = [(read_features, ("features",)), (open_word_file, ("words", "vectors"))]


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("shape", [(2**20, 2**11), (-1, -8), (2**62, 0), (3, 3)])
@pytest.mark.parametrize(("read", "names"), READERS)
def test_a_shape_that_is_not_what_there_is(tmp_path, read, names, shape, packed):
    path = archive(tmp_path / "a.npz", *names, content=header(shape) + bytes(32), packed=packed)
    with pytest.raises(SeehearError, match=rf"a\.npz.*{names[0]} .*declares") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("read", "names"), READERS)
def test_zeros_without_end_are_refused(tmp_path, monkeypatch, read, names):
    monkeypatch.setattr("seehear.npz.LARGE", 2**20)
    path = zeros(tmp_path / "a.npz", *names, megabytes=4)
    with pytest.raises(SeehearError, match=r"a\.npz.* MB in a file of \d+ MB"):
        read(path)


def test_other_members_and_ways_of_packing_are_refused(tmp_path):
    for content, packed, complaint in [
        (b"no array", zipfile.ZIP_DEFLATED, "magic string"),
        (header((1, 8)) + bytes(32), zipfile.ZIP_BZIP2, "packed in a way"),
        (header((1, 4), "|O") + bytes(32), zipfile.ZIP_STORED, "objects"),
    ]:
        path = archive(tmp_path / "a.npz", "x", content=content, packed=packed)
        with pytest.raises(ValueError, match=complaint), open_npz(path):
            pass


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_honest_arrays(tmp_path, save):
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "none": np.zeros((0, 3)),
        "words": np.array(["é", "bc"]),
        "one": np.float32(3),
        "zeros": np.zeros((2**10, 2**10)),
    }
    save(tmp_path / "a.npz", **arrays)
    with open_npz(tmp_path / "a.npz") as loaded:
        assert all(np.array_equal(loaded[name], array) for name, array in arrays.items())
    for name in ("a", "f", "none"):
        save(tmp_path / "b.npz", features=arrays[name])
        with opened(tmp_path / "b.npz") as array:
            assert np.array_equal(array, arrays[name])


def test_two_rows_of_many_are_read_alone(tmp_path):
    """In a process that may take 128 MB more, of a file of 256 MB."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file, file.open("features.npy", "w") as member:
        member.write(header((2**16, 2**10)))
        for _ in range(2**8):
            member.write(bytes(2**20))
    program = (
        "import resource, sys\n"
        "from seehear.datasets.features import opened\n"
        "most = int(open('/proc/self/statm').read().split()[5]) * resource.getpagesize() + 2**27\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (most, most))\n"
        "with opened(sys.argv[1]) as array: print(array[-2:].shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.npz")], capture_output=True, text=True)
    assert done.stdout == "(2, 1024)\n", done.stderr
