"""The view of one film, sound or photo, in a real browser."""

from urllib.parse import urlencode

import pytest

from tests.serve import world
from tests.serve.test_page import PHONE, accessible, go, opened, running, shoot, until

NOW = "document.querySelector('.player video, .player audio').currentTime"
PAUSED = "document.querySelector('.player video, .player audio').paused"
LINE = "[...document.querySelectorAll('.lines [aria-current]')].at(-1)?.textContent"


@pytest.fixture(scope="module")
def address(built, browser, tmp_path_factory):
    with running(built / "lib", tmp_path_factory.mktemp("film-cache")) as address:
        yield address


def film(file, **more):
    return f"/film?{urlencode({'file': file} | more)}"


def press(page, key, expression):
    page.keyboard.press(key)
    until(page, expression)


def slowly(page):
    """From here on a second of the film lasts 16: however busy the machine is, it is still where it was sent to."""
    page.evaluate("document.querySelector('.player video').playbackRate = 1 / 16")


def still(page):
    page.evaluate("document.querySelector('.player video').pause()")


def test_a_link_to_a_moment_plays_there_and_everything_follows(browser, address):
    with opened(browser, address) as page:
        go(page, film(world.TRAIN, t="8"))
        until(page, f"{NOW} >= 8")
        slowly(page)
        assert page.inner_text("h2") == "train.mp4"
        assert page.inner_text(".film-head .tag") == world.NIGHT, "text is text"
        still(page)
        until(page, "document.querySelector('.play-pause').ariaLabel === 'Play'")
        page.evaluate("document.querySelector('.player video').currentTime = 8.1")
        until(page, f"{LINE}?.includes('the last train leaves')")
        assert page.locator(".chapters [aria-current] button").get_attribute("aria-label") == "Scene 2, 0:05"
        assert page.inner_text(".film-acts button:has-text('Copy link')") == "Copy link at 0:08"
        page.wait_for_selector(".lane.heard svg")
        shoot(page, "film")
        accessible(page)
        page.evaluate("document.querySelector('.player video').currentTime = 9.5")
        until(page, f"{LINE}?.includes('the platform is empty')")
        page.locator(".lines button", has_text="lamps").click()
        until(page, f"{NOW} >= 1 && {NOW} < 3 && !{PAUSED}")
        page.locator(".chapters button").nth(1).click()
        until(page, f"{NOW} >= 5 && {NOW} < 7.4")
        still(page)
        box = page.locator(".lane.spoken").bounding_box()
        page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2)  # 7.2 s: in no line
        until(page, f"Math.abs({NOW} - 7.2) < 0.4 || {NOW} > 7.2")
        page.click(".lane.spoken .block >> nth=0")
        until(page, f"{NOW} >= 1 && {NOW} < 3")
        still(page)
        wide = page.evaluate("document.querySelector('.axis').scrollWidth")
        press(page, "+", f"document.querySelector('.axis').scrollWidth > {wide}")
        press(page, "-", f"document.querySelector('.axis').scrollWidth === {wide}")


def test_the_transcript_stops_following_who_scrolls_and_is_searched(browser, address):
    with opened(browser, address, refusals=True) as page:
        page.route("**/api/film?*", lambda route: route.fulfill(json=made_up(lines=110)))
        go(page, film("talk/long.mp4"))
        until(page, "document.querySelector('.player video').readyState > 1")
        page.evaluate("document.querySelector('.player video').currentTime = 5.05")
        until(page, f"{LINE}?.includes('line 50 ')")
        until(page, "document.querySelector('.lines').scrollTop > 500")
        page.hover(".lines")
        page.mouse.wheel(0, -5000)
        page.wait_for_selector(".follow:not([hidden])")
        until(page, "document.querySelector('.lines').scrollTop === 0")
        page.keyboard.press("ArrowRight")
        until(page, f"{LINE}?.includes('line 100 ')")
        assert page.evaluate("document.querySelector('.lines').scrollTop") == 0
        page.click(".follow")
        until(page, "document.querySelector('.lines').scrollTop > 500")
        page.fill(".find input", "9(")
        assert page.inner_text(".find .count") == "1 of 11", "of 9, 19 and so on to 109: those before a bracket"
        assert page.text_content("mark.here") == "9("
        page.keyboard.press("Enter")
        assert page.inner_text(".find .count") == "2 of 11"
        page.keyboard.press("Shift+Enter")
        page.keyboard.press("Shift+Enter")
        assert page.inner_text(".find .count") == "11 of 11"
        page.fill(".find input", "no such words")
        assert page.inner_text(".find .count") == "none"
        assert page.locator(".lines mark").count() == 0
        page.click(".chips .screen")
        assert not page.locator(".lines .screen").first.is_visible()


