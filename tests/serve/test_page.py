"""The page in a real browser."""

import re

import pytest

from seehear.demo import ASSETS, MEDIA
from seehear.library.tables import LibraryTables
from tests.serve import world
from tests.serve.pages import (
    PHONE,
    accessible,
    answer_of,
    drop,
    film_of,
    go,
    opened,
    running,
    searched,
    shoot,
    until,
)
from tests.small_media import TITLES


def test_words_find_clips_that_say_why(browser, address):
    with opened(browser, address) as page:
        go(page)
        shoot(page, "start")
        page.fill("#q", "a dog barks")
        page.keyboard.press("Enter")
        first = searched(page).first
        assert first.locator(".tag").first.inner_text() == "dog"
        assert first.locator(".mod").inner_text() in ("Seen", "Heard", "Caption")
        assert first.locator(".number").inner_text() in ("strong", "fair", "weak", "nothing close")
        assert not page.locator(".split").first.is_visible(), "details are hidden"
        assert {m.lower() for m in page.locator("#results mark").all_inner_texts()} <= {"dog", "barks"}
        assert "dog" in first.locator("mark").first.inner_text().lower()
        assert page.url.endswith("?q=a+dog+barks")
        assert page.inner_text("#said").endswith(", best first")
        assert sum(map(int, re.findall(r"\d+", page.inner_text("#said")))) == len(searched(page).all()) == 24
        page.wait_for_selector(".stage.sound canvas")
        shoot(page, "words")
        accessible(page)
        shown = [card.get_attribute("data-id") for card in searched(page).all()]
        page.reload()
        assert [card.get_attribute("data-id") for card in searched(page).all()] == shown
        page.fill("#q", "rain")
        page.click(".go")
        page.wait_for_url("**/?q=rain")
        page.go_back()
        until(page, "document.querySelector('#q').value === 'a dog barks'")


def test_views_have_addresses_and_a_way_back(browser, address):
    with opened(browser, address) as page:
        go(page)
        page.fill("#q", "rain")
        page.keyboard.press("Enter")
        searched(page)
        page.evaluate("scrollTo(0, 500)")
        until(page, "scrollY === 500")
        page.click("#to-map")
        page.wait_for_selector("#legend button")
        assert page.url.endswith("/map")
        assert page.title() == "Map · seehear"
        assert page.locator("nav [aria-current]").all_inner_texts() == ["Map"]
        assert page.evaluate("document.activeElement.id") == "view", "who hears the page is told"
        page.keyboard.press("?")
        assert "next and previous clip of a group" in page.inner_text("#help"), "the keys of this view"
        page.keyboard.press("Escape")
        page.go_back()
        searched(page)
        assert page.input_value("#q") == "rain"
        until(page, "scrollY === 500")
        page.click("h1 a")
        page.wait_for_selector("#results", state="detached")
        assert (page.url, page.input_value("#q")) == (f"{address}/", "")
        page.goto("/map")
        page.wait_for_selector("#legend button")


def test_a_dropped_file_finds_itself_alone_and_with_words(browser, address, built):
    with opened(browser, address) as page:
        go(page, "/?run=late")
        sound = built / "media" / "sounds" / "dog-0.opus"
        drop(page, sound)
        assert searched(page).first.get_attribute("data-id") == f"sounds/{sound.name}"
        assert page.locator("#parts li").count() == 1
        shown = [card.get_attribute("data-id") for card in searched(page).all()]
        page.click("#to-map")
        page.wait_for_selector("#legend button")
        page.go_back()
        assert [card.get_attribute("data-id") for card in searched(page).all()] == shown
        page.fill("#q", "a picture of an animal")
        page.click(".go")
        page.wait_for_selector("#parts li[data-text]")
        searched(page)
        assert page.locator("#parts li input[type=range]").count() == 2
        shoot(page, "words-and-sound")
        accessible(page, "#parts")
        page.locator("#parts li:not([data-text]) input").fill("-1")
        page.locator("#parts li:not([data-text]) input").dispatch_event("change")
        until(page, "document.querySelectorAll('#results[aria-busy]').length === 0")
        assert f"sounds/{sound.name}" not in [c.get_attribute("data-id") for c in searched(page).all()]
        page.reload()
        page.wait_for_selector("#results .problem")
        said = page.inner_text("#results .problem")
        assert "dog-0.opus is no longer known to this page" in said, "an address does not hold a file"
        page.click("#parts .remove")
        page.wait_for_selector("#parts li", state="detached")


