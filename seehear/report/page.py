"""The page itself: its head, its parts, and the few shapes that its content has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seehear.report.markup import Markup, element, raw

_STYLE = Path(__file__).parent.parent / "assets" / "report.css"
_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
"""Whatever finds its way into the page, a browser loads nothing for it."""
_ONE_SOUND = (
    "document.addEventListener('play', e => document.querySelectorAll('audio').forEach(a => "
    "a !== e.target && a.pause()), true)"
)


@dataclass(frozen=True)
class Section:
    name: str
    """Of the link to it: 'examples'."""
    title: str
    content: Sequence[Any]


def page(title: str, lead: Sequence[Any], sections: Sequence[Section]) -> str:
    """A whole document. Sections without content are left out, and out of its list of contents."""
    shown = [section for section in sections if section.content]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content="seehear"),
        element("title", title),
        element("style", raw(_STYLE.read_text(encoding="utf-8"))),
    )
    contents = [element("li", element("a", s.title, href=f"#{s.name}")) for s in shown]
    parts = [
        element(
            "section",
            element("h2", s.title, id=f"{s.name}-title"),
            *s.content,
            id=s.name,
            aria_labelledby=f"{s.name}-title",
        )
        for s in shown
    ]
    body = element(
        "body",
        element("header", element("h1", title), *lead, element("nav", element("ul", *contents), aria_label="Contents")),
        element("main", *parts),
        element("script", raw(_ONE_SOUND)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def table(head: Sequence[Any], rows: Iterable[Sequence[Any] | Markup], *, caption: Any, words: int = 1) -> Markup:
    """The first cell of a row is its header, the first `words` columns are words and the rest numbers. A row may be
    `Markup` of its own."""
    names = [element("th", name, scope="col", class_=None if i < words else "n") for i, name in enumerate(head)]
    body = [row if isinstance(row, Markup) else table_row(row, words=words) for row in rows]
    parts = element("thead", element("tr", *names)), element("tbody", *body)
    return captioned(caption, element("table", *parts, class_="numbers" if words == 1 else None))


def table_row(cells: Sequence[Any], *, words: int = 1) -> Markup:
    first = element("th", cells[0], scope="row")
    rest = [element("td", cell, class_=None if i < words else "n") for i, cell in enumerate(cells[1:], start=1)]
    return element("tr", first, *rest)


def captioned(caption: Any, made: Markup) -> Markup:
    """A table that may be wider than a phone, and what it is; the keyboard can move it too."""
    scrolled = element("div", made, class_="scroll", tabindex="0", role="region", aria_label=caption)
    return element("figure", element("figcaption", caption), scrolled, class_="table")


def facts(known: Mapping[str, Any]) -> Markup:
    """Names with their values; what is None or '' is left out."""
    shown = [(name, value) for name, value in known.items() if value not in (None, "")]
    return element("dl", *(part for name, value in shown for part in (element("dt", name), element("dd", value))))


def folded(summary: Any, *content: Any, open_: bool = False) -> Markup:
    return element("details", element("summary", summary), *content, open=open_)


def paragraph(*content: Any, class_: str | None = None) -> Markup:
    return element("p", *content, class_=class_)


def percent(value: float, interval: tuple[float, float] | None = None) -> str:
    """'48.8 % [44.1, 53.2]'; a value that is not finite is '-'."""
    if value != value:
        return "-"
    shown = f"{100 * value:.1f} %"
    return (
        shown
        if interval is None or interval[0] != interval[0]
        else f"{shown} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
    )
