"""What every attacked process would import for itself, which takes longer than most attacks."""

import contextlib
import importlib
import pkgutil

PACKAGES = ("semsearch", "indexes", "corpora")
LIBRARIES = (
    *(
        "torch",
        "transformers",
        "tokenizers",
        "safetensors.torch",
        "httpx",
        "hnswlib",
        "faiss",
        "annoy",
        "isal.isal_zlib",
    ),
    *("pyarrow.parquet", "lxml.html", "pypdf", "docx", "numpy.ma", "sqlalchemy.dialects.sqlite"),
)


def preload():
    """Import it; nothing is computed, so that no thread is there when processes are forked."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                with contextlib.suppress(ImportError):
                    importlib.import_module(module.name)
