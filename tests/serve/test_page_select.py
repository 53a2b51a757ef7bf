"""Moments that are selected on the page, and what is done with them."""

import json
from urllib.parse import unquote
from zipfile import ZipFile

import pytest

from seehear.media.files import probe
from tests.serve import world
from tests.serve.pages import PHONE, accessible, answer_of, film_of, go, opened, searched, shoot

DESKTOP = {"width": 1440, "height": 900}
TRAIN = "/?q=the+last+train+leaves+the+station"


def select(page, *numbers):
    """Points at cards and ticks their boxes."""
    cards = searched(page)
    for number in numbers:
        cards.nth(number).hover()
        cards.nth(number).locator(".pick input").check()


def answering(page, *films):
    """Few hits, which show what many do for less."""
    page.route("**/api/search", lambda route: route.fulfill(json=answer_of(list(films))))


def saved(page, press, to):
    with page.expect_download() as waiting:
        press()
    path = to / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_a_card_saves_its_moment(browser, address, tmp_path):
    with opened(browser, address, viewport=DESKTOP) as page:
        go(page, TRAIN)
        path = saved(page, searched(page).first.locator(".save").click, tmp_path)
        assert path.name == "train 0h00m07s.mp4"
        assert probe(path).duration == pytest.approx(1.5, abs=0.35)


def test_selected_moments_are_saved_listed_and_linked(browser, address, tmp_path):
    with opened(browser, address, viewport=DESKTOP, permissions=["clipboard-read", "clipboard-write"]) as page:
        go(page, TRAIN)
        assert page.locator("#picked").count() == 0
        select(page, 0, 1, 2)
        assert page.inner_text("#picked-count") == "3 selected"
        shoot(page, "selected")

        with ZipFile(saved(page, page.locator("#picked-save").click, tmp_path)) as archive:
            names = archive.namelist()
        assert len(names) == 3
        assert names[0] == "01 train 0h00m07s.mp4"

        page.click("text=Export as…")
        shoot(page, "selected-export")
        accessible(page, "#picked")
        path = saved(page, page.locator("#picked-lists button", has_text="M3U").click, tmp_path)
        assert path.name == "the last train leaves the station.m3u"
        assert path.read_text().count("#EXTINF") == 3
        assert "the last train leaves the station\n#EXTVLCOPT:start-time=7.500" in path.read_text()

        page.click("#picked-links")
        links = page.evaluate("navigator.clipboard.readText()").split("\n")
        assert len(links) == 3
        assert all(link.startswith(address) for link in links)
        assert world.TRAIN in unquote(links[0])

        page.click("#picked-clear")
        assert not page.locator("#picked").is_visible()
        assert page.locator(".pick input:checked").count() == 0


def test_a_selection_lasts_from_one_search_to_the_next(browser, address):
    with opened(browser, address, viewport=DESKTOP, color_scheme="dark") as page:
        go(page, TRAIN)
        select(page, 0)
        page.fill("#q", "a dog barks")
        page.keyboard.press("Enter")
        page.wait_for_url("**dog**")
        select(page, 0)
        assert page.inner_text("#picked-count") == "2 selected"
        shoot(page, "selected-dark")
        accessible(page, "#picked, .pick")
        page.go_back()
        page.wait_for_url("**train**")
        assert searched(page).first.locator(".pick input").is_checked()


def test_the_keyboard_selects(browser, address):
    with opened(browser, address, viewport=DESKTOP) as page:
        answering(page, film_of("one"), film_of("two"))
        go(page, TRAIN)
        searched(page)
        page.keyboard.press("j")
        page.keyboard.press("x")
        assert page.inner_text("#picked-count") == "1 selected"
        page.keyboard.press("x")
        assert not page.locator("#picked").is_visible()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_a_finger_that_rests_selects(browser, address, scheme):
    touch = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2, "color_scheme": scheme}
    with opened(browser, address, viewport=PHONE, **touch) as page:
        later = film_of("two")
        later["hits"][0]["start"] = 7.0
        answering(page, film_of("one"), later)
        go(page, TRAIN)
        stage = searched(page).first.locator(".stage")
        finger = page.context.new_cdp_session(page)
        box = stage.bounding_box()
        points = [{"x": box["x"] + box["width"] / 2, "y": box["y"] + 40}]
        finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points})
        page.wait_for_selector("#picked:not([hidden])")
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert page.inner_text("#picked-count") == "1 selected"
        searched(page).nth(1).locator(".pick input").tap()
        assert page.inner_text("#picked-count") == "2 selected"
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], "nothing hangs over"
        shoot(page, f"selected-phone-{scheme}")
        page.click("text=Export as…")
        shoot(page, f"selected-export-phone-{scheme}")
        accessible(page, "#picked, .pick")


def test_what_the_server_refuses_is_said_in_the_bar(browser, address):
    refusal = {"code": "too_much", "message": "101 clips of <b>90</b> minutes in all", "todo": "select less"}
    with opened(browser, address, viewport=DESKTOP, refusals=True) as page:
        answering(page, film_of("one"))
        go(page, TRAIN)
        page.route("**/api/export", lambda route: route.fulfill(status=422, json=refusal))
        select(page, 0)
        page.click("#picked-save")
        page.wait_for_selector("#picked-problem:not(:empty)")
        assert page.inner_text("#picked-problem") == "101 clips of <b>90</b> minutes in all: select less"
        assert page.inner_text("#picked-save") == "Download clip"
        shoot(page, "selected-refused")


def test_names_with_markup_are_text_and_what_is_gone_is_not_selected(browser, address):
    odd, gone = film_of("<img src=x>"), film_of("gone")
    odd["clip"]["source"] = "<b>x</b>.mp4"
    gone["clip"] |= {"id": "gone", "missing": True}
    sent = []
    with opened(browser, address, viewport=DESKTOP, refusals=True) as page:
        go(page)
        answering(page, odd, gone)
        page.route("**/api/export", lambda route: (sent.append(route.request.post_data), route.abort()))
        page.fill("#q", 'a "quoted" <b>')
        page.keyboard.press("Enter")
        assert searched(page).nth(1).locator(".pick, .save").count() == 0
        select(page, 0)
        assert searched(page).first.locator(".pick input").get_attribute("aria-label") == "Select <b>x</b>.mp4 at 0:06"
        page.click("#picked-save")
        page.wait_for_selector("#picked-problem:not(:empty)")
        assert page.inner_text("#picked-problem") == "The server does not answer."
        asked = json.loads(sent[0])
        assert asked["title"] == 'a "quoted" <b>'
        assert asked["hits"] == [
            {"clip": f"{world.TRAIN}#5.000-11.000", "start": 6, "end": 9, "kind": "screen", "text": "<img src=x>"}
        ]


def test_a_film_s_other_moments_are_selected_too(browser, address):
    """The box is for the moment that is shown."""
    film = film_of("the platform is empty")
    (last,) = film["hits"]
    film["hits"] = [last, last | {"clip": f"{world.TRAIN}#0.000-5.000", "kind": "seen", "start": 1.0, "end": 4.0}]
    with opened(browser, address, viewport=DESKTOP) as page:
        answering(page, film)
        go(page, "/?q=platform")
        select(page, 0)
        page.locator(".moment").nth(1).click()
        box = searched(page).first.locator(".pick input")
        assert box.get_attribute("aria-label").endswith(" at 0:01")
        assert not box.is_checked()
        box.check()
        assert page.inner_text("#picked-count") == "2 selected"
        page.locator(".moment").nth(0).click()
        assert searched(page).first.locator(".pick input").is_checked()
