"""The page, in a real browser: typed in, narrowed, walked through by keys, reloaded, and attacked."""

import json
import re

import pytest
from support.browser import PATIENT, address, ask, opened, results, shows, titles

from semsearch.testing.encoder import SparseWords

pytestmark = [pytest.mark.chromium, pytest.mark.slow]

NASTY = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture
def page(browser, server):
    """The page of a server with a few animals; whatever its console says is an error."""
    with opened(browser, server) as page:
        page.wait_for_selector("#fields details")
        yield page


def test_what_is_typed_is_asked_and_words_stand_out(page):
    ask(page, "the cat sleeps on the warm sofa", 3)
    assert titles(page)[0] == "cat"
    assert "cat" in page.locator("#results mark").all_inner_texts()
    assert page.inner_text("#said").startswith("3 results")


def test_a_reload_and_the_back_button_find_it_again(page):
    ask(page, "the dog runs in the park", 3)
    page.reload()
    page.wait_for_selector("#results > li")
    assert (page.input_value("#query"), titles(page)[0]) == ("the dog runs in the park", "Dogs")
    page.select_option("#mode", "lexical")
    page.wait_for_url(re.compile("by=lexical"))
    page.go_back()
    page.wait_for_url(lambda url: "by=" not in url)
    assert page.input_value("#mode") == "hybrid"
    assert "by" not in address(page)


def test_fields_narrow_the_answers(page):
    ask(page, "animals", 3)
    page.click("#fields summary:has-text('kind')")
    page.check("#fields label:has-text('pet') input")
    shows(page, 2)
    assert json.loads(address(page)["has"][0]) == ["kind", "pet"]
    page.click("#fields summary:has-text('legs')")
    page.fill("[aria-label='legs to']", "3")
    page.press("[aria-label='legs to']", "Tab")
    shows(page, 0)
    assert page.inner_text("#said") == "Nothing is found."


def test_counts_tell_what_a_value_would_leave(page, server):
    """Under what is chosen in the other fields; the values of one field are alternatives."""
    from playwright.sync_api import expect

    more = [
        {"id": "trout", "text": "a trout in the brook", "metadata": {"kind": "wild", "tags": ["song", "water"]}},
        {"id": "goldfish", "text": "a goldfish", "metadata": {"kind": "pet", "tags": ["water"]}},
    ]
    server.ask("/v1/collections/animals/documents", {"documents": more})
    page.reload()
    ask(page, "animals", 5)

    def counts(**told):
        for field, values in told.items():
            drawn = page.locator(f"#fields details:has-text('{field}') ul")
            expect(drawn).to_have_text(values, use_inner_text=True, timeout=PATIENT)

    for field in ("kind", "tags"):
        page.click(f"#fields summary:has-text('{field}')")
    counts(kind="pet 3 wild 1", tags="song 2 water 2 sky 1")
    page.check("#fields label:has-text('pet') input")
    counts(kind="pet 3 wild 1", tags="water 1")
    page.check("#fields label:has-text('water') input")
    counts(kind="pet 1 wild 1", tags="water 1")
    shows(page, 1)


def test_fields_that_are_drawn_anew_stay_as_they_were(page):
    """Open, and under the keyboard."""
    ask(page, "animals", 3)
    page.focus("#fields summary:has-text('legs')")
    page.keyboard.press("Enter")
    page.click("#fields summary:has-text('kind')")
    page.focus("#fields label:has-text('pet') input")
    with page.expect_response("**/v1/facets"):
        page.keyboard.press("Space")
    shows(page, 2)
    page.wait_for_selector("#fields label:has-text('pet') input:focus:checked")
    assert page.locator("#fields details[open]").count() == 2
    with page.expect_response("**/v1/facets"):
        page.keyboard.press("Space")
    shows(page, 3)
    page.wait_for_selector("#fields label:has-text('pet') input:focus:not(:checked)")
    page.focus("[aria-label='legs from']")
    page.keyboard.type("3")
    with page.expect_response("**/v1/facets"):
        page.keyboard.press("Enter")
    shows(page, 2)
    page.wait_for_selector("[aria-label='legs from']:focus")


