"""Stretches of features that others computed: the rows and frames of the official loaders, without their two bugs."""

from itertools import pairwise

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seehear.datasets.features import mel_frame, mel_window, opened, pooled, rows_of, rows_of_second
from seehear.errors import SeehearError

times = st.floats(0, 500, allow_nan=False)


def saved(folder, suffix, array, name="features"):
    path = folder / f"v{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    elif suffix == ".npz":
        np.savez(path, **{name: array})
    else:
        with h5py.File(path, "w") as file:
            file[name] = array
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".hdf5"])
@pytest.mark.parametrize("name", ["features", "arr_0", "the only one"])
def test_every_kind_of_file(tmp_path, suffix, name):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    with opened(saved(tmp_path, suffix, x, name)) as array:
        assert array.shape == (4, 3)
        assert np.array_equal(array[1:3], x[1:3])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_damaged_files_are_named(tmp_path, suffix):
    path = saved(tmp_path, suffix, np.zeros((40, 3)))
    path.write_bytes(path.read_bytes()[: 200 if suffix != ".npy" else 60])
    with pytest.raises(SeehearError, match=f"v{suffix}: is no file of features"), opened(path):
        pass


def test_what_is_no_table_of_numbers(tmp_path):
    with (
        pytest.raises(SeehearError, match="expected numbers in two dimensions; got \\(3,\\)"),
        opened(saved(tmp_path, ".npy", np.zeros(3))),
    ):
        pass
    np.savez(tmp_path / "two.npz", a=np.zeros((1, 2)), b=np.zeros((1, 2)))
    with (
        pytest.raises(SeehearError, match="holds a, b, expected an array features or arr_0"),
        opened(tmp_path / "two.npz"),
    ):
        pass


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "v.npy", np.array([[{}, 1]], dtype=object), allow_pickle=True)
    with pytest.raises(SeehearError, match=r"v.npy: is no file of features"), opened(tmp_path / "v.npy"):
        pass


@pytest.mark.parametrize(
    ("what", "make"),
    [
        ("a link", lambda file, secret: file.__setitem__("features", h5py.ExternalLink(str(secret), "features"))),
        (
            "a link",
            lambda file, secret: (
                file.__setitem__("b", h5py.ExternalLink(str(secret), "/")),
                file.__setitem__("features", h5py.SoftLink("/b/features")),
            ),
        ),
        (
            "external storage",
            lambda file, secret: file.create_dataset("features", (2, 3), "u1", external=[(str(secret), 0, 6)]),
        ),
        ("parts of other files", lambda file, secret: file.create_virtual_dataset("features", layout(secret))),
    ],
)
def test_an_h5_file_reads_no_other_file(tmp_path, what, make):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["features"] = np.ones((2, 3), np.float32)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        make(file, secret)
    with (
        pytest.raises(SeehearError, match=rf"v\.h5: features is {what}") as caught,
        opened(tmp_path / "v.h5") as array,
    ):
        array[:]
    assert "\n" not in str(caught.value)


def layout(path):
    made = h5py.VirtualLayout((2, 3), np.float32)
    made[:] = h5py.VirtualSource(str(path), "features", (2, 3))
    return made


@pytest.mark.parametrize("chunks", [(1, 2**11), (2**16, 2**11)])
def test_an_h5_file_that_declares_what_it_does_not_hold(tmp_path, chunks):
    shape = (2**20, 2**11) if chunks[0] == 1 else (1, 1)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("features", shape, "f4", chunks=chunks, maxshape=(None, None))
    with pytest.raises(SeehearError, match=r"v\.h5.* (8,192|512) MB in a file of 0 MB"), opened(tmp_path / "v.h5"):
        pass


# -- video -------------------------------------------------------------------------------------------------------------


@given(times, times, st.sampled_from([1.0, 1.5]))
def test_rows_are_those_of_the_official_loader(start, length, rate):
    end = start + length
    rows = rows_of(start, end, rate)
    assert list(range(1000))[rows] == [i for i in range(1000) if int(start * rate) <= i <= int(end * rate)]


