"""Home and the suggestions below the search box, in a real browser. What the list holds is made up: the library of the
other tests has its files of one day."""

import json

import pytest
from playwright.sync_api import expect

from tests.serve.pages import PHONE, accessible, go, opened, shoot, until

WIDE = {"width": 1440, "height": 900}


def film(n, **more):
    entry = {"name": f"trips/film {n}.mp4", "kind": "video", "seconds": 61.0 + n, "folder": "trips", "date": 1.7e9}
    entry |= {"clip": f"clip {n}", "start": 4.0, "end": 14.0, "clips": 6, "found": 6, "waiting": [], "played": True}
    return entry | {"problem": "", "also": []} | more


def shelf(films, groups=(), **more):
    groups = groups or [("2023-11", "date", len(films))]
    known = {"version": "1", "root": "Holidays", "total": len(films), "kinds": {}, "waiting": {}}
    for one in films:
        known["kinds"][one["kind"]] = known["kinds"].get(one["kind"], 0) + 1
    named = [dict(zip(("key", "by", "count"), group, strict=True)) for group in groups]
    return known | {"groups": named, "films": films} | more


def serve(page, films, groups=(), *, progress=None, by_folder=(), **more):
    """The server answers with this list; posters are one grey dot."""
    from urllib.parse import parse_qs, urlsplit

    asked = []

    def answer(route):
        query = {name: values[0] for name, values in parse_qs(urlsplit(route.request.url).query).items()}
        first, limit = int(query["offset"]), int(query["limit"])
        asked.append((query["by"], first, limit))
        whole = shelf(films, by_folder if query["by"] == "folder" else groups, **more)
        route.fulfill(json=whole | {"films": films[first : first + limit]})

    grey = bytes.fromhex("47494638396101000100800000808080000000 2c00000000010001000002024401003b")
    page.route("**/api/films?*", answer)
    page.route("**/api/poster?*", lambda route: route.fulfill(body=grey, content_type="image/gif"))
    page.route("**/api/peaks?*", lambda route: route.fulfill(json={"start": 0, "end": 1, "peaks": [0.5] * 240}))
    # As text: `json=None` would be an empty answer, and the page says that the server gave none.
    told = json.dumps(progress)
    page.route("**/api/progress", lambda route: route.fulfill(body=told, content_type="application/json"))
    return asked


def tile(page, n):
    return page.locator(f"#films .tile[data-place='{n}'] .face")


def test_the_library_is_shown_by_file(browser, address):
    with opened(browser, address, viewport=WIDE) as page:
        go(page)
        page.wait_for_selector("#films .tile img")
        assert page.inner_text("h1.count") == "10 films, 45 photos and 60 sounds"
        assert page.inner_text(".state") == "All files are searchable."
        page.get_by_label("By folder").check()
        expect(page.locator("#films h2").first).to_have_text("clips 8")
        assert tile(page, 0).get_attribute("href") == "/film?file=clips%2Ffilm-00.mp4"
        shoot(page, "home")
        accessible(page)


def test_groups_names_lengths_and_what_waits(browser, address):
    films = [
        film(0, name="<b>zoo</b>/<img src=x onerror=alert(1)>.mp4", waiting=["index", "speech"], found=0),
        film(1, waiting=["index"], found=3),
        film(2, waiting=["speech"]),
        film(3, kind="picture", name="beach.jpg", seconds=0.0, date=None),
        film(5, kind="sound", name="bird.wav", date=None),
        film(
            4, kind="aside", name="broken.mkv", clip="", seconds=0.0, problem="is damaged <i>here</i>", clips=0, found=0
        ),
    ]
    groups = [("2025-05", "date", 3), ("", "date", 2), ("", "aside", 1)]
    working = {"state": "working", "step": "reading speech", "done": 30.0, "total": 120.0, "seconds_left": 90.0}
    working |= {"searchable": 5, "line": "reading speech, 1:30 left; 5 clips can be searched"}
    with opened(browser, address, viewport=WIDE) as page:
        serve(page, films, groups, progress=working, waiting={"index": 2, "speech": 2})
        go(page)
        assert page.locator("#films h2").all_inner_texts() == [
            "May 2025 3",
            "Without a date 2",
            "Files that could not be used 1",
        ]
        assert page.inner_text(".state") == "2 files are not fully searchable yet; 1 file could not be used."
        expect(page.locator("#progress")).to_have_text(working["line"])
        assert page.locator(".homehead progress").evaluate("bar => bar.value") == 0.25
        assert page.locator(".waits").all_inner_texts() == [
            "Not searchable yet",
            "50 % searchable",
            "Speech not transcribed yet",
        ]
        assert page.locator(".picture .waits").count() == 2, "what can be searched keeps its picture free"
        assert tile(page, 0).locator(".name").inner_text() == "<img src=x onerror=alert(1)>.mp4"
        assert page.locator("#films b, #films i, #films img[src=x]").count() == 0
        assert tile(page, 1).locator(".length").inner_text() == "1:02"
        assert tile(page, 3).locator(".length").count() == 0, "a photo has none"
        expect(tile(page, 4).locator("svg")).to_be_attached()
        assert "is damaged <i>here</i>" in tile(page, 5).text_content()
        assert tile(page, 5).get_attribute("href") is None
        shoot(page, "home-waiting")
        accessible(page)


