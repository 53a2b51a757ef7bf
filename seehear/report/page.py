"""Pages from the Jinja2 templates beside this file. Values are escaped, except for output of templates."""

from __future__ import annotations

import math
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
# Content security policy: whatever gets into the page, a browser loads nothing for it
# 'unsafe-inline' is for the style and script of the page itself: values cannot add any, as they are escaped.
_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
# Control characters and lone surrogates (names of files that are no UTF-8), which no HTML may contain
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_BETWEEN = re.compile(r"(?<=[>}])\s*\n\s*(?=[<{])")


@dataclass(frozen=True)
class Section:
    name: str
    """Target of links to it."""
    title: str
    content: Markup
    folded: bool = False


class _Tight(Extension):
    """Removes line breaks between tags of a template: they would be spaces between cells and list items."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return _BETWEEN.sub("", source.strip())


def _clean(value: Any) -> Any:
    """The value with characters replaced that HTML cannot contain; '' for None."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", value)
    return "" if value is None else value


@cache  # templates are parsed once
def templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        extensions=[_Tight],
        autoescape=True,
        # Of every value: Jinja prints None as a word.
        finalize=_clean,
        # A misspelled name fails in the tests instead of being empty on the page.
        undefined=StrictUndefined,
    )


def render(template: str, **values: Any) -> Markup:
    return Markup(templates().get_template(template).render(**values))


def part(template: str, macro: str, *values: Any) -> Markup:
    """Output of a macro of a template."""
    output: Markup = getattr(templates().get_template(template).module, macro)(*values)
    return output


def page(title: str, lead: Markup, sections: Sequence[Section]) -> str:
    """A whole document. Sections without content are left out, also of the list of contents."""
    shown = [section for section in sections if section.content]
    # Marked as safe: both come with seehear, and escaping would break them.
    style, script = (Markup(path.read_text(encoding="utf-8")) for path in (_STYLE, _SCRIPT))
    # Style and script are inline: the page is one file that works offline.
    values = {"lead": lead, "sections": shown, "style": style, "script": script, "policy": Markup(_POLICY)}
    return f"{render('page.html', title=title, **values)}\n"


def percent(value: float, interval: tuple[float, float] | None = None) -> str:
    """'48.8 % [44.1, 53.2]'; '-' for NaN."""
    if math.isnan(value):
        return "-"
    if interval is None or math.isnan(interval[0]):
        return f"{100 * value:.1f} %"
    return f"{100 * value:.1f} % [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
