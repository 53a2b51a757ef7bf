"""The view that learns from the recordings, and the map's answers to what goes wrong, in a real browser."""

import json

import pytest

from tests.serve.pages import PHONE, accessible, go, opened, running, shoot, until
from tests.serve.test_learning import BEFORE, model, trial_in, verdict

DESKTOP = {"width": 1440, "height": 900}
SCREENS = pytest.mark.parametrize(
    ("name", "viewport", "scheme"),
    [
        ("desktop", DESKTOP, "light"),
        pytest.param("phone", PHONE, "dark", marks=pytest.mark.slow),
        pytest.param("desktop", DESKTOP, "dark", marks=pytest.mark.slow),
        pytest.param("phone", PHONE, "light", marks=pytest.mark.slow),
    ],
)
NASTY = '<img src=x onerror="alert(1)">'
COST = {"seconds": 240.0, "memory_bytes": 9e8, "disk_bytes": 4e7, "fits": True}
COST["line"] = "about 4 minutes at most, 900 MB of memory and 40 MB on disk"
READY = {"state": "ready", "why": "157 clips with picture and sound", "needed": "", "cost": COST}
READY |= {"unknown": "", "working": None, "problem": "", "verdict": None}
WORKING = {"step": "learning", "done": 1000, "total": 4000, "seconds_left": 90.0}
WORKING["line"] = "learning, 1,000 of 4,000 steps, at most 1:30 left"
EXAMPLE = {"what": "Pictures found by words", "clip": "nowhere", "asked": "text", "text": NASTY, "source": "a/b.mp4"}
EXAMPLE |= {"start": 2.0, "picture": False, "before": 14, "after": 2, "of": 84}
VERDICT = {
    "made": "2026-11-30T12:00:00+00:00",
    "index": "learned-2026-11-30-120000",
    "better": True,
    "headline": "It helped: the right clip is among the first ten for 88 of 100 searches, before for 61.",
    "lines": ["Measured on 84 clips that were set aside and not learned from."],
    "first": False,
    "chance": 0.12,
    "directions": [
        {"what": "Pictures found by words", "asked": 84, "before": 0.61, "after": 0.88},
        {"what": "Sounds found by words", "asked": 84, "before": None, "after": 0.4},
    ],
    "earlier": [EXAMPLE],
    "later": [EXAMPLE | {"before": 1, "after": 3, "text": "a dog barks"}],
}


def answering(page, answer):
    page.route("**/api/learn", lambda route: route.fulfill(json=answer))


@SCREENS
def test_what_was_learned_is_told_with_examples_of_both_directions(browser, address, name, viewport, scheme):
    with opened(browser, address, viewport=viewport, color_scheme=scheme) as page:
        answering(page, READY | {"verdict": VERDICT})
        go(page, "/learn")
        page.get_by_text("It helped: the right clip").wait_for()
        assert "about 4 minutes at most" in page.inner_text("#cost")
        assert page.locator("tbody td").all_inner_texts() == ["61 of 100", "88 of 100", "not possible", "40 of 100"]
        places = page.locator(".places").all_inner_texts()
        assert [" ".join(place.split()) for place in places] == ["14th, now 2nd of 84", "1st, now 3rd of 84"]
        assert page.locator(".examples .name").first.inner_text() == f"“{NASTY}”", "text is text"
        assert page.locator(".examples a").first.get_attribute("href") == "/film?file=a%2Fb.mp4&t=2"
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert not page.locator(".dev").first.is_visible(), "names of indexes are a detail"
        accessible(page)
        shoot(page, f"learned-{name}-{scheme}")


def test_too_little_is_said_without_a_button(browser, address):
    """By the server itself: its library is small."""
    with opened(browser, address, viewport=DESKTOP) as page:
        go(page, "/")
        page.click("nav [data-view=learn]")
        page.get_by_text("too few to learn from").wait_for()
        assert "about 130 clips" in page.inner_text(".learn")
        assert page.locator(".learn button").count() == 0
        accessible(page)
        shoot(page, "learn-few")


def test_the_button_starts_and_stops_it(browser, address):
    asked, now = [], dict(READY)
    with opened(browser, address, viewport=DESKTOP) as page:

        def answer(route):
            method = route.request.method
            asked.append(method)
            if method == "POST":
                now.update(state="working", working=WORKING)
            elif method == "DELETE":
                now.update(state="stopped", working=None)
            route.fulfill(json=now)

        page.route("**/api/learn", answer)
        go(page, "/learn")
        page.click("text=Learn from these recordings >> visible=true >> nth=-1")
        page.get_by_text("Learning, 1,000 of 4,000 steps, at most 1:30 left.").wait_for()
        assert page.locator("#learned").evaluate("bar => bar.value / bar.max") == 0.25
        accessible(page)
        shoot(page, "learning")
        page.click("text=Stop")
        page.get_by_role("button", name="Resume learning").wait_for()
        assert [method for method in asked if method != "GET"] == ["POST", "DELETE"]
        shoot(page, "learning-stopped")


