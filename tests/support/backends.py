"""The names of the backends that come with semsearch, for tests that hold them all."""

from semsearch import plugins

BUILT_IN = plugins.names("semsearch.indexes")
APPROXIMATE = [name for name in BUILT_IN if not plugins.index_backend(name).exact]
