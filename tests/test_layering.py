"""A file imports only from lower ranks and its own folder."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "seehear"
RANKS = [
    {"types", "errors", "progress", "stopping"},
    {"distributed"},
    {"nn", "losses"},
    {"encoders", "data"},
    {"methods"},
    {"train", "evaluation", "search"},
    {"recipes", "space", "report"},
    {"cli", "commands", "serve", "__main__", "__init__"},
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
FORBIDDEN = {("nn", "losses"), ("losses", "nn"), ("evaluation", "methods"), ("search", "methods"), ("commands", "cli")}
FILES = sorted(ROOT.rglob("*.py"))


def area(path: Path) -> str:
    part = path.relative_to(ROOT).parts[0]
    return part.removesuffix(".py")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "seehear":
            parts = (node.module or "").split(".")
            names |= {parts[1]} if len(parts) > 1 else {a.name for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("seehear.")}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    here = area(path)
    assert here in RANK, f"{here} has no rank: give it one in this test and in docs/architecture.md"
    for name in imported(path) - {here}:
        assert RANK[name] <= RANK[here], f"{path.name} ({here}) imports {name} from above"
        assert (here, name) not in FORBIDDEN, f"{here} must not import {name}"


def test_no_method_imports_another_but_diffmavil():
    """Settings are no method: what a family shares may read them."""
    for path in (ROOT / "methods").glob("*.py"):
        if path.stem in {"base", "__init__", "diffmavil", "registry"}:
            continue
        tree = ast.parse(path.read_text())
        modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        others = {m for m in modules if m.startswith("seehear.methods.") and not m.endswith("_config")}
        others -= {"seehear.methods.base", "seehear.methods.linear", "seehear.methods.registry"}
        assert not others, f"{path.name} imports {others}"
