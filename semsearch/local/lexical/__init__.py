"""Indexes of words: postings on disk and BM25 over one snapshot."""
