"""Pages of every public name, from the docstrings: `make docs` writes them to build/docs."""

import sys
from pathlib import Path

import pdoc

import semsearch
from semsearch import federation

MODULES = ("semsearch", "semsearch.types", "semsearch.errors", "semsearch.testing")


def build(target: Path) -> None:
    """Write the pages into the folder `target`."""
    for name in semsearch.__all__:  # loaded when first asked for, which pdoc doesn't
        setattr(semsearch, name, getattr(semsearch, name))
    semsearch.search = federation.search  # which the package of that name calls
    pdoc.render.configure(docformat="google", search=True)
    pdoc.pdoc(*MODULES, output_directory=target)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