def test_a_dropped_picture_is_asked_of_all_indexes(browser, address, built):
    with opened(browser, address) as page:
        go(page, "/?kinds=seen")
        picture = next((built / "media" / "pictures").iterdir())
        drop(page, picture)
        first = searched(page).first
        assert first.get_attribute("data-id") == f"pictures/{picture.name}"
        assert first.locator(".mod").inner_text() == "Seen"
        first.locator(".more").click()
        page.wait_for_url("**like=**")
        assert f"pictures/{picture.name}" not in [c.get_attribute("data-id") for c in searched(page).all()]


def test_what_is_not_there_is_said_first(browser, address):
    """And what a moment says of itself, markup too, is text."""
    films = [film_of("<b onclick=alert(1)>x</b>", also=["/media/<i>a/<img src=x>.mp4"])]
    with opened(browser, address) as page:
        go(page)
        page.route("**/api/search", lambda route: route.fulfill(json=answer_of(films, words="nothing close")))
        page.fill("#q", "xylophone quantum banking")
        page.keyboard.press("Enter")
        card = searched(page).first
        assert page.inner_text("#said") == "Nothing close to xylophone quantum banking; the nearest are:"
        assert card.locator(".mod").inner_text() == "On screen"
        assert card.locator(".words").inner_text() == "<b onclick=alert(1)>x</b>"
        assert card.locator(".also").inner_text() == "also in <i>a/<img src=x>.mp4"
        assert card.locator("b, .also *, img[src=x]").count() == 0
        assert "at=6.5" in card.locator(".stage img").get_attribute("src"), "the frame that answers"
        assert card.locator(".time").inner_text() == "0:06–0:09"
        shoot(page, "nothing-close")
        accessible(page, "#said")


def test_a_film_is_one_card_with_a_timeline_that_plays(browser, address):
    film = film_of("the platform is empty", also=[])
    (last,) = film["hits"]
    first = last | {"clip": f"{world.TRAIN}#0.000-5.000", "kind": "seen", "start": 1.0, "end": 2.0, "still": 1.5}
    film["hits"] = [last, first | {"confidence": 0.9, "words": "strong"}]
    with opened(browser, address) as page:
        page.route("**/api/search", lambda route: route.fulfill(json=answer_of([film])))
        go(page, "/?q=platform")
        card = searched(page).first
        assert page.inner_text("#said") == "1 film, best first"
        assert card.locator(".moment .when").all_inner_texts() == ["0:06", "0:01"], "the best first"
        marks = card.locator(".mark")
        names = [mark.get_attribute("aria-label") for mark in marks.all()]
        assert names == ["Seen at 0:01", "On screen at 0:06: the platform is empty"], "in the order of the film"
        left, right = (mark.bounding_box() for mark in marks.all())
        track = card.locator(".track").bounding_box()
        for box, start, end in ((left, 1, 2), (right, 6, 9)):
            assert abs(box["x"] - track["x"] - track["width"] * start / 12) < 2
            assert abs(box["width"] - track["width"] * (end - start) / 12) < 2
        narrow = card.bounding_box()["width"]
        marks.first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('video')?.currentTime > 1.1")
        assert page.evaluate("document.querySelector('video').currentTime") < 2.6
        assert card.bounding_box()["width"] > 1.5 * narrow, "large enough to watch"
        until(page, "document.querySelector('video').paused")
        card.locator(".moment").first.click()
        until(page, "document.querySelector('video')?.currentTime > 6.1")
        assert card.locator("h3 a").get_attribute("href") == "/film?file=talk%2Ftrain.mp4&t=6&q=platform"
        shoot(page, "film-playing")
        accessible(page, ".card.playing")