def test_worked_rows():
    assert rows_of(2.9, 5.1, 1.0) == slice(2, 6)
    assert rows_of(2.9, 5.1, 1.5) == slice(4, 8)
    assert rows_of(0.0, 0.5, 1.0) == slice(0, 1)


@given(st.integers(0, 20), times, st.floats(0, 10, allow_nan=False), st.sampled_from([1.0, 1.5]))
def test_a_vector_is_the_maximum_or_nothing(length, start, seconds, rate):
    x = np.random.default_rng(length).standard_normal((length, 3)).astype(np.float32)
    rows = [x[i] for i in range(length) if int(start * rate) <= i <= int((start + seconds) * rate)]
    found = pooled(x, rows_of(start, start + seconds, rate))
    if not rows:
        assert found is None
    else:
        assert np.array_equal(found, np.max(rows, axis=0))


@given(st.integers(1, 40), st.integers(1, 60))
def test_seconds_share_the_rows(seconds, rows):
    """Adaptive pooling: every row is of some second, no second is empty, and the order stays."""
    parts = [rows_of_second(t, seconds, rows) for t in range(seconds)]
    assert sorted({i for part in parts for i in range(rows)[part]}) == list(range(rows))
    assert all(len(range(rows)[part]) >= 1 for part in parts)
    assert all(a.start <= b.start and a.stop <= b.stop for a, b in pairwise(parts))


def test_seconds_share_the_rows_as_torch_does():
    torch = pytest.importorskip("torch")
    x = torch.randn(1, 2, 17, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.adaptive_max_pool1d(x, 11)[0].T.numpy()
    ours = [pooled(x[0].T.numpy(), rows_of_second(t, 11, 17)) for t in range(11)]
    assert np.array_equal(np.stack(ours), expected)


# -- sound -------------------------------------------------------------------------------------------------------------


def test_worked_frames():
    """1 s -> 98, 10 s -> 998, 100 s -> 9998; the first moment is frame 0, and not -2."""
    assert [mel_frame(t) for t in (0, 0.005, 1, 10, 100)] == [0, 0, 98, 998, 9998]


@given(times)
def test_frames_are_those_of_librosa_from_zero_on(seconds):
    assert mel_frame(seconds) == max(0, int(np.floor((int(seconds * 16_000) - 200) / 160)))


def test_a_clip_from_the_first_moment_has_sound():
    mel = np.full((40, 300), -10.0, np.float16)
    window = mel_window(mel, 0.0, 1.0, 150).reshape(40, 150)
    assert (window[:, :98] == -10).all()
    assert (window[:, 98:] == -120).all()


@given(st.integers(0, 400), times, st.floats(0, 6, allow_nan=False), st.integers(1, 300))
def test_a_window_is_its_frames_and_then_padding(length, start, seconds, frames):
    mel = -80 * np.random.default_rng(length).random((40, length)).astype(np.float16)
    own = mel[:, mel_frame(start) : mel_frame(start + seconds)][:, :frames]
    found = mel_window(mel, start, start + seconds, frames)
    if own.shape[1] == 0:
        assert found is None
        return
    window = found.reshape(40, frames)
    assert found.dtype == np.float16
    assert np.array_equal(window[:, : own.shape[1]], own)
    assert (window[:, own.shape[1] :] == -120).all()


def test_the_model_reads_the_length_off_a_window():
    torch = pytest.importorskip("torch")
    from seehear.nn.davemel import valid_frames

    window = mel_window(np.zeros((40, 60), np.float16), 0.1, 0.3, 100)
    assert valid_frames(torch.from_numpy(window).reshape(1, 40, 100)).tolist() == [mel_frame(0.3) - mel_frame(0.1)]


def test_another_number_of_bands():
    with pytest.raises(SeehearError, match=r"expected 40 mel bands by frames; got \(128, 9\)"):
        mel_window(np.zeros((128, 9)), 0, 1, 10)
