"""The engine on this machine: one folder a collection, SQLite for the truth, mapped vectors, indexes as a cache."""
