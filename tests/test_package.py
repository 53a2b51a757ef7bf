"""What the package, the container and the notebook are made of; `make package` builds and installs the wheel."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from seehear.commands import find, load
from seehear.commands.parsing import parse
from seehear.errors import SeehearError

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_every_file_of_the_package_is_in_the_wheel():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["seehear"]
    packed = {path for pattern in patterns for path in (ROOT / "seehear").glob(pattern)}
    tracked = subprocess.run(["git", "ls-files", "seehear"], cwd=ROOT, capture_output=True, text=True).stdout
    files = [ROOT / name for name in tracked.splitlines()] or pytest.skip("not a checkout")
    missing = [path for path in files if path.suffix != ".py" and path not in packed]
    missing += [path for path in files if path.suffix == ".py" and not (path.parent / "__init__.py").is_file()]
    assert not missing


BROUGHT = {"pydantic": "fastapi", "starlette": "fastapi", "markupsafe": "jinja2", "ctranslate2": "faster-whisper"}
"""Packages that a declared one brings, as its own interface needs them."""
BROUGHT |= {"huggingface_hub": "transformers", "cv2": "rapidocr"}
OTHER_NAMES = {"PIL": "pillow", "sklearn": "scikit-learn", "llama_index": "llama-index-core"}
NO_NEED = {"jaxtyping", "sentence_transformers"}
"""Imported for type checkers alone, or by code that the user's sentence-transformers calls."""


def test_every_package_that_is_imported_is_declared():
    """Another package may bring it today, and no longer tomorrow."""
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    declared = {re.split(r"[^\w.-]", one)[0].lower().replace("_", "-") for one in wanted}
    imported = {}
    for path in (ROOT / "seehear").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require" and node.args:
                names += [str(node.args[0].value)] if isinstance(node.args[0], ast.Constant) else []
            imported |= {name.split(".")[0]: path.name for name in names}
    foreign = imported.keys() - sys.stdlib_module_names - NO_NEED - {"seehear"}
    names = {one: BROUGHT.get(one) or OTHER_NAMES.get(one) or one.lower().replace("_", "-") for one in foreign}
    assert {one: imported[one] for one, name in names.items() if name not in declared} == {}


# -- containers --------------------------------------------------------------------------------------------------------


def test_the_dockerfile_installs_what_there_is():
    (extras,) = re.findall(r'"/src\[(.*?)\]"', DOCKERFILE)
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    for pinned in re.findall(r"\S+==\S+", DOCKERFILE):
        assert pinned in (ROOT / "Makefile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (.*)", DOCKERFILE, re.M) for name in line.split()[:-1]}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_the_page_of_compose_reads_the_media_and_asks_for_its_token(monkeypatch):
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for name, service in services.items():
        words, environment = service["command"], service["environment"]
        assert environment["SEEHEAR_TOKEN"].startswith("${SEEHEAR_TOKEN:?"), name  # refused where it is not set
        monkeypatch.setenv("SEEHEAR_TOKEN", "0123456789abcdef")
        command, rest = find(words)
        page = parse(load(command, rest), rest, prog="seehear open")
        media, library = (volume.rsplit("}:")[-1].split(":") for volume in service["volumes"])
        assert media == [page.folder.as_posix(), "ro"]
        assert page.library.startswith(f"{library[1]}/")
        assert service["ports"] == [f"127.0.0.1:{page.config.port}:{page.config.port}"]
        assert page.config.token
        assert service["build"]["args"]["TORCH"] in ("cpu", "cuda")
        monkeypatch.delenv("SEEHEAR_TOKEN")
        with pytest.raises(SeehearError, match="needs a token"):
            parse(load(command, rest), rest, prog="seehear open")
