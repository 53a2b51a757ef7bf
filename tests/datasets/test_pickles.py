"""Pickles are read without running them: what may be in one comes back, and every attack is refused by name."""

import collections
import contextlib
import datetime
import os
import pickle
import pickletools
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seehear.datasets.pickles import read_pickle
from seehear.errors import SeehearError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all examples: a new folder costs more than what is tested in it."""
    return tmp_path_factory.mktemp("pickles")


def written(folder: Path, data: bytes) -> Path:
    path = folder / "x.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_such_files_hold(tmp_path, protocol):
    inside = {
        "2d": np.arange(6, dtype=np.float32).reshape(2, 3),
        "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "turned": np.arange(6).reshape(2, 3).T,
        "none": np.zeros((0, 3), np.float16),
        "big endian": np.arange(3, dtype=">i4"),
        "words": np.array(["a", "bcd"]),
        "number": np.float32(1.5),
        "flag": np.bool_(True),
        "text": "héé",
    }
    whole = {"v1": [inside, (1, 2.5, None, True, b"\x80y")], "again": inside}
    found = read_pickle(written(tmp_path, pickle.dumps(whole, protocol=protocol)))
    for key, value in inside.items():
        assert np.array_equal(found["v1"][0][key], value)
        assert np.asarray(found["v1"][0][key]).dtype.kind == np.asarray(value).dtype.kind
    assert found["v1"][1] == (1, 2.5, None, True, b"\x80y")
    assert found["again"] is found["v1"][0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_of_objects_are_lists(tmp_path, protocol):
    whole = [np.array(["a", None, np.arange(2)], dtype=object), collections.OrderedDict(b=1)]
    found = read_pickle(written(tmp_path, pickle.dumps(whole, protocol=protocol)))
    assert found[0][:2] == ["a", None]
    assert found[0][2].tolist() == [0, 1]
    assert found[1] == {"b": 1}


@settings(max_examples=60)
@given(
    arrays.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8, bool]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    st.sampled_from(PROTOCOLS),
    st.booleans(),
)
def test_any_array_comes_back(folder, array, protocol, turned):
    array = array.T if turned else array
    path = written(folder, pickle.dumps([array], protocol=protocol))
    found = read_pickle(path)[0]
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


def test_text_of_python_2(tmp_path):
    assert read_pickle(written(tmp_path, b"(dp0\nS'v1'\np1\nS'caf\\xe9'\np2\ns.")) == {"v1": "café"}


# -- attacks -----------------------------------------------------------------------------------------------------------


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function, *given):
        self.function, self.given = function, given

    def __reduce__(self):
        return self.function, self.given


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("function", "given", "name"),
    [
        (os.system, ("touch {}",), r"(posix|nt)\.system"),
        (eval, ("open('{}', 'w')",), r"(builtins|__builtin__)\.eval"),
        (exec, ("open('{}', 'w')",), r"(builtins|__builtin__)\.exec"),
        (getattr, (os, "system"), r"getattr"),
        (open, ("{}", "w"), r"(io|_io|builtins|__builtin__)\.open"),
        (np.load, ("{}",), r"numpy.*load"),
        (np.memmap, ("{}", "uint8", "w+", 0, (4,)), r"numpy.*memmap"),
        (bytearray, (10,), r"bytearray"),
        (datetime.date, (2020, 1, 1), r"datetime\.date"),
        (collections.Counter, (), r"collections\.Counter"),
    ],
)
def test_a_call_is_refused_by_name_and_does_not_happen(tmp_path, protocol, function, given, name):
    mark = tmp_path / "it_ran"
    given = tuple(g.format(mark) if isinstance(g, str) else g for g in given)
    if function is getattr:
        data = b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR."
    else:
        data = pickle.dumps([Calls(function, *given)], protocol=protocol)
    with pytest.raises(SeehearError, match=rf"x\.pkl: holds .*{name}.* it can run programs") as caught:
        read_pickle(written(tmp_path, data))
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_an_object_of_a_class_is_refused(tmp_path):
    with pytest.raises(SeehearError, match=r"holds pathlib.*Path"):
        read_pickle(written(tmp_path, pickle.dumps(Path("x"))))


def test_a_torch_tensor_is_refused_by_name(tmp_path):
    torch = pytest.importorskip("torch")
    with pytest.raises(SeehearError, match=r"holds torch\._utils\._rebuild_tensor_v2"):
        read_pickle(written(tmp_path, pickle.dumps({"audio": torch.zeros(2)})))


def test_names_by_opcodes_of_old_protocols_are_refused(tmp_path):
    """INST and OBJ, which call without REDUCE."""
    for data in (b"(S'touch x'\nios\nsystem\n.", b"(cos\nsystem\nS'touch x'\no."):
        with pytest.raises(SeehearError, match=r"holds os\.system"):
            read_pickle(written(tmp_path, data))


def test_a_name_with_dots_is_refused(tmp_path):
    """Protocol 4 walks dots: numpy + dtype.__class__ ..."""
    data = pickletools.optimize(pickle.dumps(np.dtype("f4"), protocol=4)).replace(
        b"\x8c\x05dtype", b"\x8c\x0fdtype.__class__"
    )
    with pytest.raises(SeehearError, match=r"holds numpy\.dtype\.__class__"):
        read_pickle(written(tmp_path, data.replace(data[2:11], b"", 1)))


def test_references_to_the_outside_are_refused(tmp_path):
    with pytest.raises(SeehearError, match="something outside the file"):
        read_pickle(written(tmp_path, b"Pelsewhere\n."))


def test_a_file_cannot_change_what_a_name_means(tmp_path):
    """BUILD on a name sets attributes of what it stands for; the next load must not see them."""
    kind = b"cnumpy\ndtype\n"
    attacks = [
        kind + b"(dS'__call__'\nS'x'\nsb.",  # its dictionary
        kind + b"(N(dS'function'\nS'x'\nstb.",  # its slots
        b"cnumpy.core.multiarray\n_reconstruct\n(dS'made'\nI1\nsb.",
    ]
    for data in attacks:
        with pytest.raises(SeehearError, match=r"what a name means|is no whole pickle"):
            read_pickle(written(tmp_path, data))
    assert np.array_equal(read_pickle(written(tmp_path, pickle.dumps(np.arange(3)))), np.arange(3))


def test_numbers_are_never_taken_for_addresses(tmp_path):
    """Bytes as an array of objects, records with objects in them, wrong sizes."""
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    kind = b"cnumpy\ndtype\n(S'%s'\nI0\nI1\ntR"
    with pytest.raises(SeehearError, match="is no whole pickle"):
        read_pickle(written(tmp_path, reconstruct + b"(I1\n(I1\nt" + kind % b"O8" + b"I00\nS'abcdefgh'\ntb."))
    with pytest.raises(SeehearError, match="bytes are no array of shape"):
        read_pickle(written(tmp_path, reconstruct + b"(I1\n(I99\nt" + kind % b"f8" + b"I00\nS'abcdefgh'\ntb."))
    with pytest.raises(SeehearError, match="a NumPy array of 'V12'"):
        read_pickle(written(tmp_path, pickle.dumps(np.zeros(2, dtype=[("a", "f4"), ("b", "O")]))))
    with pytest.raises(SeehearError, match="a NumPy array of 'M8'"):
        read_pickle(written(tmp_path, pickle.dumps(np.array(["2020-01-01"], dtype="M8[D]"))))


@settings(max_examples=150)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_broken_files_say_so(folder, noise, place, byte):
    good = bytearray(pickle.dumps({"v": [np.arange(3.0), "text"]}, protocol=2))
    good[place % len(good)] = byte
    for data in (noise, bytes(good), bytes(good[:place])):
        path = written(folder, data)
        with contextlib.suppress(SeehearError):
            read_pickle(path)


def test_a_size_that_is_not_there(tmp_path):
    with pytest.raises(SeehearError, match="is no whole pickle"):
        read_pickle(written(tmp_path, b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x."))


@pytest.mark.parametrize("as_key", [False, True])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_tuples_that_grow_when_they_are_walked_are_refused(tmp_path, protocol, as_key):
    """Each holds the one before twice: 22 of them are 4 million steps, and 60 were never done with. A dictionary walks
    its keys, too."""
    nested = (1, 2)
    for _ in range(22):
        nested = (nested, nested)
    data = pickle.dumps({"x": np.zeros(1), **({nested: 1} if as_key else {"y": nested})}, protocol=protocol)
    with pytest.raises(SeehearError, match=r"x\.pkl: holds tuples of more than 1,000,000 parts"):
        read_pickle(written(tmp_path, data))


def test_a_shared_tuple_stays_one(tmp_path):
    pair = (np.zeros(1), 2)
    found = read_pickle(written(tmp_path, pickle.dumps([pair, (pair, pair)])))
    assert found[1][0] is found[1][1] is found[0]


@pytest.mark.parametrize(
    ("data", "printed"),
    [
        (b"\x80\x02K\x01r\xff\xff\xff\x07.", "1"),  # LONG_BINPUT of 2**27 - 1
        (b"K\x01p134217727\n.", "1"),  # PUT
        (b"\x80\x05\x96" + struct.pack("<Q", 2**30) + b"x.", "is no whole pickle (EOFError: )"),  # BYTEARRAY8
        (b"\x80\x04\x95" + struct.pack("<Q", 2**30) + b"K\x01.", "1"),  # FRAME
    ],
)
def test_sizes_and_indexes_that_a_file_says_take_no_memory(tmp_path, data, printed):
    program = (
        "import resource, sys\n"
        "from seehear.datasets.pickles import read_pickle\n"
        "from seehear.errors import SeehearError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))\n"
        "try: print(read_pickle(sys.argv[1]))\n"
        "except SeehearError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(written(tmp_path, data))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.endswith(f"{printed}\n")
