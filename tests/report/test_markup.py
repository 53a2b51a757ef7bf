"""Whatever the text, it comes out of the page as it went in, and as nothing but text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seehear.report.markup import Markup, element, raw, text
from tests.report.pages import parse

_CONTROLS = [chr(c) for c in (*range(32), 127, 0xFFFE, 0xFFFF) if chr(c) not in "\t\n\r"]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_survives_as_text(words):
    tree = parse(element("p", words, title=words))
    shown = "".join("\N{REPLACEMENT CHARACTER}" if c in _CONTROLS else c for c in words)
    (paragraph,) = tree.children
    assert paragraph.tag == "p"
    assert paragraph.text == shown
    assert paragraph.attributes == {"title": shown}


def test_what_no_page_can_hold_is_replaced():
    assert text("a\x00b\udc80c") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"


@pytest.mark.parametrize(
    ("made", "written"),
    [
        (element("p", "a < b", class_="note"), '<p class="note">a &lt; b</p>'),
        (element("img", src="x", alt=""), '<img src="x" alt="">'),
        (element("td", None, 3, ["a", element("b", "c")]), "<td>3a<b>c</b></td>"),
        (element("audio", controls=True, muted=False, loop=None), "<audio controls></audio>"),
        (element("svg", aria_hidden="true", viewBox="0 0 1 1"), '<svg aria-hidden="true" viewBox="0 0 1 1"></svg>'),
        (element("style", raw("a > b {}")), "<style>a > b {}</style>"),
        (element("meta", name="viewport"), '<meta name="viewport">'),
    ],
)
def test_elements(made, written):
    assert made == written
    assert isinstance(made, Markup)
