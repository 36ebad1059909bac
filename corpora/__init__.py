"""Corpus readers, one a file; reached by name through the entry points `semsearch.corpora`."""
