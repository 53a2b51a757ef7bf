"""Numbers of the code itself: size, helpers, comments, names. `python tools/mirror.py [--list NAME]` on any checkout.

    python tools/mirror.py                        the package
    python tools/mirror.py ../nanochat/nanochat   another one, for comparison
    python tools/mirror.py --list helpers         what a number counts, with its place

Lines are those of Python files, with blank lines, comments and docstrings. Complexity is McCabe's, as ruff counts it.
"""

import argparse
import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

UPSIDE_DOWN = re.compile(r"(Of|Whose|Which|What|Where|So many|Those|That|As)\b")
BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def complexity(function: ast.AST) -> int:
    """McCabe complexity: one more than its branches, those of nested functions included."""
    return 1 + sum(isinstance(node, BRANCHES) for node in ast.walk(function))


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Number of parameters without self, cls and the variadic ones."""
    names = [a.arg for a in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]]
    return len([name for name in names if name not in ("self", "cls")])


def documented(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring, those of attributes included."""
    for node in ast.walk(tree):
        for statement in getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value


def measure(folder: Path) -> dict[str, list[str]]:
    """The places that each number counts, by the number's name; `lines` and `comments` have one entry a line."""
    places: dict[str, list[str]] = defaultdict(list)
    classes, uses, private = defaultdict(list), Counter[str](), {}
    for path in sorted(folder.rglob("*.py")):
        text, place = path.read_text(encoding="utf-8"), str(path.relative_to(folder))
        tree = ast.parse(text)
        lines = text.splitlines()
        places["files"].append(place)
        places["lines"] += [place] * len(lines)
        places["comments"] += [place for line in lines if line.lstrip().startswith("#")]
        places["upside down"] += [f"{place}:{at} {d[:60]!r}" for at, d in documented(tree) if UPSIDE_DOWN.match(d)]
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(f"{place}:{node.lineno}")
            elif isinstance(node, FUNCTIONS):
                places["functions"].append(f"{place}:{node.lineno} {node.name}")
                if node.name.startswith("_") and not node.name.startswith("__"):
                    private[f"{place}:{node.lineno} {node.name}"] = node.name
            elif isinstance(node, ast.Name):
                uses[node.id] += 1
            elif isinstance(node, ast.Attribute):
                uses[node.attr] += 1
        places["public names"] += [f"{place} {n}" for n in public(tree)]
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                at = f"{place}:{node.lineno} {node.name}"
                places["complexity"].append(f"{complexity(node):3d} {at}")
                places["parameters"].append(f"{parameters(node):3d} {at}")
                places["length"].append(f"{(node.end_lineno or 0) - node.lineno + 1:3d} {at}")
    places["helpers"] = [at for at, name in private.items() if uses[name] == 1]
    places["twice"] = [f"{name}: {', '.join(at)}" for name, at in sorted(classes.items()) if len(at) > 1]
    places["large files"] = [f"{n} {f}" for f, n in Counter(places["lines"]).most_common() if n > 350]
    return places


def public(tree: ast.Module) -> list[str]:
    """Names of the functions and classes of a module that do not begin with an underscore."""
    return [n.name for n in tree.body if isinstance(n, (*FUNCTIONS, ast.ClassDef)) and not n.name.startswith("_")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1] / "seehear")
    parser.add_argument("--list", metavar="NAME", help="the places behind one number")
    options = parser.parse_args()
    places = measure(options.folder)
    if options.list:
        print("\n".join(sorted(places[options.list], reverse=True)))
        return
    lines, functions = len(places["lines"]), len(places["functions"])
    print(f"files                          {len(places['files']):6,}   over 350 lines: {len(places['large files'])}")
    print(f"lines                          {lines:6,}   whole-line comments: {len(places['comments']) / lines:.1%}")
    print(f"functions                      {functions:6,}   helpers used once: {len(places['helpers'])}"
          f" ({len(places['helpers']) / functions:.0%})")  # fmt: skip
    print(f"public names                   {len(places['public names']):6,}")
    print(f"class names defined twice      {len(places['twice']):6,}")
    print(f"docstrings upside down         {len(places['upside down']):6,}")
    for name in ("complexity", "parameters", "length"):
        largest = max(places[name], default="0")
        print(f"{name + ', largest':30} {largest}")


if __name__ == "__main__":
    main()
