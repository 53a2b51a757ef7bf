"""The page of a run in a real browser, on a desktop and a phone, light and dark."""

import os
import shutil

import pytest

from seehear.report.run import write_report

SHOTS = os.environ.get("SEEHEAR_SHOTS")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_it_is_accessible_fits_and_a_link_opens_what_is_folded(made, width, height, scheme):
    playwright = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium here: install one (apt-get install chromium), or name it in CHROMIUM")
    report = write_report(made[1], made[0])
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--headless"])
        size = {"width": width, "height": height}
        page = browser.new_context(viewport=size, color_scheme=scheme, bypass_csp=True).new_page()  # axe is put into it
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.goto(report.resolve().as_uri())
        assert not page.locator("#data dl").is_visible()
        page.locator("nav a[href='#data']").click()
        page.locator("#data dl").wait_for(state="visible")
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/report-{width}-{scheme}.png", full_page=True)
        found = axe.run(page).response["violations"]
        assert not found, [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found]
        assert not wrong
        browser.close()