def test_ten_thousand_are_few_in_the_document(browser, address):
    films = [film(n) for n in range(10_000)]
    groups = [(f"{2025 - n // 12}-{12 - n % 12:02d}", "date", 100) for n in range(100)]
    with opened(browser, address, viewport=WIDE) as page:
        asked = serve(page, films, groups)
        go(page)
        height = page.evaluate("document.documentElement.scrollHeight")
        assert height > 100 * 17 * 150
        for share in (0.0, 0.31, 0.32, 0.9, 1.0):
            page.evaluate("y => scrollTo(0, y)", share * height)
            page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            until(page, "[...document.querySelectorAll('#films .tile')].every(tile => tile.firstChild)")
            assert 10 < page.locator("#films .tile").count() < 150
        assert page.locator("#films .name").last.inner_text() == "film 9999.mp4"
        assert max(limit for _, _, limit in asked) <= 200
        places = page.evaluate("[...document.querySelectorAll('#films .tile')].map(tile => Number(tile.dataset.place))")
        assert places == sorted(places), "as they are read out"


def test_arrows_move_and_enter_opens(browser, address):
    films = [film(n) for n in range(40)]
    with opened(browser, address, viewport=WIDE, refusals=True) as page:  # the film is made up
        serve(page, films, [("2025-05", "date", 8), ("2025-04", "date", 32)])
        go(page)
        page.evaluate("document.querySelector('#films .tile .face').focus()")
        place = "Number(document.activeElement.closest('.tile').dataset.place)"
        moves = [("ArrowRight", 1), ("ArrowDown", 7), ("ArrowDown", 9), ("ArrowDown", 15), ("ArrowUp", 9)]
        moves += [("ArrowUp", 7), ("ArrowLeft", 6), ("End", 39), ("ArrowDown", 39), ("Home", 0), ("ArrowLeft", 0)]
        for key, wanted in [*moves, ("ArrowRight", 1)]:
            page.keyboard.press(key)
            assert page.evaluate(place) == wanted, key
        assert page.locator("#films .face[tabindex='0']").count() == 1
        page.keyboard.press("Enter")
        page.wait_for_url("**/film?file=trips%2Ffilm+1.mp4")


@pytest.mark.slow
def test_going_back_finds_the_place_again(browser, address):
    films = [film(n) for n in range(1000)]
    with opened(browser, address, viewport=WIDE, refusals=True) as page:  # the film is made up
        serve(page, films)
        go(page)
        page.locator("#ideas button").first.wait_for()  # the row above the films moves them
        page.evaluate("scrollTo(0, 20000)")
        here = "document.elementFromPoint(700, 500)?.closest('.tile')?.dataset.place"
        until(page, f"Number({here}) > 600")
        place = page.evaluate(here)
        tile(page, place).click()
        page.wait_for_url("**/film?**")
        page.wait_for_selector("#films", state="detached")
        page.go_back()
        until(page, f"{here} === '{place}' && scrollY === 20000")


@pytest.mark.parametrize("name", ["train.mp4", pytest.param("morning.avi", marks=pytest.mark.slow)])
def test_a_film_plays_silently_under_the_pointer(browser, address, name):
    with opened(browser, address, viewport=WIDE) as page:
        go(page)
        page.get_by_label("By folder").check()
        page.locator("#films h2", has_text="clips").wait_for()
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        page.locator("#films .face", has_text=name).hover()
        until(page, "document.querySelector('#films video')?.currentTime > 0.1")
        assert page.evaluate("document.querySelector('#films video').muted")
        page.mouse.move(5, 5)
        until(page, "!document.querySelector('#films video')")