def test_a_filter_that_is_wrong_is_told_beside_it(page):
    ask(page, "animals", 3)
    page.fill("#where", "legs >")
    page.press("#where", "Enter")
    page.wait_for_selector("#where-error:not([hidden])")
    assert "can't be read at character" in page.inner_text("#where-error")
    page.fill("#where", "legs = 2")
    page.press("#where", "Enter")
    shows(page, 1)
    assert page.is_hidden("#where-error")


def test_a_filter_in_the_address_is_told_wrong_as_it_was_typed(page):
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto("/#q=animals&where=legs+>")
    page.reload()
    page.wait_for_selector("#where-error:not([hidden])")
    assert page.is_visible("#where-error"), "on a phone, too"
    assert "'legs >'" in page.inner_text("#where-error")


@pytest.mark.parametrize("width", [1200, 360])
def test_what_is_opened_stays_within_its_column(page, server, width):
    """A field of dates is wider in a browser than one of numbers."""
    document = {"id": "old", "text": "an old animal", "metadata": {"born": "1999-01-02"}}
    server.ask("/v1/collections/animals/documents", {"documents": [document]})
    page.set_viewport_size({"width": width, "height": 800})
    page.reload()
    page.wait_for_selector("#fields details", state="attached")
    if width == 360:
        page.click("#narrowing > summary")
    page.click("#fields summary:has-text('born')")
    page.click("#fields summary:has-text('legs')")
    for field in ("born", "legs"):
        for word in ("from", "to"):
            box = page.locator(f"[aria-label='{field} {word}']")
            edge, column = (
                one.evaluate("one => one.getBoundingClientRect().right") for one in (box, page.locator("#filters"))
            )
            assert edge <= column + 0.5, (field, word)
    page.fill("[aria-label='born from']", "1990-01-01")
    page.press("[aria-label='born from']", "Tab")
    ask(page, "animals", 1)
    page.click("#results .title button >> nth=0")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_a_phone_results_come_before_filters_that_nobody_opened(page):
    page.set_viewport_size({"width": 360, "height": 740})
    page.reload()
    ask(page, "animals", 3)
    assert page.locator("#results > li").first.bounding_box()["y"] < 500
    assert page.is_hidden("#where")
    page.click("#narrowing > summary")
    page.click("#fields summary:has-text('kind')")
    page.check("#fields label:has-text('pet') input")
    shows(page, 2)
    page.reload()
    shows(page, 2)
    assert page.is_visible("#fields label:has-text('pet') input"), "what narrows the answers is seen"
    page.set_viewport_size({"width": 1200, "height": 740})
    page.wait_for_selector("#where")
    assert page.is_hidden("#narrowing > summary")


@pytest.mark.parametrize(("strengths", "said"), [((0.2, 0.999, 0.3), "3 results"), ((0.2, 0.5, 0.3), "Nothing good")])
def test_nothing_good_is_said_of_all_results_and_not_of_the_first(page, strengths, said):
    """By words the first may be one that means little."""

    def changed(route):
        answer = route.fetch()
        told = answer.json()
        for hit, strength in zip(told["hits"], strengths, strict=True):
            hit["percentile"] = strength
        route.fulfill(response=answer, json=told)

    page.route("**/v1/search", changed)
    ask(page, "animals", 3)
    assert page.inner_text("#said").startswith(said)


def test_the_like_of_a_result_far_below_is_shown_from_its_beginning(page, server):
    documents = [{"id": f"cat {number}", "text": f"the cat {number} sleeps. " * 30} for number in range(12)]
    server.ask("/v1/collections/animals/documents", {"documents": documents})
    ask(page, "the cat sleeps", 10)
    page.locator("#results button:has-text('More like this')").last.scroll_into_view_if_needed()
    assert page.evaluate("scrollY") > 500
    page.locator("#results button:has-text('More like this')").last.click()
    page.wait_for_selector("#said:has-text('Most like')")
    assert page.evaluate("scrollY") == 0


