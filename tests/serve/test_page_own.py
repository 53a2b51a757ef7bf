"""Labels, corrected lines, refined and saved searches on the page, in a real browser."""

import shutil

import pytest

from seehear.library.edits import read_edits
from seehear.library.tables import LibraryTables
from tests.serve import world
from tests.serve.pages import accessible, go, opened, running, searched, shoot

TALK = f"{world.TRAIN}#5.000-11.000"
HTML = '<img src=x onerror="document.title=\'mine\'"><b>bold</b> & "so"'
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
BOTH = pytest.mark.parametrize(
    "viewport", [DESKTOP, pytest.param(PHONE, marks=pytest.mark.slow)], ids=["desktop", "phone"]
)


@pytest.fixture(scope="module")
def lib(built, tmp_path_factory):
    """A copy of the library, which the tests write."""
    return shutil.copytree(built / "lib", tmp_path_factory.mktemp("own") / "lib")


@pytest.fixture(scope="module")
def address(lib, browser, tmp_path_factory):
    with running(lib, tmp_path_factory.mktemp("page-cache")) as address:
        yield address


def talk(page):
    """The page of the recording with two lines, with them open; its one card."""
    go(page, f"/?clip={TALK.replace('#', '%23')}&t=7.5")
    card = page.locator("#moment .card")
    card.locator(".transcript summary").click()
    return card


@BOTH
def test_a_line_is_corrected_and_taken_back(browser, address, lib, viewport):
    with opened(browser, address, viewport=viewport, color_scheme="dark" if viewport is PHONE else "light") as page:
        line = talk(page).locator(".transcript li").first
        assert "the last train leaves the station" in line.inner_text()
        line.locator(".correct").click()
        assert line.locator("textarea").input_value() == "the last train leaves the station"
        shoot(page, f"own-correcting-{viewport['width']}")
        accessible(page, "#moment")
        page.keyboard.press("Escape")
        assert "the last train leaves the station" in line.inner_text()
        page.keyboard.press("Enter")  # the focus is on the button again
        page.keyboard.type(HTML)
        page.keyboard.press("Enter")
        page.wait_for_selector("#toast.shown button")
        assert HTML in line.inner_text()
        assert line.locator("img, b").count() == 0
        assert page.title() != "mine"
        assert [edit.text for edit in read_edits(LibraryTables.open(lib))] == [HTML]
        shoot(page, f"own-corrected-{viewport['width']}")
        accessible(page, "#moment, #toast")
        page.click("#toast button")
        page.wait_for_selector("text=The correction is undone.")
        assert "the last train leaves the station" in line.inner_text()
        assert read_edits(LibraryTables.open(lib)) == []


@BOTH
def test_labels_are_added_and_removed(browser, address, viewport):
    with opened(browser, address, viewport=viewport, color_scheme="dark" if viewport is PHONE else "light") as page:
        card = talk(page)
        card.locator(".labels").click()
        dialog = page.locator("dialog.own")
        assert [tag.split("\n")[0] for tag in dialog.locator(".tag").all_inner_texts()] == [world.NIGHT]
        dialog.locator("input").fill(HTML)
        page.keyboard.press("Enter")
        dialog.locator(".tag").nth(1).wait_for()
        assert dialog.locator(".tag").nth(1).inner_text().startswith(HTML)
        assert page.locator("dialog img, .card .tag b").count() == 0
        shoot(page, f"own-labels-{viewport['width']}")
        accessible(page, "dialog")
        assert HTML in card.locator(".tag").all_inner_texts()
        dialog.get_by_label(f"Remove {HTML}").click()
        dialog.locator(".tag").nth(1).wait_for(state="detached")
        page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
        assert HTML not in card.locator(".tag").all_inner_texts()
        assert card.locator(".labels").evaluate("one => one === document.activeElement")


