"""Whatever the text, it comes out of the page as it went in, and as nothing but text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import Markup

from seehear.report.page import page, templates
from tests.report.pages import parse

_CONTROLS = [chr(c) for c in (*range(32), 127, 0xFFFE, 0xFFFF) if chr(c) not in "\t\n\r"]
PARAGRAPH = templates().from_string('<p title="{{ words }}">{{ words }}</p>')


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_survives_as_text(words):
    tree = parse(PARAGRAPH.render(words=words))
    shown = "".join("\N{REPLACEMENT CHARACTER}" if c in _CONTROLS else c for c in words)
    (paragraph,) = tree.children
    assert paragraph.tag == "p"
    assert paragraph.text == shown
    assert paragraph.attributes == {"title": shown}


@pytest.mark.parametrize(
    ("template", "values", "written"),
    [
        ("{{ x }}", {"x": "a\x00b\udc80c"}, "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"),
        ("<td>{{ x }}{{ y }}</td>", {"x": None, "y": 3}, "<td>3</td>"),
        ("<p>{{ x }}</p>", {"x": Markup("<b>c</b>")}, "<p><b>c</b></p>"),
        (
            "<ul>\n  <li>a</li>\n  {% if x %}\n  <li>b\nc</li>\n  {% endif %}\n</ul>\n",
            {"x": 1},
            "<ul><li>a</li><li>b\nc</li></ul>",
        ),
    ],
)
def test_templates(template, values, written):
    assert templates().from_string(template).render(**values) == written


def test_a_template_that_lacks_a_value_is_an_error():
    with pytest.raises(UndefinedError):
        templates().from_string("{{ missing }}").render()


def test_the_title_of_a_page_is_text():
    tree = parse(page("<script>", Markup("<p>lead</p>"), []).removeprefix("<!doctype html>"))
    assert [n.text for n in tree.every("title", "h1")] == ["<script>", "<script>"]
    assert len(list(tree.every("script"))) == 1
