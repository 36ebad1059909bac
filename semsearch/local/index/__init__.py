"""Indexes of vectors: which to build, building, files, loading."""
