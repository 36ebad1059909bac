"""An encoder without a model."""

from semsearch.testing.encoder import HashEncoder

__all__ = ["HashEncoder"]
