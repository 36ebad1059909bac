"""The page to search with, at `/`: files of the package, under a policy that lets nothing else run.

The page is open to whoever reaches the server, since it holds nothing; what it asks passes the gate like all else, with
the key that it asks for.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from semsearch.applications.pages import inline
from semsearch.server.failures import Refusal
from semsearch.server.operations import Call, HTTPAnswer, Table

routes = Table("page")

MEDIA_TYPES = {
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(
        (
            *("page.js", "api.js", "state.js", "filters.js", "hits.js", "reader.js"),
            *("tasks.js", "indexing.js", "drawings.js", "pages.js", "pictures.js"),
        ),
        "text/javascript; charset=utf-8",
    ),
}
HTML = "text/html; charset=utf-8"
# Maps and topics are shown in a frame that this policy holds for, too: their script and styles are named by digest.
_SCRIPTS, _STYLES = (
    " ".join(f"'{inline(*names)[1]}'" for names in of_pages)
    for of_pages in ([("map.js",)], [("base.css", "map.css"), ("base.css", "topics.css")])
)
POLICY = {
    "Content-Security-Policy": f"default-src 'none'; script-src 'self' {_SCRIPTS}; style-src 'self' {_STYLES}; "
    "img-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
}
OPEN_PATHS = frozenset({"/", *(f"/page/{name}" for name in MEDIA_TYPES)})


@cache
def _content(name: str) -> bytes:
    return files("semsearch.server").joinpath("page", name).read_bytes()


@routes.add("GET", "/", "The page to search with", role=None, gives=HTML)
def page(call: Call[None]) -> HTTPAnswer:
    """For people: search as you type, filters, documents, and how far the server's work is."""
    return HTTPAnswer(_content("index.html"), media_type=HTML, headers=POLICY)


@routes.add("GET", "/page/{file}", "A file of the page", role=None, gives="*/*")
def page_file(call: Call[Any]) -> HTTPAnswer:
    """Its scripts and styles."""
    name = call.path["file"]
    if name not in MEDIA_TYPES:
        raise Refusal(404, "not_found", "the page has no such file.")
    return HTTPAnswer(_content(name), media_type=MEDIA_TYPES[name], headers=POLICY)
