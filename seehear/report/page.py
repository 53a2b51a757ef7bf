"""Pages from the templates beside this file. Values are escaped, unless a template made them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup

_FOLDER = Path(__file__).parent / "templates"
_STYLE = Path(__file__).parent.parent / "assets" / "report.css"
_SCRIPT = Path(__file__).parent.parent / "assets" / "report.js"
_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
"""Whatever finds its way into the page, a browser loads nothing for it."""
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_BETWEEN = re.compile(r"(?<=[>}])\s*\n\s*(?=[<{])")


@dataclass(frozen=True)
class Section:
    name: str
    """Target of the link to it: 'examples'."""
    title: str
    content: Markup
    folded: bool = False


class _Tight(Extension):
    """A line break between two tags of a template is no space: cells and list items stand side by side."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return _BETWEEN.sub("", source.strip())


def _clean(value: Any) -> Any:
    """Text with characters replaced that no page can hold; '' for None."""
    if value is None:
        return ""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", value) if plain else value


@cache
def templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        extensions=[_Tight],
        autoescape=True,
        finalize=_clean,
        undefined=StrictUndefined,
    )


def render(template: str, **values: Any) -> Markup:
    return Markup(templates().get_template(template).render(**values))


def part(template: str, macro: str, *values: Any, **options: Any) -> Markup:
    """Output of a macro of a template."""
    made: Markup = getattr(templates().get_template(template).module, macro)(*values, **options)
    return made


def page(title: str, lead: Markup, sections: Sequence[Section]) -> str:
    """A whole document. Sections without content are left out, and out of its list of contents."""
    shown = [section for section in sections if section.content]
    style, script = (Markup(path.read_text(encoding="utf-8")) for path in (_STYLE, _SCRIPT))
    values = {"lead": lead, "sections": shown, "style": style, "script": script, "policy": Markup(_POLICY)}
    return f"{render('page.html', title=title, **values)}\n"


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
