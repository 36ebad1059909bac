"""Pages that are one file: what is put into them is escaped, and they load and run nothing that is not theirs."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


def page(kind: str, *, scripted: bool, **parts: Any) -> str:
    """A page of a kind: `kind.html`, with `kind.css` and `kind.js`; every part is escaped that is no `Markup`."""
    style, style_hash = inline("base.css", f"{kind}.css")
    script, script_hash = inline(f"{kind}.js") if scripted else (Markup(), "")
    templates = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True, loader=FunctionLoader(own)
    )
    policy = {"style": style, "style_hash": style_hash, "script": script, "script_hash": script_hash}
    return templates.get_template(f"{kind}.html").render({**parts, **policy})


@cache
def own(file: str) -> str:
    """The content of a file of this folder."""
    return files("semsearch.applications.pages").joinpath(file).read_text("utf-8")


def inline(*names: str) -> tuple[Markup, str]:
    """A script or style sheets of this folder as they go into a page, and their source for the page's policy."""
    content = "".join(map(own, names))
    digest = b64encode(sha256(content.encode("utf-8")).digest()).decode("ascii")
    return Markup(content), f"sha256-{digest}"