def test_a_file_that_is_no_media_is_refused_by_name(browser, address, tmp_path):
    with opened(browser, address, refusals=True) as page:
        go(page)
        drop(page, ASSETS / "queries.csv")
        said = page.inner_text("#results .problem")
        assert "queries.csv" in said
        shoot(page, "refused")
        big = tmp_path / "big.wav"
        big.write_bytes(b"RIFF" + bytes(2_100_000))
        page.set_input_files("#file", big)
        page.wait_for_selector("#toast.shown")
        assert "larger than 2 MB" in page.inner_text("#toast")


@pytest.mark.slow
def test_a_server_that_is_busy_says_so_and_what_to_do(browser, address):
    busy = {"code": "busy", "message": "the server is busy with other files", "todo": "try again in a minute"}
    with opened(browser, address, refusals=True) as page:
        go(page)
        page.route("**/api/uploads?*", lambda route: route.fulfill(status=503, json=busy))
        drop(page, MEDIA / "sounds" / "dog.opus")
        said = page.inner_text("#results .problem")
        assert "busy with other files" in said
        assert "ry again in a minute" in said


def test_filters_leave_what_they_say(browser, address):
    with opened(browser, address) as page:
        go(page, "/?q=something")
        searched(page)
        page.click("#filters summary")
        page.select_option("#label", "owl")
        page.wait_for_url("**label=owl**")
        until(page, f"document.querySelectorAll('#results .card').length === {world.SOUNDS}")
        assert set(page.locator("#results .where .tag:not(.split)").all_inner_texts()) == {"owl"}
        shoot(page, "filters")
        accessible(page, "#filters")
        page.fill("#says", "nobody ever says this")
        page.keyboard.press("Tab")
        page.click(".nothing button")
        until(page, "document.querySelectorAll('#results .card').length === 24")
        page.check("#kinds input[value=seen]")
        page.wait_for_url("**kinds=seen**")
        until(page, "[...document.querySelectorAll('#results .mod')].every(e => e.textContent === 'Seen')")


@pytest.mark.slow
def test_a_result_plays_at_the_right_second(browser, address):
    with opened(browser, address) as page:
        go(page, "/?q=the+last+train+leaves+the+station")
        card = searched(page).first
        assert card.locator(".time").inner_text() == "0:07.5–0:09"
        card.locator(".play").click()
        until(page, "document.querySelector('video')?.currentTime > 7.6")
        now = page.evaluate("document.querySelector('video').currentTime")
        assert 7.5 <= now < 9.2
        shoot(page, "playing")
        until(page, "document.querySelector('video').paused")
        ended = page.evaluate("document.querySelector('video').currentTime")
        assert 8.9 <= ended < 9.6, "it stops where the words end"
        assert card.locator(".tag").first.inner_text() == world.NIGHT, "text is text"


def test_a_link_to_a_moment_opens_it_and_a_line_of_its_transcript_plays(browser, address):
    with opened(browser, address) as page:
        go(page, f"/?clip={world.TRAIN}%235.000-11.000&t=8")
        page.wait_for_selector("#moment video")
        until(page, "document.querySelector('#moment video').currentTime >= 8")
        assert page.inner_text("#moment h2") == "From 0:08"
        shoot(page, "moment")
        accessible(page, "#moment")
        card = page.locator("#moment .card")
        assert card.locator(".tag").first.inner_text() == world.NIGHT, "text is text"
        card.locator("summary").click()
        assert "and the platform is empty" in card.locator(".transcript").inner_text()
        page.evaluate("document.querySelector('video').pause()")
        page.evaluate("document.querySelector('video').currentTime = 5.5")
        card.locator(".at").nth(1).click()
        until(page, "document.querySelector('video').currentTime > 9.05")


@pytest.mark.slow
def test_what_the_browser_does_not_play_becomes_a_preview(browser, address):
    with opened(browser, address) as page:
        go(page, "/?q=a+square+moves+from+left+to+right")
        card = searched(page).first
        assert card.get_attribute("data-id") == world.TALK
        card.locator(".play").click()
        until(page, "document.querySelector('video')?.currentTime > 0.3")
        assert page.evaluate("document.querySelector('video').videoWidth") > 0
        assert "preview" in card.locator(".note").inner_text()


