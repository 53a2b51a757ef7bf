"""Names of media files in libraries of several roots: unambiguous, and those of older libraries made so."""

import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest

from seehear.library import inputs
from seehear.library.encode import encode_library
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from seehear.serve.files import Folders
from tests.library.fake_encoders import FakeSound
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


@pytest.fixture
def old_names(monkeypatch):
    """A context in which `prepare` names files as it did before names were unambiguous."""

    @contextmanager
    def old_names(uri):
        with monkeypatch.context() as patch:
            patch.setattr(
                inputs, "_name", lambda prefix, name: f"{prefix}/{name}" if prefix and name[0] != "/" else name
            )
            yield
        LibraryTables.open(uri).forget("names")

    return old_names


def durations(library):
    """Path -> duration of its clips, of the whole library."""
    return {str(library.path_of(clip.source)): clip.end for clip in library.clips()}


def latents_of(library):
    """(maker, content) of each row of the latents, by (id, item, modality)."""
    return library.vectors("latents", "fake-sound").keys()


# -- new libraries -----------------------------------------------------------------------------------------------------


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


# -- older libraries ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_an_older_library_becomes_what_a_new_one_is(put, tmp_path, old_names, order):
    """One of two files with one name was lost; the latents of other files stay."""
    for n, path in enumerate(["a/@b/x.wav", "b/x.wav", "a/y.wav", "a/@c.wav"]):
        put(n + 1, path)
    (tmp_path / "a/@bad.wav").write_bytes(b"no sound")
    folders, uri = [tmp_path / "a", tmp_path / "b"], tmp_path / "lib"
    with old_names(uri):
        for name in ("a", *order):
            prepare(tmp_path / name, uri, HERE)
    assert len(LibraryTables.open(uri).clips()) == 3
    encode_library(LibraryTables.open(uri), [FakeSound()], workers=0)
    report = prepare(tmp_path / "b", uri, HERE)
    assert any("2 names that may stand for two files" in note and "@b/x.wav" in note for note in report.notes)
    report = prepare(folders, uri, HERE)
    assert report.unchanged == 2
    assert not any("two files" in note for note in report.notes)
    prepare(folders, tmp_path / "fresh", HERE)
    library, fresh = LibraryTables.open(uri), LibraryTables.open(tmp_path / "fresh")
    assert durations(library) == durations(fresh)
    assert library.sources().keys() == fresh.sources().keys()
    assert [reject.path for reject in library.rejects()] == ["./@bad.wav"]
    assert encode_library(library, [FakeSound()], workers=0).encoders[0].kept == 1
    encode_library(fresh, [FakeSound()], workers=0)
    assert latents_of(library) == latents_of(fresh)


def test_older_names_of_manifests(put, tmp_path, old_names):
    """Rows, second files, rows of text alone and rejects of a manifest whose name begins with `@`."""
    put(1, "a/@v.wav"), put(2, "a/@b/s.wav"), put(3, "a/w.wav")
    (tmp_path / "a/@m.csv").write_text(
        "id,video,audio,text\n,@v.wav,@b/s.wav,1\n,w.wav,,2\n,,,alone\n,gone.wav,,lost\n"
    )
    uri = tmp_path / "lib"
    with old_names(uri):
        prepare(tmp_path / "a/@m.csv", uri, HERE)
    prepare(tmp_path / "a/@m.csv", tmp_path / "fresh", HERE)
    prepare(tmp_path / "a/@m.csv", uri, HERE)
    library, fresh = LibraryTables.open(uri), LibraryTables.open(tmp_path / "fresh")
    assert library.clips() == fresh.clips()
    assert library.sources() == fresh.sources()
    assert library.rejects() == fresh.rejects()


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_kill_while_names_are_changed(put, tmp_path, old_names, monkeypatch, step):
    """The next run goes on where the killed one stopped."""
    paths = ["a/@b/x.wav", "b/z.wav", "a/@c.wav"]
    for n, path in enumerate(paths):
        put(n + 1, path)
    folders, uri = [tmp_path / "a", tmp_path / "b"], tmp_path / "lib"
    with old_names(uri):
        prepare(tmp_path / "a", uri, HERE)
        LibraryTables.open(uri).add_root(tmp_path / "b")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LibraryTables, ("remove_clips", "remove_rejects", "remove_sources")[step], killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(folders, uri, HERE)
    report = prepare(folders, uri, HERE)
    assert (report.clips, report.gone) == (3, 0)
    found = {str(library.path_of(clip.source)) for library in [LibraryTables.open(uri)] for clip in library.clips()}
    assert found == {str(tmp_path / path) for path in paths}
