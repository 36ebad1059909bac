"""Work that is begun from the page, in a real browser: folders indexed, tasks followed and cancelled, files opened."""

import re
import threading

import numpy as np
import pytest
from support.browser import EXPECTED, ask, opened, results, titles
from support.pdf import assembled

from semsearch.server.keys import Keyring, add_key

pytestmark = [pytest.mark.chromium, pytest.mark.slow]

REPORT = "<script>document.title = 'owned'</script><p>the owl hunts at night</p>"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "papers"
    made.mkdir()
    (made / "tea.txt").write_text("tea is made with hot water", "utf-8")
    (made / "owl.html").write_text(REPORT, "utf-8")
    return made


@pytest.fixture
def indexing(serve, fill, folder):
    """A server that may index a folder."""
    with serve(folders={"papers": folder}) as running:
        fill(running)
        yield running


def begin(page, into, path=""):
    page.fill("#path", path)
    page.fill("#into", into)
    page.press("#into", "Enter")


def index(page, into="papers"):
    page.click("#work summary")
    begin(page, into)
    page.wait_for_selector("#tasks li:has-text(': done')")


def test_a_folder_is_indexed_into_a_collection_that_is_made_for_it(browser, indexing):
    with opened(browser, indexing) as page:
        ask(page, "tea with hot water", 3)
        index(page)
        page.wait_for_selector("#collections label:has-text('papers')")
        page.wait_for_selector("#upkeep li:has-text('papers: 2 documents')")
        page.wait_for_selector("#results .title button:has-text('tea')")
        assert page.inner_text("#tasks li >> nth=0").startswith("index papers: done (added 2")
        assert page.text_content("#work-said").startswith("index papers: done")


def test_what_can_not_be_indexed_is_told_beside_it(browser, indexing):
    with opened(browser, indexing) as page:
        page.click("#work summary")
        for into, path, message in (
            ("papers", "../..", "leads out of the folder"),
            ("papers", "nothing.txt", "there is no 'nothing.txt'"),
            ("a/b", "", "name"),
        ):
            begin(page, into, path)
            page.wait_for_selector(f"#indexing-error:has-text({message!r})")
        assert page.evaluate("document.activeElement.id") == "into"
        assert [one["name"] for one in indexing.ask("/v1/collections")["collections"]] == ["animals"]
        begin(page, "papers")
        page.wait_for_selector("#tasks li:has-text('index papers: done')")
        assert page.is_hidden("#indexing-error")


def test_without_folders_it_says_how_they_are_named(browser, server):
    with opened(browser, server) as page:
        page.click("#work summary")
        page.wait_for_selector("#no-folders:has-text('--folder NAME=PATH')")
        assert page.is_hidden("#has-folders")


def test_a_task_is_followed_and_cancelled_by_keys(browser, indexing, monkeypatch):
    entered, go_on = threading.Event(), threading.Event()

    def slow(collection, documents, progress=None, **_):
        entered.set()
        while not go_on.wait(0.05):
            progress(type("Done", (), {"documents": 7, "passages": 8})())
        progress(type("Done", (), {"documents": 7, "passages": 8})())

    monkeypatch.setattr("semsearch.collection.Collection.add_from", slow)
    try:
        with opened(browser, indexing) as page:
            page.click("#work summary")
            begin(page, "animals")
            assert entered.wait(60)
            page.wait_for_selector("#tasks li:has-text('documents 7, passages 8')")
            page.focus("#tasks button")
            for _ in range(2):  # looks later the button is the same one
                page.wait_for_event("response", lambda answer: answer.url.endswith("/v1/tasks"))
            assert page.evaluate("document.activeElement.textContent") == "Cancel"
            page.keyboard.press("Enter")
            page.wait_for_selector("#tasks li:has-text('index animals: cancelled')")
            assert page.locator("#tasks button:visible").count() == 0
            assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    finally:
        go_on.set()


def test_who_may_only_read_is_offered_nothing_else(browser, serve, fill, folder, tmp_path):
    file = tmp_path / "keys"
    admin, reader = add_key(file, "admin", "admin"), add_key(file, "reader", "read")
    with serve(keyring=Keyring.read(file), folders={"papers": folder}) as running:
        running.client.headers["Authorization"] = f"Bearer {admin}"
        fill(running)
        with opened(browser, running) as page:
            page.wait_for_selector("#key-asked[open]")
            page.fill("#key", reader)
            page.keyboard.press("Enter")
            page.wait_for_selector("#fields details")
            page.click("#work summary")
            page.wait_for_selector("#upkeep li:has-text('animals')")
            assert page.locator("#upkeep button:visible").count() == 0
            assert page.is_hidden("#indexing")


