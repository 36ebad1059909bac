"""`semsearch serve`: the collections of a home over HTTP. It knows the contract of engines, and none of them."""