def test_keys_alone(browser, address):
    with opened(browser, address) as page:
        go(page, "/?q=rain")
        searched(page)
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        focused = page.evaluate("document.activeElement.dataset.id")
        assert focused == searched(page).first.get_attribute("data-id")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('audio')?.currentTime > 0.1")
        page.keyboard.press("Escape")
        until(page, "document.querySelector('audio').paused")
        page.keyboard.press("m")
        page.wait_for_url("**like=**")
        assert focused not in [card.get_attribute("data-id") for card in searched(page).all()]
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "q"
        for _ in ("the suggestions, if they have come", "the box"):
            page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        accessible(page, "#help")


def test_two_runs_beside_each_other(browser, address):
    with opened(browser, address) as page:
        go(page, "/?q=a+baby+cries")
        searched(page)
        assert not page.locator("#run").is_visible(), "indexes are a detail"
        page.click("#details summary")
        choices = page.locator("#run option").all_inner_texts()
        assert choices[0] == "all together"
        assert all(choice.startswith("Learned from your recordings, ") for choice in choices[-2:])
        assert [choice.split()[-1] for choice in choices[-2:]] == ["(late)", "(early)"], "of one day"
        assert page.locator(".split").first.is_visible()
        page.select_option("#run", "late")
        page.wait_for_url("**run=late")
        page.select_option("#with", "early")
        page.wait_for_selector(".column[data-run=early] .card")
        assert page.locator(".column h2").all_inner_texts() == choices[-2:]
        notes = page.locator(".column[data-run=late] .other").all_inner_texts()
        assert len(notes) == 24
        assert all(note.startswith(f"{choices[-1]}: ") for note in notes)
        assert "in both" in page.inner_text("#said")
        shoot(page, "two-runs")
        accessible(page, "header, #said, .column h2, .column .other")
        left, right = (page.locator(f".column[data-run={n}]").bounding_box() for n in ("late", "early"))
        assert left["x"] + left["width"] < right["x"] + 4
        assert abs(left["y"] - right["y"]) < 4


def test_the_map_selects_and_shows(browser, address):
    with opened(browser, address) as page:
        go(page)
        page.click("#to-map")
        page.wait_for_selector("#legend button")
        shoot(page, "map")
        accessible(page)
        box = page.locator("#sky").bounding_box()
        page.mouse.move(box["x"] + 16, box["y"] + 16)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 16, box["y"] + box["height"] - 16, steps=4)
        page.mouse.up()
        total = len(TITLES) * world.SOUNDS + world.PICTURES + world.CLIPS + 3
        assert page.inner_text("#region-title").startswith(f"{total} clips")
        page.wait_for_selector("#region .card")
        page.select_option("#colour", "source")
        page.locator("#legend button", has_text="sounds").click()
        until(page, "[...document.querySelectorAll('#region .card')].length > 0")
        until(page, "[...document.querySelectorAll('#region .card')].every(c => c.dataset.id.startsWith('sounds/'))")
        shoot(page, "map-group")
        points = page.evaluate("fetch('/api/map').then(r => r.json()).then(m => [m.x[0], m.y[0], m.ids[0]])")
        margin = 24
        x = box["x"] + margin + points[0] * (box["width"] - 2 * margin)
        y = box["y"] + margin + (1 - points[1]) * (box["height"] - 2 * margin)
        page.mouse.move(x, y)
        page.wait_for_selector("#tip:not([hidden])")
        page.select_option("#colour", "cluster")
        shoot(page, "map-pointing")


@pytest.mark.slow
def test_the_map_of_another_method_and_after_a_reload(browser, address):
    with opened(browser, address) as page:
        go(page, "/?view=map")
        page.wait_for_selector("#legend button")
        assert not page.locator("#method").is_visible(), "how it is computed is a detail"
        page.click("#details summary")
        page.select_option("#method", "tsne")
        until(page, "document.querySelector('#map-said').textContent.includes('drag')")
        page.reload()
        page.wait_for_selector("#legend button")
        assert page.url.endswith("/map"), "an old address leads to the new one"