def test_keys_as_in_players_people_know(browser, address):
    with opened(browser, address) as page:
        go(page)
        page.evaluate("history.pushState(null, '', '/?q=train')")
        go(page, film(world.TRAIN))
        until(page, "document.querySelector('.player video').readyState > 1")
        slowly(page)
        press(page, "l", f"Math.abs({NOW} - 10) < 0.6")
        press(page, "j", f"{NOW} < 1")
        press(page, "ArrowRight", f"Math.abs({NOW} - 5) < 0.6")
        press(page, "ArrowLeft", f"{NOW} < 1")
        press(page, "c", f"{NOW} === 5")
        press(page, "Shift+C", f"{NOW} === 0")
        press(page, "5", f"Math.abs({NOW} - 6) < 0.2")
        at = page.evaluate(NOW)
        press(page, ".", f"{NOW} > {at} && {NOW} < {at} + 0.2")
        press(page, ",", f"Math.abs({NOW} - {at}) < 0.01")
        press(page, "m", "document.querySelector('.player video').muted")
        press(page, "ArrowDown", "document.querySelector('.player video').volume === 0.95")
        assert page.get_by_role("button", name="Mute").count() == 1
        press(page, "k", f"!{PAUSED}")
        press(page, " ", PAUSED)
        press(page, "?", "document.querySelector('#help').open")
        assert "next and previous scene" in page.inner_text("#help")
        page.keyboard.press("Escape")
        page.click(".find input")
        page.keyboard.press("k")
        assert page.input_value(".find input") == "k", "keys typed into a field are words"
        press(page, "Escape", "document.activeElement === document.body")
        page.keyboard.press("Escape")
        page.wait_for_url("**/?q=train")


def test_a_photo_zooms(browser, address):
    scale = "new DOMMatrix(getComputedStyle(document.querySelector('.photo img')).transform).a"
    left = "new DOMMatrix(getComputedStyle(document.querySelector('.photo img')).transform).e"
    with opened(browser, address) as page:
        go(page, film("pictures/moose.jpg"))
        until(page, "document.querySelector('.photo img').naturalWidth === 160")
        press(page, "+", f"Math.abs({scale} - 1.5) < 0.01")
        press(page, "-", f"{scale} === 1")
        page.dblclick(".photo")
        until(page, f"{scale} === 2.5")
        shoot(page, "photo")
        accessible(page)
        box = page.locator(".photo").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        before = page.evaluate(left)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 90, y)
        page.mouse.up()
        until(page, f"Math.abs({left} - {before} - 90) < 2")
        press(page, "ArrowRight", f"Math.abs({left} - {before} - 30) < 2")
        press(page, "0", f"{scale} === 1 && {left} === 0")
        page.mouse.wheel(0, -200)
        until(page, f"{scale} > 1.5")
        page.get_by_role("button", name="Fit").click()
        until(page, f"{scale} === 1")


def test_a_sound_and_a_film_that_browsers_do_not_play(browser, address):
    with opened(browser, address) as page:
        go(page, film("sounds/rain-0.opus", t="1"))
        until(page, f"{NOW} > 1")
        page.wait_for_selector(".film-screen .played svg")
        shoot(page, "sound")
        accessible(page)
        go(page, film(world.TALK, t="2"))
        until(page, f"{NOW} > 2")
        assert "preview" in page.inner_text(".note")
        assert page.evaluate("document.querySelector('video').videoWidth") > 0


