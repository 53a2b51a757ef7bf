"""HTML by small functions. Text is escaped wherever it comes from, unless a function here made it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any

_VOID = {"meta", "img", "br", "hr"}
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """HTML, as against a text that is to be shown."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """A value as HTML: `Markup` as it is, several one after the other, None as nothing, all else escaped."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return Markup("".join(text(one) for one in value))
    return Markup(html.escape(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", str(value))))


def element(tag: str, /, *children: Any, **attributes: Any) -> Markup:
    """`element("p", "a < b", class_="note")`. Attributes that are None or False are left out; `_` is written `-`."""
    parts = [tag]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.rstrip("_").replace("_", "-")
        parts.append(word if value is True else f'{word}="{text(str(value))}"')
    head = f"<{' '.join(parts)}>"
    return Markup(head if tag in _VOID else f"{head}{text(children)}</{tag}>")


def raw(content: str) -> Markup:
    """A style sheet, a script or a drawing of our own, as it is."""
    return Markup(content)