def test_a_problem_is_one_line_and_nothing_got_better_is_no_alarm(browser, address):
    worse = VERDICT | {
        "better": False,
        "index": "",
        "headline": "Nothing got better: your library is searched as before.",
    }
    with opened(browser, address, viewport=DESKTOP) as page:
        answering(page, READY | {"problem": "the disk is full: make room", "verdict": worse})
        go(page, "/learn")
        page.get_by_text("Nothing got better").wait_for()
        assert page.inner_text(".learn .problem") == "The disk is full: make room."
        assert page.get_by_role("button", name="Learn again").is_enabled()
        accessible(page)
        shoot(page, "learn-nothing")


@pytest.mark.slow
def test_it_learns_and_the_chooser_knows_the_model(browser, tmp_path, monkeypatch):
    """With the small program in place of `seehear`, which writes a model that is no better."""
    trial_in(tmp_path, monkeypatch)
    found = verdict(BEFORE, models={"training": model(0.5, 0.1), BEFORE: model(0.6, 0.1)})
    plain = {"method": "frozen", "config": {}, "encoders": {}, "verdict": found}
    (tmp_path / "model.json").write_text(json.dumps(plain))
    with running(tmp_path / "lib", tmp_path / "cache") as own, opened(browser, own, viewport=DESKTOP) as page:
        about = page.request.get(f"{own}/api/status").json() | {"problem": None}
        page.route("**/api/status", lambda route: route.fulfill(json=about))
        go(page, "/learn")
        page.locator("#cost", has_text="about 4 minutes").wait_for()
        page.get_by_role("button", name="Learn from these recordings").click()
        page.get_by_text("Nothing got better").wait_for()


# -- the map -----------------------------------------------------------------------------------------------------------


def drawn(page, **more):
    own = page.evaluate("fetch('/api/map').then(r => r.json())") | more
    page.route("**/api/map?*", lambda route: route.fulfill(json=own))
    return own


@SCREENS
def test_names_on_the_map_do_not_overlap(browser, address, name, viewport, scheme):
    options = {"has_touch": True, "is_mobile": True} if name == "phone" else {}
    with opened(browser, address, viewport=viewport, color_scheme=scheme, **options) as page:
        go(page, "/map")
        page.wait_for_selector("#legend button")
        page.select_option("#colour", "cluster")
        names = page.locator("#legend span").all_inner_texts()
        assert names
        assert not {"the", "old", "and", "a"} & {word for text in names for word in text.replace(",", " ").split()}
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        accessible(page)
        shoot(page, f"map-{name}-{scheme}")


def test_a_map_that_cannot_be_drawn_says_why(browser, address):
    refused = {"code": "map", "message": "the map could not be drawn: out of time", "todo": "ask for pca"}
    with opened(browser, address, viewport=DESKTOP, refusals=True) as page:
        page.route("**/api/map?*", lambda route: route.fulfill(status=503, json=refused))
        go(page, "/map")
        page.locator("#map-said .problem").wait_for()
        assert "out of time" in page.inner_text("#map-said")
        page.unroute("**/api/map?*")
        empty = {"ids": [], "x": [], "y": [], "note": "No clip is indexed yet, so there is nothing to draw"}
        drawn(
            page, **empty, colours={n: {"names": [], "of": []} for n in ("label", "cluster", "source", "kind", "split")}
        )
        page.click("nav [data-view=home]")
        page.click("nav [data-view=map]")
        page.locator("#map-said", has_text="No clip is indexed yet").wait_for()


def test_fingers_move_and_enlarge_the_map(browser, address):
    with opened(browser, address, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        go(page, "/map")
        page.wait_for_selector("#legend button")
        box = page.locator("#sky").bounding_box()
        hand = page.context.new_cdp_session(page)
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

        def fingers(kind, *places):
            points = [{"x": px, "y": py, "id": n} for n, (px, py) in enumerate(places)]
            hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        fingers("touchStart", (x - 20, y), (x + 20, y))
        for far in (40, 80, 120):
            fingers("touchMove", (x - far, y), (x + far, y))
        fingers("touchEnd")
        assert page.locator("#sky.near").count() == 1, "it is nearer"
        accessible(page)
        shoot(page, "map-phone-near")
        page.click("#zoom-all")
        assert page.locator("#sky.near").count() == 0
        page.locator("#legend button").first.tap()
        page.locator("#region .card").first.wait_for()
        until(page, "!document.querySelector('#region-title').textContent.startsWith('Groups')")