def test_the_keyboard_reaches_everything(page):
    ask(page, "the cat sleeps on the warm sofa", 3)
    page.press("#query", "ArrowDown")
    page.wait_for_selector("#results > li[aria-current]")
    page.keyboard.press("ArrowDown")
    assert page.locator("#results > li[aria-current]").count() == 1
    assert results(page).nth(1).get_attribute("aria-current") == "true"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_selector("#reader[open]")
    assert page.inner_text("#reader-title") == "cat"
    assert page.inner_text("#reader-text mark") == "the cat sleeps on the warm sofa"
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "read=" not in url)  # told in an event of its own, behind the closing
    assert page.locator("#reader[open]").count() == 0
    page.keyboard.press("m")
    page.wait_for_selector("#said:has-text('Most like cat: 2 results')")
    assert "cat" not in titles(page)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"


def test_a_document_has_an_address_of_its_own(page, server):
    ask(page, "a bird sings in the old tree", 3)
    page.click("#results .title button >> nth=0")
    page.wait_for_selector("#reader[open]")
    page.reload()
    page.wait_for_selector("#reader[open]")
    assert page.inner_text("#reader-title") == "a/bird"
    assert page.inner_text("#reader-metadata dt:has-text('tags') + dd") == "sky, song"


def test_why_a_result_is_there_is_shown_on_demand(page):
    ask(page, "the cat sleeps", 3)
    assert page.locator(".why").count() == 0
    page.check("#explain")
    page.wait_for_selector(".why")
    assert page.inner_text(".why p >> nth=0")


def test_several_collections_are_asked_together_or_one_alone(page, server):
    server.ask("/v1/collections", {"name": "plants"}, 201)
    server.ask("/v1/collections/plants/documents", {"documents": [{"id": "oak", "text": "an old tree"}]})
    page.goto("/")
    page.wait_for_selector("#collections input")
    ask(page, "an old tree", 4)
    page.check("#collections label:has-text('plants') input")
    shows(page, 1)
    assert titles(page) == ["oak"]
    assert address(page)["in"] == ["plants"]


def test_a_document_of_an_attacker_is_text_and_nothing_else(page, server):
    documents = [
        {"id": f"{NASTY}/../{n}", "text": f"evil {NASTY}", "title": NASTY, "metadata": {NASTY: NASTY}} for n in (1, 2)
    ]
    server.ask("/v1/collections/animals/documents", {"documents": documents})
    page.reload()
    ask(page, f"evil {NASTY}", 5)
    assert titles(page)[0] == NASTY
    page.check("#explain")
    page.wait_for_selector(".why")
    page.click("#results .title button >> nth=0")
    page.wait_for_selector("#reader[open]")
    assert page.inner_text("#reader-title") == NASTY
    assert NASTY in page.inner_text("#reader-metadata")
    assert page.title() == "semsearch"
    assert page.locator("#results img, #results script, #reader img, #reader script").count() == 0


