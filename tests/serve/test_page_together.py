"""What the views of the page do together, in a real browser."""

import re

import pytest

from tests.serve.pages import PHONE, accessible, go, opened, searched, until


def test_back_from_a_film_the_results_are_as_they_were(browser, address):
    with opened(browser, address) as page:
        go(page, "/?q=a+dog+barks&kinds=heard")
        searched(page).first.locator(".title a").click()
        page.wait_for_selector(".film-head")
        assert page.input_value("#q") == "a dog barks", "the words stay in the search box"
        page.keyboard.press("Escape")
        page.wait_for_url("**/?q=a+dog+barks&kinds=heard")
        assert searched(page).count() > 0


@pytest.mark.slow
def test_details_fit_on_a_phone(browser, address):
    with opened(browser, address, viewport=PHONE) as page:
        go(page, "/?q=rain")
        searched(page)
        page.click("#details summary")
        assert page.locator("#run").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        accessible(page, "header")


def test_a_liked_clip_has_a_name_after_a_reload(browser, address):
    with opened(browser, address) as page:
        go(page, "/?q=rain")
        searched(page).first.locator(".more").click()
        page.wait_for_url("**like=**")
        searched(page)
        page.reload()
        searched(page)
        assert not re.search(r"[#/]", page.inner_text("#parts li:not([data-text]) .name"))
        page.locator(".labels").first.click()
        assert page.get_by_role("dialog", name="Labels").is_visible()


def test_filters_alone_say_what_to_do_and_cannot_be_saved(browser, address):
    with opened(browser, address) as page:
        go(page, "/?source=nowhere/*")
        until(page, "document.querySelector('#results .nothing')")
        assert "Type words above" in page.inner_text("#results")
        assert page.locator("#save").is_hidden()
