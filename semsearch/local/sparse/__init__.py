"""The sparse vectors of a collection: an inverted index of them, and the search in it."""
