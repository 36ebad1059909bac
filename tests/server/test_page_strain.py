"""The page where things vanish, are large, or run from right to left: what a person meets who uses it for an hour."""

import json
import re
from urllib.parse import quote

import pytest
from support.browser import PATIENT, address, ask, opened, results, shows, titles

from semsearch.server.keys import Keyring, add_key

pytestmark = [pytest.mark.chromium, pytest.mark.slow]

LONG = 30_000_000  # characters
PASSAGE = "\N{OWL} the passage in view \N{OWL}"


@pytest.fixture
def page(browser, server):
    with opened(browser, server) as page:
        page.wait_for_selector("#fields details")
        yield page


def look_again(page):
    """As when a person comes back to the tab."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def open_first(page):
    page.click("#results .title button >> nth=0")
    page.wait_for_selector("#reader[open]")


def test_a_collection_that_is_dropped_while_it_is_shown(page, server, fill):
    fill(server, "plants")
    look_again(page)
    page.wait_for_selector("#collections label:has-text('plants')")
    page.check("#collections label:has-text('plants') input")
    ask(page, "the cat sleeps", 3)
    server.delete("/v1/collections/plants")
    page.fill("#query", "the cat sleeps on the warm sofa")
    page.wait_for_selector("#said:has-text(\"There is no collection 'plants' any more.\")")
    assert page.locator("#results .facts span:has-text('animals')").count() == 3
    server.delete("/v1/collections/animals")
    page.fill("#query", "the cat")
    page.wait_for_selector("#said:has-text('There is no collection yet')")
    assert results(page).count() == 0
    assert page.is_hidden("#failure")


def test_another_tab_makes_a_collection(page, server, fill):
    assert page.locator("#collections label:visible").count() == 0
    fill(server, "plants")
    look_again(page)
    page.wait_for_selector("#collections label:has-text('plants')")


def test_a_document_that_is_taken_out_while_it_is_shown(page, server):
    ask(page, "the cat sleeps on the warm sofa", 3)
    server.ask("/v1/collections/animals/documents/delete", {"ids": ["cat"]})
    page.click("#results .title button >> nth=0")
    page.wait_for_selector("#failure:has-text(\"there is no document 'cat' in 'animals' any more\")")
    assert "read" not in address(page)
    page.click("#results >> text=More like this >> nth=0")
    page.wait_for_selector("#failure:has-text('no document')")
    ask(page, "the dog runs in the park", 2)
    assert page.is_hidden("#failure")


def test_a_server_that_goes_and_comes_back(browser, server):
    with opened(browser, server, expected=("ERR_FAILED", "ERR_CONNECTION")) as page:
        ask(page, "the cat", 3)
        page.click("#work summary")
        page.wait_for_selector("#tasks li")
        page.route("**/v1/**", lambda route: route.abort())
        page.fill("#query", "the dog runs in the park")
        page.wait_for_selector("#failure:has-text('Is it running?')")
        page.unroute("**/v1/**")
        page.press("#query", "Enter")
        page.wait_for_selector("#failure", state="hidden")
        shows(page, 3)
        assert titles(page)[0] == "Dogs"


def test_a_key_that_is_taken_away_is_asked_for_once(browser, serve, fill, tmp_path):
    file = tmp_path / "keys"
    old, new = add_key(file, "old", "admin"), add_key(file, "new", "admin")
    with serve(keyring=Keyring.read(file)) as running:
        running.client.headers["Authorization"] = f"Bearer {old}"
        fill(running)
        with opened(browser, running) as page:
            page.wait_for_selector("#key-asked[open]")
            assert page.is_hidden("#key-error")
            for wrong in ("schlüssel", "sk-semsearch-none"):
                page.fill("#key", wrong)
                page.keyboard.press("Enter")
                page.wait_for_selector("#key-asked[open] #key-error:not([hidden])")
            page.fill("#key", old)
            page.keyboard.press("Enter")
            ask(page, "the cat sleeps on the warm sofa", 3)
            file.write_text("".join(line for line in file.read_text().splitlines(True) if '"new"' in line))
            running.service.keyring = Keyring.read(file)
            page.fill("#query", "the dog runs in the park")
            page.wait_for_selector("#key-asked[open]:has-text('that key is not known')")
            page.keyboard.press("Escape")
            page.wait_for_selector("#failure:has-text('without a key')")
            assert page.locator("#key-asked[open]").count() == 0
            page.press("#query", "Enter")
            page.wait_for_selector("#key-asked[open]")
            page.fill("#key", new)
            page.keyboard.press("Enter")
            page.wait_for_selector("#results > li:first-child .title:has-text('Dogs')")
            assert page.is_hidden("#failure")


def test_a_text_of_thirty_megabytes_is_read_around_its_passage(page, server):
    start = LONG // 2
    text = "\N{OWL}" + "word " * (start // 5) + PASSAGE + " more" * (start // 5)
    document = {"id": "cat", "title": "", "text": text, "metadata": {}}
    content = json.dumps({"schema": 1, "documents": [document]})
    ask(page, "the cat sleeps on the warm sofa", 3)
    page.route(
        re.compile("/documents/get$"), lambda route: route.fulfill(body=content, content_type="application/json")
    )
    begins = text.index(PASSAGE)
    page.evaluate(
        "read => { location.hash += '&' + new URLSearchParams({ read }) }",
        json.dumps(["animals", "cat", begins, begins + len(PASSAGE)]),
    )
    page.wait_for_selector("#reader[open]")
    assert page.inner_text("#reader-text mark") == PASSAGE
    assert page.evaluate("document.getElementById('reader-text').textContent.length") == 100_000
    page.click("#reader-behind")
    page.click("#reader-before")
    assert page.evaluate("document.getElementById('reader-text').textContent.length") == 300_000
    assert page.inner_text("#reader-text mark") == PASSAGE
    assert page.evaluate("document.getElementById('reader').scrollTop") > 0
    page.keyboard.press("Escape")
    page.wait_for_selector("#reader:not([open])", state="attached")


def test_a_passage_of_megabytes_is_shown_around_its_words(page, server):
    hit = server.ask("/v1/search", {"query": "the cat sleeps", "collections": ["animals"], "matches": True})["hits"][0]
    text = "\N{OWL} " * 1_000_000 + "the cat sleeps" + " zz" * 1_000_000
    begins = text.index("cat")
    told = {**hit, "text": text, "start": 50, "end": 50 + len(text), "matches": {"text": [[50 + begins, 53 + begins]]}}
    content = json.dumps({"schema": 1, "query": "", "hits": [told], "notes": [], "timings_ms": {}})
    page.route("**/v1/search", lambda route: route.fulfill(body=content, content_type="application/json"))
    ask(page, "cat", 1)
    assert page.inner_text("#results mark") == "cat"
    shown = page.inner_text("#results .passage")
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert len(shown) < 3_000


def test_ten_thousand_fields_are_no_burden(page, server):
    metadata = {f"field {number:05d} {'x' * 50}": f"value {number}" for number in range(10_000)}
    server.ask(
        "/v1/collections/animals/documents", {"documents": [{"id": "w", "text": "a wide one", "metadata": metadata}]}
    )
    page.reload()
    ask(page, "a wide one", 4)
    open_first(page)
    assert page.locator("#reader-metadata dt").count() == 201
    assert page.inner_text("#reader-metadata dd >> nth=200") == "and 9,800 more fields"


def test_text_that_runs_from_right_to_left(page, server):
    hebrew = "החתול ישן על הספה החמה"
    documents = [{"id": "he", "text": hebrew, "title": "חתול", "metadata": {"סוג": "בית"}}]
    server.ask("/v1/collections/animals/documents", {"documents": documents})
    page.reload()
    ask(page, hebrew, 4)
    runs = "element => getComputedStyle(element).direction"
    assert page.eval_on_selector("#query", runs) == "rtl"
    assert page.eval_on_selector("#results .passage >> nth=0", runs) == "rtl"
    assert page.eval_on_selector("#results .passage >> nth=1", runs) == "ltr"
    open_first(page)
    assert page.inner_text("#reader-text mark") == hebrew
    for selector in ("#reader-title", "#reader-text", "#reader-metadata dt", "#reader-metadata dd"):
        assert page.eval_on_selector(selector, runs) == "rtl"


@pytest.mark.parametrize(
    "said",
    [
        'q=cat&read=%%%&like=["animals"',
        'q=cat&read={"a":1}',
        'q=cat&has=["__proto__",1]&has=null&has=["a"]',
        'q=cat&range=["__proto__","1","2"]&range=7',
        "q=cat&in=nowhere&by=magic&rerank=1",
    ],
)
def test_an_address_that_somebody_edited_is_no_end(browser, server, said):
    with opened(browser, server, f"/#{quote(said, safe='=&%')}") as page:
        page.wait_for_selector("#fields details", state="attached")
        page.wait_for_selector("#failure:not([hidden]), #where-error:not([hidden]), #results > li")
        page.goto("/")
        page.wait_for_selector("#fields details")
        ask(page, "the cat sleeps", 3)
        assert page.title() == "semsearch"


def test_a_filter_on_a_field_that_is_no_more_can_be_taken_back(browser, server):
    with opened(
        browser, server, f"/#q=cat&has={quote(json.dumps(['gone', 'x']))}&range={quote(json.dumps(['off', '1', '']))}"
    ) as page:
        page.wait_for_selector("#fields summary:has-text('gone')")
        page.click("#fields label:has-text('x') input")  # and the box is gone
        page.fill("[aria-label='off from']", "")
        page.press("[aria-label='off from']", "Tab")
        shows(page, 3)


def test_the_last_document_that_was_asked_for_is_shown(page):
    """The first answers later than the second."""
    held = []
    ask(page, "the cat sleeps on the warm sofa", 3)

    def answer(route):
        if not held:
            held.append(route)
        else:
            route.continue_()

    page.route(re.compile("/documents/get$"), answer)
    page.click("#results .title button >> nth=0")
    page.wait_for_url(re.compile("read="))
    page.click("#results .title button >> nth=1")
    page.wait_for_selector("#reader[open]")
    second = page.inner_text("#reader-title")
    with page.expect_response(re.compile("/documents/get$")):
        held[0].continue_()
    assert page.inner_text("#reader-title") == second
    page.keyboard.press("Escape")
    page.wait_for_selector("#reader:not([open])", state="attached")


def test_more_results_go_on_where_the_keyboard_is(page, server):
    documents = [{"id": f"d{number}", "text": f"a sentence of number {number}"} for number in range(25)]
    server.ask("/v1/collections/animals/documents", {"documents": documents})
    page.reload()
    ask(page, "a sentence of number", 10)
    page.focus("#more")
    page.keyboard.press("Enter")
    shows(page, 20)
    page.wait_for_selector("#results > li[aria-current]")
    assert (
        page.evaluate("[...document.querySelectorAll('#results > li')].indexOf(document.activeElement.closest('li'))")
        == 10
    )


def test_a_collection_without_a_model_is_asked_by_words(page, server):
    server.ask("/v1/collections", {"name": "bare", "dim": 2}, 201)
    body = {"documents": [{"id": "oak", "text": "an old oak"}], "vectors": [[1, 0]]}
    server.ask("/v1/collections/bare/documents", body)
    look_again(page)
    page.wait_for_selector("#collections label:has-text('bare')")
    ask(page, "an old oak", 3)
    page.wait_for_selector("#said:has-text('bare is left out')")
    page.check("#collections label:has-text('bare') input")
    page.wait_for_selector("#said:has-text(\"'bare' has no model of this server: asked by words\")")
    assert titles(page) == ["oak"]
    page.check("#collections label:has-text('animals') input")
    shows(page, 3)
    assert page.is_hidden("#failure")


def test_more_collections_than_a_search_may_name(browser, server):
    summaries = [{"name": f"c{n:02}", "description": "", "documents": 1} for n in range(70)]
    empty = {"schema": 1, "query": "", "hits": [], "notes": [], "timings_ms": {}}
    asked = []

    def answer(route):
        asked.append(route.request.post_data_json["collections"])
        route.fulfill(json=empty)

    with opened(browser, server, "/docs") as page:
        page.route("**/v1/collections", lambda route: route.fulfill(json={"schema": 1, "collections": summaries}))
        page.route("**/v1/fields", lambda route: route.fulfill(json={"schema": 1, "fields": []}))
        page.route("**/v1/search", answer)
        page.goto("/#q=cat")
        page.wait_for_selector("#said:has-text('64 of 70 collections were asked')")
        page.check("#collections label:has-text('c69') input")
        page.wait_for_selector("#said:text-is('Nothing is found.')")
    assert [len(names) for names in asked[:1]] == [64]


def test_names_without_a_space_fit_on_a_phone(page, server, fill):
    name = "n" * 60
    fill(server, name)
    metadata = {"f" * 200: "v" * 300}
    documents = [{"id": "i" * 300, "text": "w" * 5_000, "title": "t" * 300, "metadata": metadata}]
    server.ask(f"/v1/collections/{name}/documents", {"documents": documents})
    page.set_viewport_size({"width": 360, "height": 700})
    page.reload()
    page.wait_for_selector("#collections input")
    page.check(f"#collections label:has-text('{name}') input")
    ask(page, "w" * 20, 4)
    page.click("#work summary")
    page.wait_for_selector("#upkeep li")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click(f"#results .title button:has-text('{'t' * 300}')")
    page.wait_for_selector("#reader[open]")
    assert page.evaluate(
        "document.getElementById('reader').scrollWidth <= document.getElementById('reader').clientWidth"
    )


def test_somebody_walks_through_all_of_it_by_tab(page):
    """Nothing holds the keyboard, and whatever is stood on can be seen."""
    ask(page, "the cat sleeps", 3)
    page.click("#work summary")
    page.wait_for_selector("#tasks li")
    page.evaluate("document.activeElement.blur(), getSelection().removeAllRanges()")
    page.focus(".skip")
    seen = []
    for _ in range(60):
        where = page.evaluate(
            "(() => { const now = document.activeElement; const box = now.getBoundingClientRect();"
            " return [now.id || now.textContent.trim() || now.tagName, now === document.body || box.width > 0] })()"
        )
        if where[0] in seen[:1] or (seen and where[0] == "BODY"):
            break
        assert where[1], where
        seen.append(where[0])
        page.keyboard.press("Tab")
    for reached in ("query", "mode", "explain", "where", "More like this", "Read its sources again", "The API"):
        assert reached in seen, seen


def test_a_wait_for_the_model_does_not_mix_answers(page):
    """What was typed first is answered last, and is not shown."""
    held = []

    def answer(route):
        if "first" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/v1/search", answer)
    page.fill("#query", "first words")
    page.press("#query", "Enter")
    page.wait_for_selector("[aria-busy]", state="attached")
    ask(page, "the dog runs in the park", 3)
    for route in held:
        route.abort()
    assert titles(page)[0] == "Dogs"
    assert page.is_hidden("#failure", timeout=PATIENT)
