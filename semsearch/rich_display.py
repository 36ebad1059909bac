"""What a notebook shows: hits and collections as tables, and how far the work is.

Texts are anybody's: all of them are escaped, and neither scripts nor formulas in them come to life.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from semsearch.arguments import check_progress
from semsearch.controls import printable

SHOWN_CHARACTERS = 400  # of a passage
_QUIET = "tex2jax_ignore mathjax_ignore"  # classes that keep notebooks from setting $…$ as formulas


def hits_table(hits: Sequence[Any], notes: Iterable[str] = ()) -> str:
    """Hits as an HTML table, with what is to be said of them below."""
    several = any(hit.collection for hit in hits)
    rows = [
        (
            str(hit.rank),
            f"{hit.score:.3f}",
            *((hit.collection or "",) if several else ()),
            *(hit.id, hit.title, _shortened(hit.text), _fields(hit.metadata)),
        )
        for hit in hits
    ]
    said = "".join(f"<p>{_safe(note)}</p>" for note in notes)
    if not rows:
        return f'<div class="{_QUIET}"><p>no hits</p>{said}</div>'
    names = ("", "score", *(("collection",) if several else ()), "id", "title", "text", "metadata")
    return f'<div class="{_QUIET}">{_table(names, rows)}{said}</div>'


def facts_table(title: str, facts: Mapping[str, object]) -> str:
    """What there is to know of something, as an HTML table under a heading."""
    rows = [(name, str(value)) for name, value in facts.items() if value is not None]
    return f'<div class="{_QUIET}"><b>{_safe(title)}</b>{_table((), rows)}</div>'


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    left = ' style="text-align: left; vertical-align: top"'
    head = "".join(f"<th{left}>{_safe(name)}</th>" for name in names)
    lines = ["".join(f"<td{left}>{_safe(cell)}</td>" for cell in row) for row in rows]
    return f"<table>{f'<tr>{head}</tr>' if names else ''}{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _fields(metadata: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {_shortened(str(value), 60)}" for name, value in metadata.items())


def _shortened(text: str, most: int = SHOWN_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _safe(text: str) -> str:
    return escape(printable(text))


def is_notebook() -> bool:
    """Whether a person looks at a notebook, as far as this process knows."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextmanager
def told(
    progress: Callable[[Any], None] | bool | None, name: str, documents: object = None
) -> Iterator[Callable[[Any], None] | None]:
    """What to call with how far the work is: what was given, or a bar that is shown meanwhile, or nothing.

    Args:
        progress: What to call; True: show a bar; False: show none; None: show one in notebooks.
        name: Of the bar.
        documents: What is gone through; a list tells how much there is to do.
    """
    if progress is not None and not isinstance(progress, bool):
        check_progress(progress)
        yield progress
        return
    if progress is False or (progress is None and not is_notebook()):
        yield None
        return
    from tqdm import TqdmWarning

    total = len(documents) if hasattr(documents, "__len__") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)  # without ipywidgets the bar is of letters
        from tqdm.auto import tqdm

        bar = tqdm(total=total, desc=printable(name), unit=" documents")

    def show(step: Any) -> None:
        done = step if isinstance(step, int) else step.documents
        bar.update(max(0, done - bar.n))
        if not isinstance(step, int):
            bar.set_postfix_str(f"{step.passages:,} passages encoded")

    with bar:
        yield show
