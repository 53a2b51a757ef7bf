"""Names of media files in libraries of several roots are unambiguous."""

import shutil
from dataclasses import replace

import pytest

from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from seehear.serve.files import Folders
from tests.library.makers import sound

HERE = PrepareOptions(workers=0)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Eight sounds with different durations."""
    folder = tmp_path_factory.mktemp("sounds")
    for n in range(1, 9):
        sound(folder / f"{n}.wav", seconds=float(n), rate=8_000)
    return folder


@pytest.fixture
def put(tmp_path, sounds):
    """Puts sound `n` at a path below `tmp_path`, and returns that path."""

    def put(n, path):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        return shutil.copyfile(sounds / f"{n}.wav", tmp_path / path)

    return put


def durations(library):
    """Path -> duration of its clips, of the whole library."""
    return {str(library.path_of(clip.source)): clip.end for clip in library.clips()}


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_folder_named_like_another_root(put, tmp_path, order):
    """`a/@b/x.wav` and `b/x.wav` were both '@b/x.wav', and one of the clips was lost."""
    expected = {put(1, "a/y.wav"): 1, put(2, "a/@b/x.wav"): 2, put(3, "b/x.wav"): 3, put(4, "b/@a/y.wav"): 4}
    folders = [tmp_path / name for name in order]
    assert prepare(folders, tmp_path / "lib", HERE).new == 4
    library = LibraryTables.open(tmp_path / "lib")
    assert durations(library) == pytest.approx({str(path): seconds for path, seconds in expected.items()})
    served = Folders(library, library.roots())
    assert {served.file(clip, "audio") for clip in library.clips()} == set(expected)
    again = prepare(folders, tmp_path / "lib", HERE)
    assert (again.unchanged, again.new, again.changed, again.gone) == (4, 0, 0, 0)


def test_names_with_at_signs(put, tmp_path):
    """Files, folders and roots with `@` in any place, an inner root, and roots of one name: no file is lost."""
    paths = ["a/@b.wav", "a/@@b/x.wav", "a/b/@b/x.wav", "a/@b/x.wav", "@b/x.wav", "b/x.wav", "x/b/x.wav", "a/@/x.wav"]
    for n, path in enumerate(paths):
        put(n + 1, path)
    roots = [tmp_path / name for name in ("a", "b", "@b", "x/b", "a/@b", "a/@")]
    assert prepare(roots, tmp_path / "lib", HERE).new == len(paths) + 2
    library = LibraryTables.open(tmp_path / "lib")
    found = durations(library)
    assert found.keys() == {str(tmp_path / path) for path in paths}
    assert found == pytest.approx({str(tmp_path / path): n + 1 for n, path in enumerate(paths)})
    # What two roots hold is one file in two places.
    assert len(library.clips()) == len(library.sources()) - 2 == len(paths)
    assert prepare(roots, tmp_path / "lib", HERE).unchanged == len(paths) + 2


def test_names_of_an_ordinary_library_are_as_they_were(put, tmp_path):
    put(1, "a/x@1.wav"), put(2, "b/@x/y.wav")
    prepare([tmp_path / "a", tmp_path / "b"], tmp_path / "lib", HERE)
    assert LibraryTables.open(tmp_path / "lib").sources().keys() == {"x@1.wav", "@b/@x/y.wav"}


def test_manifests_named_like_another_root(put, tmp_path):
    """Rows of text alone go by the name of their manifest."""
    put(1, "a/@b/x.wav"), put(2, "b/x.wav")
    for name in ("a/@b", "b"):
        path = "x.wav" if name == "b" else "@b/x.wav"
        (tmp_path / name / "m.csv").write_text(f"file,text\n{path},one\n,a line of {name}\n")
    for _ in range(2):
        prepare(tmp_path / "a/@b/m.csv", tmp_path / "lib", replace(HERE, media=tmp_path / "a"))
        prepare(tmp_path / "b/m.csv", tmp_path / "lib", HERE)
    library = LibraryTables.open(tmp_path / "lib")
    files = {str(library.path_of(clip.source)): clip.end for clip in library.clips() if clip.source}
    assert files == pytest.approx({str(tmp_path / "a/@b/x.wav"): 1.0, str(tmp_path / "b/x.wav"): 2.0})
    assert {clip.texts[0].text for clip in library.clips() if not clip.source} == {"a line of b", "a line of a/@b"}


def test_groups_and_splits_come_from_the_name_in_the_folder(put, tmp_path):
    put(1, "a/@film-1.wav"), put(2, "a/@film-2.wav")
    prepare(tmp_path / "a", tmp_path / "lib", replace(HERE, group=r"^([^-]+)-"))
    assert {clip.group for clip in LibraryTables.open(tmp_path / "lib").clips()} == {"@film"}
