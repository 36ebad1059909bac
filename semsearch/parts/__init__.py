"""Encoding spread over many machines: parts of a source, each made anywhere and once, loaded into any engine."""
