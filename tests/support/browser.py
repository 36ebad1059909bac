"""The page in Debian's Chromium, driven by Playwright."""

import os
import shutil
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

PATIENT = 60_000  # milliseconds: a machine may be busy
EXPECTED = ("status of 400", "status of 401", "status of 404")  # what a browser notes of refusals that are asked for


@contextmanager
def chromium():
    """A browser."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium here")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []
        )
        yield running
        running.close()


@contextmanager
def opened(browser, server, at="/", expected=EXPECTED):
    """The page of a server in a new window; whatever its console says is an error, but for what is expected."""
    page = browser.new_page(base_url=server.url)
    page.set_default_timeout(PATIENT)
    told = []
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    page.goto(at)
    try:
        yield page
    finally:
        page.close()
    assert [one for one in told if not any(part in one for part in expected)] == []


def results(page):
    return page.locator("#results > li")


def titles(page):
    return page.locator("#results .title button").all_inner_texts()


def shows(page, count):
    """Wait for that many results, of the last that was asked."""
    from playwright.sync_api import expect

    expect(results(page)).to_have_count(count, timeout=PATIENT)
    expect(page.locator("[aria-busy]")).to_have_count(0, timeout=PATIENT)


def ask(page, words, count):
    page.fill("#query", words)
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).fragment).get("q") == [words])
    shows(page, count)


def address(page):
    return parse_qs(urlsplit(page.url).fragment)