def test_nothing_else_may_run_and_nobody_may_frame_it(server):
    answer = server.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "http" not in answer.text.replace("http-equiv", "")
    assert server.get("/page/..%2findex.html").status_code == 404


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_it_is_accessible_on_every_screen(page, scheme, width):
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe is not installed")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    ask(page, "the cat sleeps", 3)
    page.check("#explain")
    page.wait_for_selector(".why")
    found = axe.Axe().run(page)["violations"]
    page.click("#results .title button >> nth=0")
    page.wait_for_selector("#reader[open]")
    found += axe.Axe().run(page)["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is to be scrolled sideways"


def test_a_server_with_keys_asks_for_one(browser, serve, fill, tmp_path):
    from semsearch.server.keys import Keyring, add_key

    file = tmp_path / "keys"
    secret = add_key(file, "me", "admin")
    with serve(keyring=Keyring.read(file)) as running:
        running.client.headers["Authorization"] = f"Bearer {secret}"
        fill(running)
        page = browser.new_page(base_url=running.url)
        page.set_default_timeout(PATIENT)
        page.goto("/")
        page.wait_for_selector("#key-asked[open]")
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-asked[open]")
        page.fill("#key", secret)
        page.keyboard.press("Enter")
        page.wait_for_selector("#fields details")
        assert secret not in page.url
        page.close()


def test_a_server_that_goes_is_told(browser, serve, fill):
    with serve() as running:
        fill(running)
        page = browser.new_page(base_url=running.url)
        page.set_default_timeout(PATIENT)
        page.goto("/")
        page.wait_for_selector("#fields details", state="attached")
    page.fill("#query", "anything")
    page.wait_for_selector("#failure:not([hidden])")
    assert page.inner_text("#failure") == "the server does not answer. Is it running?"
    page.close()


def test_tasks_are_shown_with_how_far_they_are(page, server):
    server.finished(server.ask("/v1/collections/animals/compact", {}, 202))
    page.click("#work summary")
    page.wait_for_selector("#tasks li")
    assert page.inner_text("#tasks li >> nth=0").startswith("compact animals: done")


def test_filters_are_made_of_the_metadata_of_all_that_are_asked(page, server):
    server.ask("/v1/collections", {"name": "plants"}, 201)
    plants = [
        {"id": "oak", "text": "an old tree", "metadata": {"kind": "wild", "tags": "green", "height": 30}},
        {"id": "fern", "text": "a fern in the park", "metadata": {"kind": "pet", "tags": "green"}},
    ]
    server.ask("/v1/collections/plants/documents", {"documents": plants})
    page.goto("/")
    page.wait_for_selector("#collections input")
    ask(page, "an old tree", 5)
    page.click("#fields summary:has-text('kind')")
    assert re.sub(r"\s+", " ", page.inner_text("#fields details:has-text('kind') ul")) == "pet 3 wild 1"
    assert "tags" in page.inner_text("#unoffered")
    page.check("#fields label:has-text('pet') input")
    shows(page, 3)
    assert {"Dogs", "cat", "fern"} == set(titles(page))
    page.click("#fields summary:has-text('height')")
    page.fill("[aria-label='height from']", "20")
    page.press("[aria-label='height from']", "Tab")
    shows(page, 0)
    page.click("#fields label:has-text('pet') input")  # which is offered no longer, since no pet is so high
    shows(page, 1)
    assert titles(page) == ["oak"]
    page.reload()
    shows(page, 1)
    page.check("#collections label:has-text('plants') input")
    page.wait_for_selector("#unoffered", state="hidden")


def test_a_sparse_model_is_offered_where_there_is_one(browser, serve, fill, monkeypatch):
    monkeypatch.setattr("semsearch.models._sparse_encoders", lambda name, *_: SparseWords(name))
    with serve(sparse=("words",)) as running:
        fill(running)
        running.ask("/v1/collections", {"name": "plants", "sparse": "words"}, 201)
        running.ask("/v1/collections/plants/documents", {"documents": [{"id": "oak", "text": "an old tree"}]})
        with opened(browser, running) as page:
            page.wait_for_selector("#collections input")
            assert page.locator("#mode option[value=sparse]").get_attribute("hidden") is not None
            page.check("#collections label:has-text('plants') input")
            ask(page, "tree", 1)
            page.select_option("#mode", "sparse")
            page.wait_for_url(re.compile("by=sparse"))
            page.check("#explain")
            page.wait_for_selector(".why:has-text('the words of a sparse model')")
            page.uncheck("#collections label:has-text('plants') input")
            page.wait_for_selector("#said:has-text('asked by meaning and words')")