@pytest.mark.parametrize("keyed", [False, True])
def test_the_file_of_a_result_is_opened_or_saved(browser, serve, fill, folder, tmp_path, keyed):
    """What is plain text is shown; a page, which could hold anything, is saved. A key is in no address."""
    file = tmp_path / "keys"
    secret = add_key(file, "me", "admin")
    with serve(keyring=Keyring.read(file) if keyed else None, folders={"papers": folder}) as running:
        running.client.headers["Authorization"] = f"Bearer {secret}"
        fill(running)
        with opened(browser, running) as page:
            if keyed:
                page.wait_for_selector("#key-asked[open]")
                page.fill("#key", secret)
                page.keyboard.press("Enter")
            page.wait_for_selector("#fields details")
            index(page)
            page.wait_for_selector("#collections label:has-text('papers')")
            page.check("#collections label:has-text('papers') input")
            ask(page, "tea is made with hot water", 2)
            page.focus("#query")
            page.keyboard.press("ArrowDown")
            with page.context.expect_page() as shown:
                page.keyboard.press("o")
            shown.value.wait_for_selector("body:has-text('tea is made with hot water')")
            assert secret not in shown.value.url
            shown.value.close()
            ask(page, "the owl hunts at night", 2)
            with page.expect_download() as saved:
                page.click("#results > li >> nth=0 >> text=Original")
            assert saved.value.suggested_filename == "owl.html"
            assert saved.value.path().read_text("utf-8") == REPORT
            assert page.title() == "semsearch"
            (folder / "owl.html").unlink()
            page.click("#results > li >> nth=0 >> text=Original")
            page.wait_for_selector("#failure:has-text('the file of the document is not there any more')")
        assert not any(secret in str(note) for note in running.noted)


