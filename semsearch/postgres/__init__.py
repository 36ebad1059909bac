"""The engine on PostgreSQL with pgvector: a schema a collection, for several machines that write and read."""