@BOTH
def test_hits_refine_the_search(browser, address, viewport):
    with opened(browser, address, viewport=viewport, color_scheme="dark" if viewport is PHONE else "light") as page:
        go(page, "/?q=red+square")
        first, second = (searched(page).nth(n).get_attribute("data-id") for n in (0, 1))
        page.locator(f'[data-id="{first}"] .not-this').click()
        page.wait_for_url("**unlike=**")
        searched(page).first.wait_for()
        assert page.locator(f'#results [data-id="{first}"]').count() == 0
        assert "q=red+square" in page.url
        page.locator(f'#results [data-id="{second}"] .more').click()
        page.wait_for_url("**&like=**")
        searched(page).first.wait_for()
        assert page.locator(f'#results [data-id="{second}"]').count() == 0, "what is searched by is no answer"
        chips = page.locator("#parts .name").all_inner_texts()
        assert [chip.split(" ")[0] for chip in chips] == ["“red", "like", "not"]
        shoot(page, f"own-refined-{viewport['width']}")
        accessible(page, "#parts")
        page.locator("#parts li").nth(2).locator(".remove").click()
        page.wait_for_url(lambda url: "unlike" not in url)
        assert "&like=" in page.url
        page.reload()
        searched(page).first.wait_for()
        assert page.locator("#parts li").count() == 2


@BOTH
def test_a_search_is_saved_and_found_on_the_home_page(browser, address, viewport):
    with opened(browser, address, viewport=viewport, color_scheme="dark" if viewport is PHONE else "light") as page:
        go(page, "/?q=red+square")
        searched(page).first.wait_for()
        page.click("#save")
        assert page.locator("dialog.own input").input_value() == "red square"
        page.keyboard.type("Squares <b>bold</b>")
        shoot(page, f"own-save-{viewport['width']}")
        accessible(page, "dialog")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Saved on the home page.")
        go(page)
        link = page.locator(".saved a")
        assert link.inner_text() == "Squares <b>bold</b>"
        shoot(page, f"own-home-{viewport['width']}")
        accessible(page, ".saved")
        link.click()
        page.wait_for_url("**/?q=red+square")
        searched(page).first.wait_for()
        go(page)
        page.click(".saved .remove")
        page.locator(".saved").wait_for(state="hidden")
        page.click("#toast button")
        page.locator(".saved a").wait_for()
        page.click(".saved .remove")
        page.locator(".saved").wait_for(state="hidden")


def test_a_library_that_may_only_be_read_says_so(browser, address, monkeypatch, lib):
    with opened(browser, address, refusals=True) as page:
        line = talk(page).locator(".transcript li").first
        line.locator(".correct").click()
        monkeypatch.setattr("seehear.serve.own.os.access", lambda *_: False)
        page.keyboard.type("something else")
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        assert f"{lib} may only be read" in line.inner_text()
        assert line.locator("textarea").input_value() == "something else"


@BOTH
def test_lines_and_labels_of_a_film_are_the_users_to_change(browser, address, lib, viewport):
    with opened(browser, address, viewport=viewport, color_scheme="dark" if viewport is PHONE else "light") as page:
        go(page, f"/film?file={world.TRAIN}&t=7.5")
        line = page.locator(".lines li", has_text="the last train")
        line.locator(".correct").click()
        shoot(page, f"own-film-{viewport['width']}")
        accessible(page, ".lines")
        page.keyboard.type("the last tram")
        line = page.locator(".lines li").nth(1)
        line.locator("[type=submit]").click()
        page.wait_for_selector("#toast.shown button")
        assert "the last tram" in line.inner_text()
        page.get_by_role("button", name="Labels").click()
        dialog = page.get_by_role("dialog", name="Labels of the scene at 0:05")
        dialog.locator("input").fill("tram")
        page.keyboard.press("Enter")
        page.locator(".film-head .tag", has_text="tram").wait_for()
        page.keyboard.press("Escape")
        page.reload()
        page.locator(".lines li", has_text="the last tram").wait_for()
        page.locator(".film-head .tag", has_text="tram").wait_for()
        shoot(page, f"own-film-corrected-{viewport['width']}")
        for edit in read_edits(LibraryTables.open(lib)):
            page.evaluate(
                """undo => fetch("/api/texts", {method: "POST", headers: {"content-type": "application/json"},
                                            body: JSON.stringify({undo})})""",
                edit.key,
            )
        assert read_edits(LibraryTables.open(lib)) == []
