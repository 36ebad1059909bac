"""What the exchangeable parts must do, as tests that a third party's part inherits. Needs pytest."""

from semsearch.testing.indexes import IndexContract, make_keys, make_vectors
from semsearch.testing.readers import ReaderContract

__all__ = ["IndexContract", "ReaderContract", "make_keys", "make_vectors"]
