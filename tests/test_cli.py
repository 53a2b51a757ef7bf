"""The command line: names, options, exit codes, one line an error."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from seehear.cli import main
from seehear.commands import COMMANDS, GROUPS, members
from seehear.commands.machine import script
from seehear.library.tables import LibraryTables
from seehear.progress import counted
from seehear.runs.config import recipes
from tests.datasets.sets import official, originals, put
from tests.library.makers import film


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
    for name in COMMANDS:
        assert f"seehear {name}" in out


def test_help_groups_the_commands_in_lines_that_fit(capsys):
    _, out, _ = run(capsys, "--help")
    titles = [line for line in out.splitlines() if line in GROUPS]
    assert titles == list(GROUPS)
    assert out.index("Everyday") < out.index("seehear find") < out.index("Step by step") < out.index("seehear encode")
    assert out.index("Research") < out.index("seehear study data") < out.index("seehear doctor")
    assert max(map(len, out.splitlines())) <= 100
    assert len([line for line in out.splitlines() if line.startswith("    ")]) <= 2 * len(COMMANDS)


def test_help_loads_no_heavy_package():
    code = "import sys; from seehear.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, timeout=120).returncode == 0


def test_the_studies_are_listed(capsys):
    for words in (["study"], ["study", "--help"]):
        status, out, _ = run(capsys, *words)
        assert status == 0
        assert len(re.findall(r"^ +seehear study \w+ lib  ", out, re.MULTILINE)) == 4
        assert "prepare" not in out


# The result of a study is its folder, that of `open` and `serve` a page; an assistant has its own protocol.
WITHOUT_RESULT = ("completion", "mcp", "open", "serve", "study")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example_and_prints_its_result_as_json_too(capsys, command):
    status, out, _ = run(capsys, *command.split(), "--help")
    assert status == 0
    assert f"seehear {command}" in out
    assert "Example" in out
    # The text of an option that turns something off says so.
    assert all(out.count(option) > 1 for option in re.findall(r"(?m)^\W*(--no-[\w.-]+)", out))
    assert ("--json" in out) == (command.split()[0] not in WITHOUT_RESULT)


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
        (("import", "cloto"), "did you mean 'clotho'"),
        (("prepare", "--library", "y"), "give folders of media"),
        (("evaluate", "."), "is not the folder of a run"),
        (("prepare", "x"), "--library"),
        (("train",), "LIBRARY"),
        (("compare", "a"), "SECOND"),
        (("search", "lib", "words", "--k", "abc"), "--k"),
        (("search", "lib", "words", "--k"), "--k"),
        (("search", "lib", "words", "more", "of", "them"), "more, of, them"),
        (("encode", "lib", "--engine", "cluster"), "'local', 'ray'"),
        (("train", "lib", "fusemix", "--train.epochs", "0"), "epochs"),
        (("train", "lib", "fusemix", "--optim.warmup", "2"), "warmup"),
        (("train", "lib", "fusemix", "--method.alpha", "-1"), "alpha"),
        (("search", "lib", "words", "--k", "0"), "k must be at least 1; got 0"),
        (("select", "lib", "--clips", "0"), "clips must be at least 1; got 0"),
        (("encode", "lib", "--batch-size", "0"), "batch_size must be at least 1; got 0"),
        (("leakage", "lib", "--threshold", "2"), "threshold must be in [-1, 1]; got 2"),
        (("reconstruct", "run", "clip", "--start", "-1"), "start must be at least 0; got -1"),
        (("study", "encodrs", "lib"), "did you mean 'encoders'"),
        (("study", "data", "lib", "--model", "lineer"), "did you mean 'linear'"),
        (("study", "selection", "lib", "--model", "x"), "unknown model 'x'"),
        (("study", "encoders", "lib", "--model", "x"), "unknown model 'x'"),
        (("leakage", "lib", "--split", "tset"), "did you mean 'test'"),
        (("generate", "run", "--text", "a", "--out", "x.mp4"), "the name of a picture ends in .png"),
        (("generate", "run"), "nothing to paint"),
        (("reconstruct", "run", "clip", "--start", "3", "--end", "2"), "--end 2 is not after --start 3"),
        (("reconstruct", "run", "gone.mp4"), "no file gone.mp4"),
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


def test_a_folder_with_a_link_to_itself_is_no_library(capsys, tmp_path):
    """LanceDB fails where it lists one."""
    (tmp_path / "loop").symlink_to("loop")
    status, _, err = run(capsys, "search", str(tmp_path), "words")
    assert (status, err.count("\n")) == (2, 1)
    assert "is not a seehear library" in err


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["compare"], "FIRST, SECOND"),
        (["compare", "first"], "SECOND"),
        (["probe", "--label", "kind"], "RUN_FOLDER"),
        (["probe", "run"], "--label"),
        (["drop"], "LIBRARY"),
    ],
)
def test_arguments_that_are_given_are_not_asked_for(capsys, words, missing):
    assert main(words) == 2
    assert f"seehear {words[0]} needs {missing} (" in capsys.readouterr().err


def test_drop_needs_the_name_of_a_table(capsys, tmp_path):
    LibraryTables.create(tmp_path / "lib")
    status, out, err = run(capsys, "drop", str(tmp_path / "lib"))
    assert (status, out) == (2, "")
    assert "seehear info" in err


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


def test_a_path_nearly_right_is_offered(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "library").mkdir()
    (tmp_path / "runs" / "first").mkdir(parents=True)
    assert "did you mean library?" in run(capsys, "info", "libary")[2]
    assert "did you mean runs/first?" in run(capsys, "evaluate", "runs/frist")[2]


def test_an_entry_of_a_table_is_an_option(capsys):
    status, _, err = run(capsys, "train", "/no/such/library", "mavil", "--method.decoders.video", "cross")
    assert (status, "unknown option" in err, "/no/such/library" in err) == (2, False, True)


def test_an_unknown_option_of_many_is_one_short_line(capsys):
    _, _, err = run(capsys, "train", "lib", "mavil", "--method.decoder.video", "cross")
    assert "did you mean '--method.decoders.video'?" in err
    assert "--help lists them" in err
    assert len(err) < 250


def test_verbose_says_where_an_error_came_from_and_what_it_took(capsys):
    status, _, err = run(capsys, "info", "/no/such/library", "--verbose")
    assert status == 2
    assert "Traceback" in err
    assert "of processor time" in err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_commands_options_and_recipes(capsys, shell):
    """Slow, as each script is made anew: below, bash completes from one script."""
    _, out, _ = run(capsys, "completion", shell)
    for word in (*" ".join(COMMANDS).split(), "fusemix", "clotho"):
        assert word in out
    assert ("-l index" if shell == "fish" else "--index") in out


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.fixture(scope="module")
def bash_script():
    return script("bash")


def completed(script, *words):
    lines = f"{script}\nCOMP_WORDS=(seehear {' '.join(words)}); COMP_CWORD={len(words)}; _seehear\n"
    done = subprocess.run(["bash", "-c", lines + 'printf "%s\n" "${COMPREPLY[@]}"'], capture_output=True, text=True)
    return done.stdout.split()


@needs_bash
def test_bash_completes(bash_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert completed(bash_script, "eval") == ["evaluate"]
    assert completed(bash_script, "search", "lib", "--hyb") == ["--hybrid"]
    assert "mcn.tiny" in completed(bash_script, "train", "lib", "m")
    assert "mine" in completed(bash_script, "train", "m")


RECIPES = [pytest.param(f"train lib {n}", marks=[pytest.mark.slow] if "." in n else []) for n in recipes()]
"""Slow where a recipe has the options of another, or nearly."""


@needs_bash
@pytest.mark.parametrize("words", [*COMMANDS, "train lib", *RECIPES, "import clotho"], ids=str)
def test_completion_offers_exactly_the_options_of_a_command(capsys, monkeypatch, bash_script, words):
    """As the help shows them: also each entry of a table, and of a switch one of --x and --no-x."""
    monkeypatch.setenv("COLUMNS", "100")
    offered = set(completed(bash_script, *words.split(), "--"))
    _, text, _ = run(capsys, *words.split(), "--help")
    accepted = set(re.findall(r"^\W*(?:-h, )?(--[a-z][\w.-]*)", text, re.MULTILINE))
    assert offered == accepted | {"--quiet", "--verbose"}
    assert "--help" in accepted


@needs_bash
def test_what_completion_offered_wrongly(bash_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without files, which are offered too
    assert "--resume" not in completed(bash_script, "study", "encoders", "lib", "--")
    assert set(completed(bash_script, "study", "")) == {name.split()[1] for name in members("study")}
    assert len(completed(bash_script, "train", "lib", "vatt", "--")) > 100


def test_doctor_tries_each_part(capsys, tmp_path):
    status, out, _ = run(capsys, "doctor", "--json")
    found = {check["name"]: check for check in json.loads(out)["checks"]}
    assert status == 0
    for part in ("decoding a film", "a library on disk", "training on latents", "training on media"):
        assert found[part]["state"] == "ok", found[part]


def test_doctor_says_what_is_wrong_with_a_library_and_ends_with_an_error(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("seehear.doctor._trains", lambda kind, device: "not tried here")
    media = tmp_path / "media"
    media.mkdir()
    film(media / "one.mp4")
    assert run(capsys, "prepare", str(media), "--library", str(tmp_path / "lib"))[0] == 0
    (media / "one.mp4").unlink()
    status, out, err = run(capsys, "doctor", str(tmp_path / "lib"))
    assert status == 2
    assert "1 of 1 are not where they were: one.mp4" in out
    assert "its media files" in err


@pytest.mark.parametrize(("count", "said"), [(0, "0 clips"), (1, "1 clip"), (2000, "2,000 clips")])
def test_one_is_singular(count, said):
    assert counted(count, "clip") == said
    assert counted(2, "query") == "2 queries"
    assert counted(2, "class") == "2 classes"
