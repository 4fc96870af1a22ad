"""A headless browser without network access, and checks for every page."""

import itertools
import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

PHONE, DESKTOP = 390, 1440  # pixels


@pytest.fixture(scope="module")
def browser():
    """Chromium. Without it, tests are skipped, and fail in continuous integration."""
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    path = next(filter(None, found), None)
    if path is None:
        message = "there is no chromium: install it, on Debian by apt install chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser, path, width=DESKTOP):
    """Opens a file as a page of the given width, checks it, and returns it."""
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    page = context.new_page()
    errors = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(request.url))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.absolute().as_uri())
    assert errors == []
    assert [url for url in requests if not url.startswith("data:")] == [path.absolute().as_uri()]
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth || !i.alt).length"
    assert page.evaluate(broken) == 0
    for summary in page.query_selector_all("details > summary"):
        summary.press("Enter")
    assert page.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")
    too_wide = page.evaluate(
        """() => [...document.querySelectorAll('body, body *')]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1
                         && !e.closest('.scroll *'))
            .map(e => e.outerHTML.slice(0, 100))"""
    )
    assert too_wide == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert errors == []
    return page
