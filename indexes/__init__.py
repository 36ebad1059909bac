"""Index backends, one a file; reached by name through the entry points `semsearch.indexes`."""
