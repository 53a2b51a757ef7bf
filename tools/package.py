"""Builds the wheel and the sdist and follows the newcomer's path of docs/index.md with the wheel: make package

The sdist is built from the checkout and the wheel from the sdist, into dist/. The path runs outside the checkout: its
shell lines install the wheel in place of `seehear` into an empty environment, and its Python runs there. The first
failure ends it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.M | re.S)
FIRST, AFTER = "## Install", "## Search a folder"
"""The path lies between these headings."""


def main() -> None:
    wheel = build()
    with tempfile.TemporaryDirectory(prefix="seehear-package-") as folder:
        follow(wheel, Path(folder))
    print(f"{wheel.relative_to(ROOT)}: everything is in it, and the newcomer's path leads to a hit")


def build() -> Path:
    """The wheel, whose content is the package as it is tracked, its metadata and its licence."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    tracked = set(run("git", "-C", ROOT, "ls-files", "seehear").splitlines())
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    check(inside == tracked, f"{wheel.name} and the checkout differ in {sorted(inside ^ tracked)}")
    check(any(n.endswith("licenses/LICENSE") for n in zipfile.ZipFile(wheel).namelist()), f"no licence in {wheel.name}")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    check(tracked | {"LICENSE", "README.md", "pyproject.toml"} <= packed, f"{sdist.name} is not complete")
    check(not any(name.startswith(("tests", "benchmarks")) for name in packed), f"{sdist.name} has a part of the tests")
    return wheel


def follow(wheel: Path, folder: Path) -> None:
    """From an empty environment to a hit. The recordings are photos of the demo."""
    venv.create(folder / "venv", with_pip=True)
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    outside["PATH"] = f"{folder / 'venv' / 'bin'}{os.pathsep}{outside['PATH']}"
    outside["PIP_CONSTRAINT"] = str(ROOT / "constraints.txt")
    newcomer = outside | {"HOME": str(folder)}
    shutil.copytree(ROOT / "seehear" / "assets" / "demo" / "media" / "photos", folder / "recordings")
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for language, code in BLOCK.findall(page[page.index(FIRST) : page.index(AFTER)]):
        if language == "python":
            check("polar-bear.jpg" in run("python", "-c", code, cwd=folder, env=newcomer), "Python finds no polar bear")
            continue
        for line in code.splitlines():
            line = re.sub(r"'seehear(\[\w+\])'", rf"'{wheel}\1'", line)
            said = run("sh", "-c", line, cwd=folder, env=outside if line.startswith("pip ") else newcomer)
            check("seehear find" not in line or "polar-bear.jpg" in said, f"no polar bear: {line}\n{said}")
    scores = json.loads((folder / "seehear-demo" / "demo.json").read_text(encoding="utf-8"))["scores"]
    check(min(s["first"] for s in scores if s["way"] != "heard") > 0.5, f"the demo finds little: {scores}")


def run(*words: str | Path, **options: object) -> str:
    """The standard output of a command, which is shown as well; ends this program with the command's status."""
    print("$", *words, flush=True)
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    print(done.stdout, end="", flush=True)
    check(done.returncode == 0, f"status {done.returncode}: {' '.join(map(str, words))}")
    return str(done.stdout)


def check(right: bool, message: str) -> None:
    if not right:
        sys.exit(f"make package: {message}")


if __name__ == "__main__":
    main()
