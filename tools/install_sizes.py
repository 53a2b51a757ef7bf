"""Sizes of an installation by extra, as the table of docs/install.md: python tools/install_sizes.py WHEELS

WHEELS: folder for the wheels of every extra, which are downloaded into it; pip then resolves each extra from there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlparse

ROOT = Path(__file__).parent.parent
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def main(wheels: Path) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = [name for name in tomllib.load(file)["project"]["optional-dependencies"] if name != "dev"]
    pinned = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*PIP, "wheel", "--wheel-dir", str(wheels), *pinned, f"{ROOT}[{','.join(extras)}]"], check=True)
    (own,) = wheels.glob("seehear-*.whl")
    torch, core = (resolved(wheels, what) for what in ("torch", str(own)))
    print("| | packages | download, MB | on disk, MB |\n|---|---|---|---|")
    print(row("torch, the CPU build", torch))
    print(row("`seehear`, beside torch", core - torch))
    for extra in extras:
        print(row(f"`[{extra}]`, beside `seehear`", resolved(wheels, f"{own}[{extra}]") - core))


def resolved(wheels: Path, what: str) -> set[Path]:
    """The wheels that pip installs into an empty environment."""
    options = ["--dry-run", "--ignore-installed", "--report", "-", "--no-index", "--find-links", str(wheels)]
    report = subprocess.run([*PIP, "install", *options, what], check=True, stdout=subprocess.PIPE).stdout
    return {Path(unquote(urlparse(one["download_info"]["url"]).path)) for one in json.loads(report)["install"]}


def row(name: str, wheels: set[Path]) -> str:
    unpacked = sum(file.file_size for wheel in wheels for file in zipfile.ZipFile(wheel).infolist())
    packed = sum(wheel.stat().st_size for wheel in wheels)
    return f"| {name} | {len(wheels)} | {packed / 1e6:,.0f} | {unpacked / 1e6:,.0f} |"


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