def test_hits_of_a_search_are_marked_in_the_film(browser, address):
    with opened(browser, address) as page:
        go(page, "/?q=the+last+train+leaves+the+station")
        page.get_by_role("link", name="train.mp4").click()
        page.wait_for_selector(".found li")
        texts = page.locator(".lane.hits .block").evaluate_all("all => all.map(one => one.title)")
        assert "0:07 the last train leaves the station" in texts
        slowly(page)
        page.locator(".found button.spoken").first.click()
        until(page, f"{NOW} >= 7.5 && {NOW} < 9")
        with page.expect_download() as saved:
            page.get_by_role("button", name="Download").click()
        assert saved.value.suggested_filename.endswith(".mp4")
        page.get_by_role("button", name="More like this scene").click()
        page.wait_for_url("**/?like=*")
        page.wait_for_selector("#results:not([aria-busy]) .card")


def test_markup_in_names_texts_and_labels_does_nothing(browser, address):
    evil = "<img src=x onerror=alert(1)><b>bold</b>"
    answer = made_up(lines=3) | {"name": evil, "folder": evil, "also": [evil], "file": "a*[x]?.mp4"}
    answer["scenes"][0]["labels"] = [evil]
    answer["texts"] = [{**line, "text": evil} for line in answer["texts"]]
    hit = {
        "clip": {"source": "a*[x]?.mp4", "id": "x"},
        "start": 1.0,
        "end": 2.0,
        "text": evil,
        "kind": "seen",
        "words": "strong",
    }
    other = hit | {"clip": {"source": "abc[x]d.mp4", "id": "y"}}
    asked = []

    def search(route):
        asked.append(route.request.post_data_json["filters"]["source"])
        route.fulfill(json={"hits": [hit, other]})

    with opened(browser, address, refusals=True) as page:
        page.on("dialog", lambda dialog: pytest.fail("markup ran"))
        page.route("**/api/film?*", lambda route: route.fulfill(json=answer))
        page.route("**/api/search", search)
        page.route(
            "**/api/heard?*",
            lambda route: route.fulfill(json={"sounds": [{"name": evil, "start": 1, "end": 2, "words": "fair"}]}),
        )
        go(page, film("a*[x]?.mp4", q=evil))
        page.wait_for_selector(".found li")
        page.fill(".find input", "<b>")
        assert page.inner_text(".find .count") == "1 of 3"
        assert page.locator("#view b, #view img[src=x]").count() == 0
        assert page.inner_text("h2") == evil
        assert page.locator(".lane.hits .block").count() == 1, "a pattern may fit other files too"
        assert asked == ["a?[x]?.mp4"]


def test_a_file_that_is_gone_says_so_and_keeps_its_transcript(browser, address):
    problem = {"code": "moved", "message": "talk/long.mp4 is no longer at /media", "todo": "put it back"}
    with opened(browser, address, refusals=True, viewport=PHONE, color_scheme="dark") as page:
        page.route("**/api/film?*", lambda route: route.fulfill(json=made_up(lines=3) | {"problem": problem}))
        go(page, film("talk/long.mp4", t="1"))
        assert "no longer at" in page.inner_text(".player .problem")
        assert page.locator(".lines li").count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], "nothing hangs over"
        shoot(page, "film-gone")
        accessible(page)
        page.unroute("**/api/film?*")
        go(page, film("talk/none.mp4"))
        assert "no file" in page.inner_text("#problem")


def made_up(lines):
    """A film as the server would give it, with ten lines a second; its file plays as the train does."""
    scene = {"id": f"{world.TRAIN}#0.000-5.000", "start": 0.0, "end": 12.0, "searchable": False, "labels": []}
    said = {"machine": True, "confidence": 0.9, "clip": scene["id"]}
    texts = [
        said
        | {
            "text": f"line {n} of a film ({n}(",
            "kind": "screen" if n % 50 == 1 else "spoken",
            "start": n / 10,
            "end": (n + 1) / 10,
        }
        for n in range(lines)
    ]
    facts = {"file": "talk/long.mp4", "name": "long.mp4", "folder": "talk", "kind": "video", "seconds": 12.0}
    facts |= {"bytes": None, "changed": "", "width": 192, "height": 128, "fps": None, "has_sound": True, "also": []}
    return facts | {"separate_sound": False, "played": True, "problem": None, "scenes": [scene], "texts": texts}