@pytest.mark.parametrize(
    ("path", "there", "name"),
    [
        ("/?q=a+bird", "#results:not([aria-busy]) .card", "phone"),
        pytest.param("/?q=a+bird&with=early", "#results:not([aria-busy]) .card", "two-runs", marks=pytest.mark.slow),
        pytest.param("/map", "#legend button", "map", marks=pytest.mark.slow),
    ],
)
def test_on_a_phone(path, there, name, browser, address):
    with opened(browser, address, viewport=PHONE, device_scale_factor=2, has_touch=True, color_scheme="dark") as page:
        go(page, path)
        page.wait_for_selector(there)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], "nothing hangs over"
        if name == "phone":
            assert page.locator(".cards.sounds .path").first.is_visible(), "only small photos go without their folder"
        shoot(page, f"on-a-{name}")
        accessible(page)


def test_a_file_that_has_moved(browser, address, built):
    library = LibraryTables.open(built / "lib")
    clip = next(c for c in library.clips() if c.source.startswith("pictures/"))
    path = library.path_of(clip.source)
    path.rename(built / "moved.jpg")
    try:
        with opened(browser, address, refusals=True) as page:
            go(page, f"/?q={clip.texts[0].text.replace(' ', '+')}")
            page.wait_for_selector("#results .card .problem")
            said = page.inner_text("#results .card .problem")
            assert "no longer at" in said
            assert "seehear prepare" in said
            shoot(page, "moved")
            stage, box = (page.locator(f"#results .card {part}").first for part in (".stage", ".problem"))
            hidden = box.evaluate("e => e.scrollHeight") - stage.bounding_box()["height"]
            assert hidden < 4, "all of it can be read"  # a line is 15 pixels and more; fractions are rounding
    finally:
        (built / "moved.jpg").rename(path)


def test_a_library_that_cannot_be_searched_says_what_to_do_and_the_page_goes_on_by_itself(
    browser, tmp_path, monkeypatch
):
    from tests.search import toy

    monkeypatch.setattr("seehear.serve.runs.FRESH", -1.0)
    LibraryTables.create(tmp_path / "lib")
    with running(tmp_path / "lib", tmp_path / "cache") as address, opened(browser, address) as page:
        page.clock.install()
        go(page)
        assert "seehear prepare" in page.inner_text("#problem code >> nth=0")
        assert not page.locator("#ask").is_visible()
        shoot(page, "problem-empty")
        accessible(page)
        toy.library(tmp_path)
        page.clock.fast_forward(3100)
        page.locator("#problem code", has_text="seehear encode").wait_for()  # it survives that the page loads again
        assert not page.locator("#ask").is_visible()
        shoot(page, "problem-lib")


def test_a_line_says_how_far_the_folder_is_indexed(browser, tmp_path):
    from seehear.folders.standing import Standing
    from seehear.serve.app import serving
    from seehear.serve.config import ServeConfig

    LibraryTables.create(tmp_path / "lib")
    standing = Standing(step="finding scenes", left=90.0, found=7)
    config = ServeConfig(port=0, cache=tmp_path / "cache", device="cpu")
    with (
        serving(str(tmp_path / "lib"), config, lambda: standing) as address,
        opened(browser, address.rstrip("/")) as page,
    ):
        page.clock.install()
        go(page)
        page.locator("#progress", has_text="finding scenes, 1:30 left; 7 clips can be searched").wait_for()
        assert "Nothing can be searched yet" in page.inner_text("#problem")
        accessible(page, "#progress, #problem")
        standing = Standing(state="ready", found=8)
        page.clock.fast_forward(15_000)
        page.wait_for_selector("#progress", state="hidden")


def test_an_index_that_is_behind_says_so(browser, address):
    with opened(browser, address) as page:

        def behind(route):
            status = route.fetch().json()
            for run in status["runs"]:
                run["behind"] = "208 of 301 clips are not indexed yet: run `seehear encode lib; seehear index lib`"
            route.fulfill(json=status)

        page.route("**/api/status", behind)
        go(page)
        said = "208 of 301 clips are not indexed yet. To index them: seehear encode lib; seehear index lib"
        assert page.inner_text("#behind").strip() == said, "once, however many indexes lack them"
        shoot(page, "behind")
        accessible(page, "#behind")


def test_a_server_that_has_gone_is_said(browser, address):
    with opened(browser, address, refusals=True) as page:
        go(page)
        page.route("**/api/**", lambda route: route.abort())
        page.fill("#q", "rain")
        page.keyboard.press("Enter")
        page.wait_for_selector("#results .problem")
        assert "does not answer" in page.inner_text("#results .problem")
