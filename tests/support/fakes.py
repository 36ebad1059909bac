"""Encoders without a model."""

from semsearch.testing.encoder import HashEncoder, SparseWords

__all__ = ["HashEncoder", "SparseWords"]
