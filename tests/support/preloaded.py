"""What the server that doomed processes are forked from has imported already."""

import semsearch.chunking  # noqa: F401
from semsearch import plugins
from support import operations  # noqa: F401
from support.backends import BUILT_IN

for _backend in map(plugins.index_backend, BUILT_IN):
    if _backend.library.installed:
        _backend.library.load()
