"""A file imports only from lower ranks and its own folder, and neither files nor folders import in a circle.

Imports that only type checkers see count as any other: whoever reads the file follows them.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "seehear"
RANKS = [
    {"types", "errors"},
    {"progress", "npz", "distributed"},
    {"media", "nn", "losses"},
    {"encoders"},
    {"library"},
    {"inputs"},
    {"methods", "search"},
    {"train", "evaluation"},
    {"space"},
    {"runs"},
    {"recipes"},
    {"studies", "downstream", "datasets", "folders"},
    {"report", "facade"},
    {"doctor", "demo", "serve", "retrievers"},
    {"commands"},
    {"cli"},
    {"__init__", "__main__"},
]
"""What stands in one set does not import each other."""
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
FORBIDDEN = {("evaluation", "methods"), ("search", "methods")}


def module(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module(path): path for path in sorted(ROOT.rglob("*.py"))}


def imported(name: str) -> set[str]:
    """The modules of the package that a file imports, at its head or anywhere else."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in FILES:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if full in FILES else str(node.module) for full in inner}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & FILES.keys()
    return found - {name}


IMPORTS = {name: imported(name) for name in FILES}


def test_no_helper_of_tests_is_hidden_by_a_folder_of_its_name():
    """`tests.media` is a folder of tests to pytest, whatever stands in `tests/media.py`."""
    tests = Path(__file__).parent
    assert not {path.stem for path in tests.glob("*.py")} & {path.name for path in tests.iterdir() if path.is_dir()}


def area(name: str) -> str:
    """The folder or file of the package that a module belongs to."""
    return name.split(".")[1] if "." in name else "__init__"


def folder(name: str) -> str:
    """The innermost folder of a module; a file that lies in none stands for itself."""
    parent = FILES[name].parent
    return name if parent == ROOT else module(parent / "__init__.py")


def assert_no_cycle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("imported in a circle: " + " <- ".join(error.args[1]))


@pytest.mark.parametrize("name", FILES)
def test_imports_point_down(name):
    here = area(name)
    assert here in RANK, f"{here} has no rank: give it one in this test and in docs/architecture.md"
    for other in {area(found) for found in IMPORTS[name]} - {here}:
        assert RANK[other] < RANK[here], f"{name} ({here}) imports {other}, which is not below it"
        assert (here, other) not in FORBIDDEN, f"{here} must not import {other}"


def test_no_file_is_imported_in_a_circle():
    assert_no_cycle(IMPORTS)


def test_no_folder_is_imported_in_a_circle():
    graph: dict[str, set[str]] = {}
    for name, others in IMPORTS.items():
        graph.setdefault(folder(name), set()).update({folder(other) for other in others} - {folder(name)})
    assert_no_cycle(graph)


def test_no_method_imports_another_but_diffmavil():
    """Settings are no method: what a family shares may read them."""
    for path in (ROOT / "methods").glob("*.py"):
        if path.stem in {"base", "__init__", "diffmavil", "registry"}:
            continue
        tree = ast.parse(path.read_text())
        modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        others = {m for m in modules if m.startswith("seehear.methods.") and not m.endswith("_config")}
        others -= {"seehear.methods.base", "seehear.methods.linear"}
        others -= {"seehear.methods.mavil_cost"}  # numbers of operations, from settings
        others -= {f"seehear.methods.{path.stem}_layers"}  # its own
        assert not others, f"{path.name} imports {others}"
