"""The page of a map in a real browser, without a network: looked at, walked through by keys, and attacked."""

import time

import numpy as np
import pytest
from support.browser import PATIENT

import semsearch

pytestmark = [pytest.mark.chromium, pytest.mark.slow]

NASTY = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A map of three clumps of documents, of a stranger."""
    folder = tmp_path_factory.mktemp("map")
    subjects = np.repeat(["whale", "oven", "pedal"], 10)
    vectors = np.repeat(np.eye(3), 10, axis=0) + np.random.default_rng(0).normal(0, 0.05, (30, 3))
    with semsearch.create("notes", home=folder, encoder=None, dim=3) as notes:
        notes.add(
            [
                semsearch.Document(f"{NASTY}{at}", f"{NASTY} {subject} {at}", metadata={"kind": NASTY + subject})
                for at, subject in enumerate(subjects)
            ],
            vectors=vectors.astype(np.float32),
        )
        found = notes.map("kind", method="communities", min_score=0.8, min_size=2)
    path = folder / "map.html"
    path.write_text(found.page(), "utf-8")
    return path


def until(page, expression, arg=None):
    """Wait for what becomes true: `wait_for_function` evaluates it within the page, which its policy forbids."""
    deadline = time.monotonic() + PATIENT / 1000
    while not page.evaluate(expression, arg):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(10)


@pytest.fixture
def page(browser, file):
    """It opened; the errors of its console, and whatever it asks the network for, are errors."""
    context = browser.new_context(offline=True, color_scheme="dark")
    opened = context.new_page()
    opened.set_default_timeout(PATIENT)
    told, asked = [], []
    opened.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: told.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(file.as_uri())
    until(opened, "performance.getEntriesByName('first picture').length > 0")
    yield opened
    assert opened.title() == "notes: map"
    assert opened.locator("img").count() == 0
    context.close()
    assert told == []
    assert asked == [file.as_uri()]


def colours(page):
    """How many colours are on the map."""
    return page.evaluate(
        """() => { const c = document.getElementById("map");
        return new Set(new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size; }"""
    )


def test_it_is_drawn_and_nothing_of_a_stranger_runs(page):
    assert colours(page) > 3
    assert page.locator("#topics button").count() == 3
    assert page.locator("#colours li").count() == 3
    assert NASTY[:70] in page.locator("#colours li").first.inner_text()


def test_it_is_drawn_anew_in_light_colours(page):
    corner = "[...document.getElementById('map').getContext('2d').getImageData(0, 0, 1, 1).data].join()"
    assert page.evaluate(corner) == "22,24,28,255"
    page.emulate_media(color_scheme="light")
    until(page, f"{corner} === '255,255,255,255'")


def test_a_topic_is_chosen_by_keys_and_let_go(page):
    button = page.locator("#topics button").first
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert "whale" in page.locator("#details").inner_text() or "oven" in page.locator("#details").inner_text()
    page.keyboard.press("Escape")
    assert button.get_attribute("aria-pressed") == "false"
    assert page.locator("#details").inner_text() == ""


def test_words_are_found_and_a_document_is_read(page):
    page.locator("#find").fill("OVEN")
    until(page, "document.querySelectorAll('#details button').length === 10")
    page.locator("#details button").nth(1).click()
    page.wait_for_selector("#details h2")
    assert page.locator("#details h2").inner_text().startswith("<img src=x")
    assert "oven 11" in page.locator("#details blockquote").inner_text()


def test_a_point_is_pointed_at_and_clicked(page):
    page.locator("#find").fill("pedal 25")
    page.wait_for_selector("#details button")
    page.locator("#details button").first.click()  # brings it to the middle
    page.wait_for_selector("#details h2")
    page.keyboard.press("Escape")
    box = page.locator("#map").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 + 1, box["y"] + box["height"] / 2 + 1)
    page.wait_for_selector("#tip:not([hidden])")
    assert "pedal 25" in page.locator("#tip").inner_text()
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("#details blockquote")
    assert "pedal 25" in page.locator("#details blockquote").inner_text()


def test_keys_move_and_zoom_it(page):
    def pixels():
        return page.evaluate("document.getElementById('map').toDataURL()")

    page.locator("#map").focus()
    seen = [pixels()]
    for key in ("ArrowLeft", "+", "-", "ArrowUp"):
        page.keyboard.press(key)
        until(page, "(old) => document.getElementById('map').toDataURL() !== old", arg=seen[-1])
        seen.append(pixels())
    page.keyboard.press("0")
    until(page, "(first) => document.getElementById('map').toDataURL() === first", arg=seen[0])


def test_no_one_is_shut_out(page):
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    wrong = axe.run(page)["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in wrong] == []
