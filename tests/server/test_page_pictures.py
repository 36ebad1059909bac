"""Pictures on the page, in a real browser: a grid of small ones, one read, one asked by, and files that are gone."""

import base64

import pytest
from support import image_checkpoints as shown
from support.browser import EXPECTED, PATIENT, ask, opened, shows, titles
from support.serving import served

import semsearch

pytestmark = [pytest.mark.chromium, pytest.mark.slow]

UNREADABLE = (*EXPECTED, "status of 422")
SIZES = ((60, 40), (400, 600), (600, 400), (300, 300), (1600, 200))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two folders of the same five pictures, and one of texts."""
    made = tmp_path_factory.mktemp("pictures")
    for name in ("photos", "others", "notes"):
        (made / name).mkdir()
    for number, size in enumerate(SIZES):
        kind = "PNG" if number % 2 else "JPEG"
        picture = shown.written(shown.picture(number, size), kind)
        for name in ("photos", "others"):
            (made / name / f"blots on the beach {number}.{kind.lower()}").write_bytes(picture)
    for name in ("beach", "dog"):
        (made / "notes" / f"{name}.md").write_text(f"# {name}\n\na note of the {name}", "utf-8")
    return made


@pytest.fixture(scope="module")
def server(folder):
    """A server of five pictures, and of the others among texts."""
    home, model = str(folder / "served"), str(shown.clip(folder / "model"))
    with semsearch.create("photos", encoder=model, home=home) as photos:
        photos.add_from(folder / "photos")
    with semsearch.create("mixed", encoder=model, home=home) as mixed:
        mixed.add_from(folder / "others")
        mixed.add_from(folder / "notes")
    with served(home, encoders=(model,), folders={"pictures": folder}) as running:
        yield running


@pytest.fixture
def page(browser, server):
    with opened(browser, server, expected=UNREADABLE) as page:
        page.wait_for_selector("#collections input")
        choose(page, "photos")
        yield page


def choose(page, name):
    page.check(f"#collections label:has-text('{name}') input")
    page.wait_for_selector("#by-picture:not([hidden])")


def drawn(page, count):
    """Wait for that many small pictures; the (width, height) of each as it is seen."""
    from playwright.sync_api import expect

    images = page.locator("#results .picture img")
    expect(images).to_have_count(count, timeout=PATIENT)
    return [tuple(size) for size in images.evaluate_all("all => all.map(one => [one.width, one.height])")]


def current(page):
    return page.evaluate("[...document.querySelectorAll('#results > li')].findIndex(one => one.ariaCurrent)")


def test_pictures_are_a_grid_that_keys_walk_through(page):
    ask(page, "blots on the beach", 5)
    sizes = drawn(page, 5)
    assert sorted(round(width / height) for width, height in sizes) == [1, 1, 2, 2, 8]
    tops = page.evaluate("[...document.querySelectorAll('#results > li')].map(one => one.offsetTop)")
    across = tops.count(tops[0])
    assert 1 < across < 5
    page.press("#query", "ArrowDown")
    page.keyboard.press("ArrowRight")
    assert current(page) == 1
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert current(page) == across
    page.keyboard.press("Enter")
    page.wait_for_selector("#reader[open]")
    page.wait_for_selector("#reader-picture img")
    assert page.inner_text("#reader-title") == titles(page)[across]
    assert "image_format" in page.inner_text("#reader-metadata")
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "read=" not in url)
    page.keyboard.press("ArrowUp")
    assert current(page) == 0
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "query"


def test_what_is_typed_further_draws_no_picture_twice(page):
    asked = []
    page.on("request", lambda request: "thumbnail" in request.url and asked.append(request.url))
    ask(page, "blots", 5)
    drawn(page, 5)
    ask(page, "blots on the beach", 5)
    drawn(page, 5)
    assert len(asked) == len(set(asked)) == 5


def test_a_picture_is_asked_by_alone_and_with_a_text(page, server, folder):
    wanted = "blots on the beach 3.png"
    page.set_input_files("#picture", folder / "photos" / wanted)
    page.wait_for_selector("#said:has-text('Most like it: 5 results')")
    assert titles(page)[0] == wanted
    assert page.is_disabled("#mode")
    page.check("#explain")  # which there are no words for
    page.wait_for_selector("#results:not([aria-busy])")
    ask(page, "a dog", 5)
    page.wait_for_selector(".why")
    assert page.is_hidden("#failure")
    image = base64.b64encode((folder / "photos" / wanted).read_bytes()).decode()
    both = server.ask("/v1/collections/photos/search", {"image": image, "query": "a dog", "k": 5})
    assert titles(page) == [hit["id"] for hit in both["hits"]]
    page.set_input_files("#picture", {"name": "none.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
    page.wait_for_selector("#failure:has-text('it is no picture of a kind that is read')")
    page.click("#picture-away")
    shows(page, 5)
    assert page.is_hidden("#failure")
    assert not page.input_value("#picture")
    assert page.is_enabled("#mode")


def test_pictures_among_texts_and_files_that_are_gone_or_damaged(page, folder):
    (folder / "others" / "blots on the beach 0.jpeg").unlink()
    (folder / "others" / "blots on the beach 1.png").write_bytes(b"damaged")
    page.uncheck("#collections label:has-text('photos') input")
    choose(page, "mixed")
    ask(page, "blots on the beach", 7)
    assert len(drawn(page, 3)) == 3
    told = page.locator("#results .picture .hint")
    gone = "the file of the document is not there any more."
    damaged = "the picture: it is no picture of a kind that is read ("
    assert [text[: len(damaged)] for text in sorted(told.all_inner_texts())] == [gone[: len(damaged)], damaged]
    assert page.locator("#results.pictures").count() == 0
    page.click("#results > li:has-text('blots on the beach 0') .title button")
    page.wait_for_selector("#reader-picture .hint")
    page.keyboard.press("Escape")
    page.wait_for_selector("#reader:not([open])", state="attached")
    page.click("#results > li:has-text('a note of the dog') .title button")
    page.wait_for_selector("#reader[open]:has-text('a note of the dog')")
    assert page.is_hidden("#reader-picture")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_grid_is_accessible_on_every_screen(page, scheme):
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe is not installed")
    page.emulate_media(color_scheme=scheme)
    ask(page, "blots on the beach", 5)
    drawn(page, 5)
    found = []
    for width in (1200, 360):
        page.set_viewport_size({"width": width, "height": 800})
        tops = page.evaluate("[...document.querySelectorAll('#results > li')].map(one => one.offsetTop)")
        assert tops.count(tops[0]) > 1, "pictures stand side by side"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is to be scrolled sideways"
        found += axe.Axe().run(page)["violations"]
    page.click("#results .picture >> nth=0")
    page.wait_for_selector("#reader[open] #reader-picture img")
    found += axe.Axe().run(page)["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
