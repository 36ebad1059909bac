"""The collection on disk: SQLite is the truth, vectors lie beside it, an index is a cache."""
