"""What the server that doomed processes are forked from has imported already."""

import annoy  # noqa: F401
import faiss  # noqa: F401
import hnswlib  # noqa: F401
import torch  # noqa: F401

import indexes.annoy
import indexes.exact
import indexes.faiss_ivf
import indexes.hnsw  # noqa: F401
import semsearch.chunking  # noqa: F401
from support import operations  # noqa: F401
