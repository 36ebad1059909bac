"""Who asks the tools: what they may see, and where their questions are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio.to_thread

from semsearch.errors import SemsearchError

AnyWork = Callable[[], Any]


async def _in_a_thread(work: AnyWork) -> Any:
    return await anyio.to_thread.run_sync(work)


def _sentence(error: Exception) -> str | None:
    """What is an error on purpose, in its own words; nothing of what nobody expected."""
    return " ".join([str(error), *getattr(error, "__notes__", ())]) if isinstance(error, SemsearchError) else None


def _everything(name: str) -> bool:
    return True


def _as_it_is(path: str) -> str:
    return path


def _default_reranker(asked: bool) -> bool | str | None:
    return asked or None


@dataclass(frozen=True, slots=True)
class Asker:
    """By default the person whose machine this is, who may see everything.

    Attributes:
        covers: Whether a collection is theirs to see.
        shown_path: What they see of the path of a file.
        shown_model: What they see of the name of a model, which may be a path.
        reranker: What `rerank` of a search is for them.
        sentence: What they are told of an error; None for one that says nothing.
        run: Does what blocks, beside the event loop.
    """

    covers: Callable[[str], bool] = _everything
    shown_path: Callable[[str], str] = _as_it_is
    shown_model: Callable[[str], str] = _as_it_is
    reranker: Callable[[bool], bool | str | None] = _default_reranker
    sentence: Callable[[Exception], str | None] = _sentence
    run: Callable[[AnyWork], Awaitable[Any]] = _in_a_thread


def only(*names: str) -> Asker:
    """The person whose machine this is, who wants no others seen."""
    return Asker(covers=partial(_is_among, names)) if names else Asker()


def _is_among(names: tuple[str, ...], name: str) -> bool:
    return name in names
