"""MkDocs hook: names of code in the documentation lead to their lines, in copies of the source that the build adds.

On the pages of the methods, the claims and the architecture, `nn/kmeans.py: assign` is a link; in a table's column
"where" or "code" so is each name by itself, and one that the package does not define is an error.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent / "seehear"
PAGES = re.compile(r"(architecture|claims|methods/\w+)\.md")
COLUMNS = ("where", "code", "where implemented")
_FILE = re.compile(r"(?:seehear/)?([a-z_\d/]+\.py)(?:: ([\w.]+))?")
_NAME = re.compile(r"([A-Za-z_][\w.]*)(?:\(.*\))?")
_CODE = re.compile(r"<code>([^<]*)</code>")
_linked: set[str] = set()


@cache
def defined(file: str) -> dict[str, int]:
    """Line of each class, function and constant of a file, and of each member as 'Class.member'."""
    found: dict[str, int] = {}
    for node in ast.parse((PACKAGE / file).read_text(encoding="utf-8")).body:
        for name in _names(node):
            found[name] = node.lineno
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}": member.lineno for member in node.body for name in _names(member)}
    return found


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        yield node.name
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    yield from (target.id for target in targets if isinstance(target, ast.Name))


def place(file: str, name: str = "") -> tuple[str, int] | None:
    """File and line of a name, or of the start of the file; None where there is no such thing."""
    if not (PACKAGE / file).is_file():
        return None
    lines = defined(file)
    line = lines.get(name, next((n for full, n in lines.items() if full.endswith(f".{name}")), 0)) if name else 1
    return (file, line) if line else None


@cache
def _files() -> list[str]:
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


class Linker:
    """Links of one page."""

    def __init__(self, page: str):
        method = Path(page).stem
        self.page, self.near = page, [f"methods/{method}.py", f"methods/{method}_config.py"]

    def spans(self, html: str, *, every_name: bool) -> Iterator[tuple[str, tuple[str, int] | None]]:
        """Each code span and the place it names. With `every_name` a name counts without its file, looked for in the
        file named before it, then in the page's method, then anywhere; LookupError where nothing defines it."""
        file = ""
        for code in _CODE.findall(html):
            text = unescape(code)
            if named := _FILE.fullmatch(text):
                file, found = named[1], place(named[1], named[2] or "")
            elif every_name and (named := _NAME.fullmatch(text)):
                searched = (place(f, named[1]) for f in ([file] if file else []) + self.near + _files())
                found = next(filter(None, searched), None)
            else:
                continue
            if every_name and found is None and not text.startswith(("benchmarks/", "tests/")):
                raise LookupError(f"{self.page}: the package has no {text}")
            yield code, found

    def linked(self, html: str, *, every_name: bool, up: str) -> str:
        for code, found in dict(self.spans(html, every_name=every_name)).items():
            if found is not None:
                _linked.add(found[0])
                address = f"{up}source/{found[0]}.html#L-{found[1]}"
                html = html.replace(f"<code>{code}</code>", f'<a href="{address}"><code>{code}</code></a>')
        return html

    def page_linked(self, html: str, up: str) -> str:
        """The page with its links; cells of the columns "where" and "code" first, the rest by file and name."""
        parts = re.split(r"(<table>.*?</table>)", html, flags=re.S)
        return "".join(
            self._table(part, up) if part.startswith("<table>") else self.linked(part, every_name=False, up=up)
            for part in parts
        )

    def _table(self, table: str, up: str) -> str:
        heads = [unescape(head) for head in re.findall(r"<th[^>]*>(.*?)</th>", table, re.S)]
        strict = {n for n, head in enumerate(heads) if head in COLUMNS}

        def row(match: re.Match[str]) -> str:
            cells = re.split(r"(<td[^>]*>.*?</td>)", match[0], flags=re.S)
            return "".join(self.linked(c, every_name=n // 2 in strict, up=up) for n, c in enumerate(cells))

        return re.sub(r"<tr>.*?</tr>", row, table, flags=re.S)


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    if not PAGES.fullmatch(page.file.src_uri):
        return html
    return Linker(page.file.src_uri).page_linked(html, "../" * page.url.count("/"))


def on_post_build(*, config: Any) -> None:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    for file in sorted(_linked):
        out = Path(config.site_dir) / "source" / f"{file}.html"
        out.parent.mkdir(parents=True, exist_ok=True)
        style = HtmlFormatter(full=True, title=f"seehear/{file}", linenos="inline", lineanchors="L")
        out.write_text(highlight((PACKAGE / file).read_text(encoding="utf-8"), PythonLexer(), style), encoding="utf-8")
