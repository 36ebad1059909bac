"""From a question to hits; called, it is `semsearch.federation.search`, which asks several collections at once."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Search(ModuleType):
    """This package, which `semsearch.search(["films", "papers"], "…")` calls: it and the function have one name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """See `semsearch.federation.search`."""
        return import_module("semsearch.federation").search(*arguments, **options)


sys.modules[__name__].__class__ = _Search
