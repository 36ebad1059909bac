"""What the exchangeable parts must do, as tests that a third party's part inherits; and an engine in memory.

The contracts need pytest, and are loaded when they are asked for: `semsearch.testing.memory` serves without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semsearch.testing.engines import EngineContract
    from semsearch.testing.indexes import IndexContract, make_keys, make_vectors
    from semsearch.testing.readers import ReaderContract

__all__ = ["EngineContract", "IndexContract", "ReaderContract", "make_keys", "make_vectors"]

_LAZY = {
    "EngineContract": "semsearch.testing.engines",
    "IndexContract": "semsearch.testing.indexes",
    "ReaderContract": "semsearch.testing.readers",
    "make_keys": "semsearch.testing.indexes",
    "make_vectors": "semsearch.testing.indexes",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import pytest

        pytest.register_assert_rewrite(_LAZY[name])  # so that a failing assertion shows its values
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'semsearch.testing' has no attribute '{name}'")
