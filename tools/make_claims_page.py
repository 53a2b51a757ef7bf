"""Write docs/claims.md from tools/claims.toml and benchmarks/results: python tools/make_claims_page.py

A paper of the TOML has claims, a claim has results. A result is a command and a text whose figures are read from a
JSON file: a path is keys, numbers of list items, tables that choose list items by their values ("none": null), or a
list of keys to average over. A figure is the mean over all that its path leads to. A result whose file or figure is
missing reads "not measured" with its reason `missing`, or is left out where it has none. A verdict is a text, or a
rule `if` (two figures or numbers and a comparison) with a text for `yes` and one for `no`.
"""

from __future__ import annotations

import ast
import json
import operator
import re
import statistics
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TABLE = Path(__file__).parent / "claims.toml"
RESULTS = ROOT / "benchmarks" / "results"
VERDICTS = ("holds", "holds here", "holds in part", "does not hold here", "not told apart", "not measured", "premise")
"""First words of a verdict, up to a colon."""

_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_HEAD = """# Claims of the papers

What each sentence of the papers' abstracts says (in our words), where it is implemented, what was measured here, and
the verdict. `python tools/make_claims_page.py` makes this page from `tools/claims.toml` and the JSON files in
`benchmarks/results`; every measured figure is read from there. Negative results stay. The data at hand are some
hundred to some thousand clips on two CPU cores: "does not hold here" is a statement about that scale, and a published
number of a public test set is "not measured" where the set, or the GPUs to train for it, were not at hand.
"""


def figure(data: Any, path: Sequence[Any]) -> float:
    """Mean of the numbers at `path`. `LookupError` where there is none."""
    values = list(_walk(data, list(path)))
    if not values:
        raise LookupError(path)
    return statistics.fmean(values)


def _walk(data: Any, path: list[Any]) -> Iterator[float]:
    if not path:
        yield float(data)
        return
    step, rest = path[0], path[1:]
    if isinstance(step, Mapping):
        chosen = [item for item in data if all(item.get(k) == (None if v == "none" else v) for k, v in step.items())]
    else:
        chosen = [data[key] for key in (step if isinstance(step, list) else [step])]
    for item in chosen:
        yield from _walk(item, rest)


def measured(result: Mapping[str, Any], folder: Path) -> tuple[str, dict[str, float]]:
    """Text of a result, and its figures by name."""
    if "file" not in result:
        return result["text"], {}
    try:
        data = json.loads((folder / result["file"]).read_text(encoding="utf-8"))
        figures = {name: figure(data, path) for name, path in result["figures"].items()}
    except (OSError, LookupError, TypeError, ValueError):
        return f"not measured: {result['missing']}" if "missing" in result else "", {}
    return result["text"].format(**figures), figures


def verdict(rule: str | Mapping[str, str], figures: Mapping[str, float]) -> str:
    if isinstance(rule, str):
        return rule
    left, sign, right = re.split(r"\s*(>=|<=|>|<)\s*", rule["if"])
    try:
        a, b = (figures[side] if side in figures else float(side) for side in (left, right))
    except ValueError:  # a figure that was not measured
        return "not measured"
    return rule["yes"] if _COMPARISONS[sign](a, b) else rule["no"]


@cache
def symbols(path: Path) -> frozenset[str]:
    """Names of a module: functions, classes and their methods."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
            found |= {f"{node.name}.{inner.name}" for inner in ast.walk(node) if isinstance(inner, ast.FunctionDef)}
    return frozenset(found)


def located(place: str) -> str:
    """'file.py: name' with the folder of the one file of that name that has it."""
    file, name = place.split(": ")
    paths = [path for path in sorted((ROOT / "seehear").rglob(file)) if name in symbols(path)]
    if len(paths) != 1:
        raise LookupError(f"{place}: {len(paths)} files of the package have it; change tools/claims.toml")
    return f"{paths[0].relative_to(ROOT / 'seehear').as_posix()}: {name}"


def row(claim: Mapping[str, Any], folder: Path) -> str:
    texts, commands = [], []
    figures: dict[str, float] = {}
    for result in claim["result"]:
        text, own = measured(result, folder)
        if not text:
            continue
        texts.append(text)
        figures |= own
        if f"`{result['command']}`" not in commands:
            commands.append(f"`{result['command']}`")
    head, colon, reason = verdict(claim["verdict"], figures).partition(":")
    sentence = ", ".join(map(str, claim["sentence"])) or "-"
    cells = [sentence, claim["claim"], "<br>".join(f"`{located(place)}`" for place in claim["code"])]
    cells += ["<br>".join(texts) or "not measured", "<br>".join(commands), f"**{head}**{colon}{reason}"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page(table: Mapping[str, Any], folder: Path = RESULTS) -> str:
    parts = [_HEAD]
    for paper in table["paper"]:
        name = f"[{paper['name']}]({paper['link']})" if "link" in paper else paper["name"]
        parts.append(f"\n## {paper['title']}\n\n{name}; [here]({paper['page']}).\n")
        parts.append("| sentence | claim | where implemented | measured here | command | verdict |")
        parts.append("|---|---|---|---|---|---|")
        parts += [row(claim, folder) for claim in paper["claim"]]
    return "\n".join(parts) + "\n"


def read_table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    out = ROOT / "docs" / "claims.md"
    out.write_text(page(read_table()), encoding="utf-8")
    print(out)