def test_documents_of_no_file_offer_none(browser, server):
    with opened(browser, server) as page:
        ask(page, "the cat sleeps", 3)
        assert page.locator("#results button:has-text('Original')").count() == 0
        page.press("#query", "ArrowDown")
        page.keyboard.press("o")
        assert titles(page)[0] == "cat"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_the_work_is_accessible_on_every_screen(browser, indexing, scheme, width):
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe is not installed")
    with opened(browser, indexing) as page:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        index(page)
        begin(page, "papers", "nothing.txt")
        page.wait_for_selector("#indexing-error:not([hidden])")
        ask(page, "tea", 5)
        found = axe.Axe().run(page)["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_rerank_is_offered_where_there_is_a_reranker(browser, serve, fill):
    with serve(rerankers=("none-such",)) as running:
        fill(running)
        with opened(browser, running) as page:
            page.wait_for_selector("#fields details")
            assert page.is_visible("#rerank")
    with serve() as running, opened(browser, running) as page:
        page.wait_for_selector("#fields details")
        assert page.is_hidden("#rerank")


SHEET = assembled(
    [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>",
        *[
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents %d 0 R/Resources<</Font<</F 7 0 R>>>>>>" % at
            for at in (5, 6)
        ],
        *[
            b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn)
            for drawn in (
                b"BT /F 12 Tf 20 100 Td (the owl hunts at night) Tj ET",
                b"BT /F 12 Tf 20 100 Td (the heron stands in the water) Tj ET",
            )
        ],
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
)


def test_files_are_put_in_and_the_pages_of_a_pdf_are_seen(browser, serve, fill, tmp_path):
    """As pictures: what a PDF can do in a browser it does not do here. A key is in no address."""
    pytest.importorskip("pypdfium2", reason="the extra 'documents' is not installed")
    file = tmp_path / "keys"
    secret = add_key(file, "me", "admin")
    for name, content in (("birds #1.pdf", SHEET), ("tea.txt", b"tea is made with hot water")):
        (tmp_path / name).write_bytes(content)
    with serve(keyring=Keyring.read(file), files=tmp_path / "kept") as running:
        running.client.headers["Authorization"] = f"Bearer {secret}"
        fill(running)
        with opened(browser, running, expected=(*EXPECTED, "status of 422")) as page:
            page.wait_for_selector("#key-asked[open]")
            page.fill("#key", secret)
            page.keyboard.press("Enter")
            page.wait_for_selector("#fields details")
            page.click("#work summary")
            page.set_viewport_size({"width": 360, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            page.set_viewport_size({"width": 1200, "height": 800})
            page.set_input_files("#files", [tmp_path / "birds #1.pdf", tmp_path / "tea.txt"])
            page.fill("#uploaded-into", "sheets")
            page.press("#uploaded-into", "Enter")
            page.wait_for_selector("#uploading-said:has-text('2 of 2 files')")
            page.wait_for_selector("#tasks > li:has-text('file sheets: done') >> nth=1")
            page.wait_for_selector("#collections label:has-text('sheets')")
            page.check("#collections label:has-text('sheets') input")
            ask(page, "the heron stands in the water", 3)
            place = next(at for at, one in enumerate(results(page).all()) if "heron" in one.inner_text())
            page.click(f"#results > li >> nth={place} >> text=Original")
            page.wait_for_selector("#pages[open] img")
            assert re.fullmatch(r"page \d of 2", page.inner_text("#pages-place"))
            assert page.evaluate("document.querySelector('#pages img').naturalWidth") == 1400
            axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe is not installed")
            found = axe.Axe().run(page)["violations"]
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
            page.keyboard.press("PageUp")
            page.wait_for_selector("#pages-place:has-text('page 1 of 2')")
            assert page.is_disabled("#pages-before")
            with page.expect_download() as saved:
                page.click("#pages-save")
            assert saved.value.suggested_filename == "birds #1.pdf"
            assert saved.value.path().read_bytes() == SHEET
            page.keyboard.press("Escape")
            (tmp_path / "kept" / "sheets" / "birds #1.pdf").write_bytes(b"%PDF-1.4 nothing")
            page.click(f"#results > li >> nth={place} >> text=Original")
            page.wait_for_selector("#pages-failure:has-text('no PDF that can be drawn')")
        assert not any(secret in str(note) for note in running.noted)


def test_what_a_server_takes_no_files_of_is_told(browser, serve, fill, tmp_path):
    (tmp_path / "long.txt").write_text("x" * 5000)
    (tmp_path / "short.txt").write_text("a short text")
    with serve() as running, opened(browser, running) as page:
        page.wait_for_selector("#said")
        assert page.is_hidden("#uploading")
    with serve(files=tmp_path / "kept", max_upload=4096) as running:
        fill(running)
        with opened(browser, running) as page:
            page.wait_for_selector("#fields details")
            page.click("#work summary")
            page.set_input_files("#files", [tmp_path / "long.txt", tmp_path / "short.txt"])
            page.fill("#uploaded-into", "animals")
            page.press("#uploaded-into", "Enter")
            page.wait_for_selector("#uploading-error:has-text('long.txt has 5,000 bytes')")
            assert "1 of 2 files" in page.inner_text("#uploading-said")
            page.wait_for_selector("#tasks > li:has-text('file animals: done')")


def test_a_map_and_topics_are_drawn_within_the_page_and_lead_to_documents(browser, serve):
    nasty = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    subjects = ["whale"] * 8 + ["oven"] * 8
    vectors = np.repeat(np.eye(2), 8, axis=0) + np.random.default_rng(0).normal(0, 0.05, (16, 2))
    with serve() as running:
        running.ask("/v1/collections", {"name": "notes", "dim": 2}, 201)
        documents = [{"id": f"{one} {at}", "text": f"{nasty} {one} {at}"} for at, one in enumerate(subjects)]
        running.ask("/v1/collections/notes/documents", {"documents": documents, "vectors": vectors.tolist()})
        with opened(browser, running) as page:
            page.click("#work summary")
            page.click("#upkeep li:has-text('notes') >> text=Topics")
            page.click("#tasks > li:has-text('topics notes: done') >> text=Show")
            page.frame_locator("#drawing iframe").locator("table").first.wait_for()
            page.click("#drawing-close")
            page.click("#upkeep li:has-text('notes') >> text=Map")
            page.click("#tasks > li:has-text('map notes: done') >> text=Show")
            frame = page.frame_locator("#drawing iframe")
            frame.locator("#find").fill("oven 9")
            axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe is not installed")
            found = axe.Axe().run(page)["violations"]
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
            frame.locator("#details ol button").click()
            frame.locator("#details button:has-text('Read it')").click()
            page.wait_for_selector("#reader[open]")
            assert page.inner_text("#reader-title") == "oven 9"
            assert nasty in page.inner_text("#reader-text")
            assert page.title() == "semsearch"
            assert page.locator("iframe").count() == 0
            page.click("#reader-close")
            with page.expect_download() as saved:
                page.click("#tasks > li:has-text('map notes: done') >> text=Save")
            assert saved.value.suggested_filename == "notes-map.html"
