"""The command line: names, options, exit codes, one line an error."""

import json

import pytest

from seehear.cli import main
from tests.data.importers.sets import official, originals, put


def run(capsys, *words):
    """Status, standard output and standard error of a command."""
    try:
        status = main(words)
    except SystemExit as stopped:  # tyro's own messages
        status = stopped.code
    out = capsys.readouterr()
    return status, out.out, out.err


def test_help_names_every_command(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for name in ("prepare", "encode", "train", "evaluate", "index", "search", "import", "info", "demo"):
        assert f"seehear {name}" in out


@pytest.mark.parametrize(
    "command", ["prepare", "encode", "train", "evaluate", "index", "search", "import", "info", "demo"]
)
def test_every_command_explains_itself_with_an_example(capsys, command):
    status, out, _ = run(capsys, command, "--help")
    assert status == 0
    assert f"seehear {command}" in out
    assert "Example" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prepar", "x"), "did you mean 'prepare'"),
        (("prepare", "x", "--libary", "y"), "did you mean '--library'"),
        (("prepare", "/no/such/folder", "--library", "y"), "/no/such/folder"),
        (("encode", "/no/such/library"), "seehear prepare"),
        (("train", "/no/such/library", "fusemux"), "did you mean 'fusemix'"),
        (("train", "/no/such/library", "fusemix", "--optim.lrr", "1"), "did you mean '--optim.lr'"),
        (("evaluate", "/no/such/run"), "/no/such/run"),
        (("search", "/no/such/library", "words"), "/no/such/library"),
        (("import", "cloto", "--root", ".", "--library", "y"), "did you mean 'clotho'"),
        (("import", "clotho"), "--root"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *words)
    assert status == 2
    assert out == ""
    assert err.startswith("seehear: ")
    assert err.count("\n") == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_info_as_json(capsys, tmp_path):
    (tmp_path / "broken.mp4").write_text("no film")
    (tmp_path / "texts.csv").write_text("id,file,text\na,,a dog barks\nb,,rain\nc,broken.mp4,gone\n")
    assert run(capsys, "prepare", str(tmp_path / "texts.csv"), "--library", str(tmp_path / "lib"))[0] == 0
    status, out, _ = run(capsys, "info", str(tmp_path / "lib"), "--rejects", "--json")
    found = json.loads(out)
    assert status == 0
    assert (found["clips"], found["modalities"]["text"]) == (2, 2)
    assert len(found["set_aside"]) == 1


def test_quiet_says_nothing_on_standard_error(capsys, tmp_path):
    (tmp_path / "texts.csv").write_text("id,file,text\na,,a dog barks\nb,,rain\n")
    status, out, err = run(
        capsys, "prepare", str(tmp_path / "texts.csv"), "--library", str(tmp_path / "lib"), "--quiet"
    )
    assert (status, err) == (0, "")
    assert "2 clips" in out


def test_import_says_where_the_library_differs_from_what_is_published(capsys, tmp_path):
    root, lib = tmp_path / "set", str(tmp_path / "lib")
    root.mkdir()
    official(root, "audiocaps_v1_test.csv=test.csv")
    put(originals(tmp_path)["sound"], root, "7fmOlUlwoNg.wav", "YQSuFyFm3Lc.wav")
    status, out, _ = run(capsys, "import", "audiocaps", "--root", str(root), "--library", lib)
    assert status == 0
    assert "2 media files on disk" in out
    assert "audiocaps: differs from what is published: 2 clips, expected" in out
    status, out, _ = run(capsys, "import", "audiocaps", "--root", str(root), "--library", lib, "--json")
    found = json.loads(out)
    assert status == 0
    assert found["media"] == 2
    assert any(deviation.startswith("2 clips, expected") for deviation in found["protocols"][0]["deviations"])


def test_quiet_is_of_one_call(capsys):
    from seehear.progress import say

    assert main(["import", "--quiet"]) in (0, 2)
    capsys.readouterr()
    say("heard again")
    assert "heard again" in capsys.readouterr().err
