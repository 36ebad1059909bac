"""Vectors and documents out of a collection, and in from other systems."""
