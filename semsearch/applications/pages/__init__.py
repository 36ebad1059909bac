"""Pages that are one file: what is put into them is escaped, and they load and run nothing that is not theirs."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


def page(template: str, **parts: Any) -> str:
    """A page from a template of this folder, in which every part is escaped that is no `Markup`."""
    made = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True).from_string(
        own(template)
    )
    return made.render(parts)


@cache
def own(file: str) -> str:
    """The content of a file of this folder."""
    return files("semsearch.applications.pages").joinpath(file).read_text("utf-8")


def inline(file: str) -> tuple[Markup, str]:
    """A script or a style sheet of this folder as it goes into a page, and its source for the page's policy."""
    content = own(file)
    digest = b64encode(sha256(content.encode("utf-8")).digest()).decode("ascii")
    return Markup(content), f"sha256-{digest}"