@pytest.mark.slow
def test_nothing_plays_where_motion_is_unwanted(browser, address):
    with opened(browser, address, viewport=WIDE, reduced_motion="reduce") as page:
        serve(page, [film(0)])
        go(page)
        tile(page, 0).hover()
        page.wait_for_timeout(500)
        assert page.locator("#films video").count() == 0


def test_a_list_that_changed_is_shown_again_and_keeps_its_place(browser, address):
    films = [film(n) for n in range(3)]
    working = {"state": "working", "step": "looking and listening", "done": 1.0, "total": None, "seconds_left": None}
    working |= {"searchable": 0, "line": "looking and listening"}
    with opened(browser, address, viewport=WIDE) as page:
        page.clock.install()
        serve(page, films, progress=working)
        go(page)
        tile(page, 1).focus()
        films.append(film(3))
        page.unroute("**/api/films?*")
        serve(page, films, progress=working, version="2")
        page.clock.fast_forward(2600)
        tile(page, 3).wait_for()
        assert page.inner_text("h1.count") == "4 films"
        assert page.evaluate("document.activeElement.closest('.tile').dataset.place") == "1"


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        pytest.param(None, "Give the library a folder of media", marks=pytest.mark.slow),
        ({"state": "working", "step": "looking", "line": "looking"}, "appear here as they are found"),
        pytest.param(
            {"state": "waiting", "step": "", "line": "/x has no video yet: waiting for files"},
            "waiting for files",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_without_files_home_says_what_happens(browser, address, progress, said):
    rest = {"done": 0.0, "total": None, "seconds_left": None, "searchable": 0}
    with opened(browser, address) as page:
        serve(page, [], [], progress=progress and progress | rest)
        page.route("**/api/status", lambda route: route.fulfill(json=route.fetch().json() | {"clips": 0}))
        go(page)
        assert said in page.inner_text(".state")
        accessible(page)


def test_on_a_phone_home_has_two_columns(browser, address):
    with opened(browser, address, viewport=PHONE, device_scale_factor=2, has_touch=True, color_scheme="dark") as page:
        go(page)
        page.wait_for_selector("#films .tile img")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        tops = page.locator("#films .tile").evaluate_all(
            "tiles => tiles.slice(0, 3).map(t => t.getBoundingClientRect().top)"
        )
        assert tops[0] == tops[1] < tops[2]
        shoot(page, "home-on-a-phone")
        accessible(page)


def test_suggestions_follow_what_is_typed(browser, address):
    words = [
        {"text": "dog <b>", "found": {"seen": 4, "spoken": 1}},
        {"text": "dogs barking", "found": {"label": 2}},
    ]
    typed = []

    def answer(route):
        from urllib.parse import parse_qs, urlsplit

        typed.append(parse_qs(urlsplit(route.request.url).query, keep_blank_values=True)["q"][0])
        route.fulfill(json={"suggestions": words if typed[-1] in ("", "do") else []})

    with opened(browser, address) as page:
        page.route("**/api/suggest?*", answer)
        go(page)
        box = page.locator("#q")
        page.keyboard.press("/")
        expect(page.locator("#suggestions li")).to_have_count(2)
        expect(box).to_have_attribute("aria-expanded", "true")
        assert page.locator("#suggestions li").first.inner_text().split("\n") == ["dog <b>", "Seen 4", "Spoken 1"]
        shoot(page, "suggestions")
        accessible(page, "#ask")
        page.keyboard.press("Escape")
        expect(page.locator(".suggest")).to_be_hidden()
        assert page.evaluate("document.activeElement.id") == "q", "a first Escape closes the list alone"
        page.keyboard.type("do")
        expect(page.locator("#suggestions li b").first).to_have_text("g <b>")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        expect(box).to_have_attribute("aria-activedescendant", "suggestion-1")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?q=dogs+barking")
        expect(page.locator(".suggest")).to_be_hidden()
        page.fill("#q", "dox")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?q=dox")
        page.fill("#q", "")
        page.locator("#suggestions li").first.click()
        page.wait_for_url("**/?q=dog+%3Cb%3E")
