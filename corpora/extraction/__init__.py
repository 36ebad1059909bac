"""From the files that people have to their text, part by part: which kind of file is taken apart by what.

What is here runs in a process of its own (`corpora.confined`): a file may be broken or hostile, and its library too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, TypeAlias

from corpora.extraction.parts import ReadPart

Extract: TypeAlias = Callable[[BinaryIO], Iterator[ReadPart]]

KINDS = {  # suffix → function of this package
    ".txt": "plain:text",
    ".rst": "plain:text",
    ".md": "markdown:markdown",
    ".markdown": "markdown:markdown",
    ".html": "html:html",
    ".htm": "html:html",
    ".xhtml": "html:html",
    ".pdf": "pdf:pdf",
    ".docx": "docx:docx",
    ".pptx": "pptx:pptx",
    ".xlsx": "xlsx:xlsx",
    ".odt": "odt:odt",
    ".odp": "odp:odp",
    ".ods": "ods:ods",
    ".rtf": "rtf:rtf",
    ".ipynb": "notebook:notebook",
    ".epub": "epub:epub",
    ".eml": "mail:message",
    ".mbox": "mail:mailbox",
    ".py": "code:python",
    ".js": "code:javascript",
    ".mjs": "code:javascript",
    ".jsx": "code:javascript",
    ".ts": "code:typescript",
    ".tsx": "code:tsx",
    ".java": "code:java",
    ".go": "code:go",
    ".rs": "code:rust",
    ".c": "code:c",
    ".h": "code:c",
    ".cc": "code:cpp",
    ".cpp": "code:cpp",
    ".hpp": "code:cpp",
    ".rb": "code:ruby",
}


PICTURES = dict.fromkeys(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".heic", ".heif"), "picture:picture"
)
TEXT_KINDS = (
    "plain",
    "markdown",
    "code",
    "notebook",
)  # modules for files of text, which do not say its encoding


def extractor(path: Path) -> Extract:
    """What takes apart a file of this name; its library is imported now."""
    module, _, function = _kind(path).partition(":")
    found: Extract = getattr(import_module(f"corpora.extraction.{module}"), function)
    return found


def is_plain(path: Path) -> bool:
    """Whether a file of this name is text that does not say in which encoding."""
    return _kind(path).partition(":")[0] in TEXT_KINDS


def _kind(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    suffix = name[name.rindex(".") :]
    return KINDS.get(suffix) or PICTURES[suffix]
