"""Makes `schema-N.tar.gz`: a small collection as this version writes it, to be readable for ever.

Run it once for each schema version, when the version is final: `PYTHONPATH=tests python -m support.golden`. It refuses
to replace a file, for an old collection can only be written by the old version.
"""

import json
import sys
import tarfile
import tempfile
from pathlib import Path

import semsearch
from semsearch.engine import Origin, Settlement
from semsearch.local.store import schema
from semsearch.types import Document
from support.fakes import HashEncoder

GOLDEN = Path(__file__).parents[1] / "golden"
DIM = 4
DOCUMENTS = [
    Document("plain", "water boils at a hundred degrees"),
    Document("titled", "the cat sleeps on the warm sofa", title="Cats"),
    Document("numbers", "wine of a good year", metadata={"year": 1990, "price": 7.5, "sold": True, "note": None}),
    Document("lists", "a bird sings in the old tree", metadata={"tags": ["sky", "song"], "place": {"country": "FR"}}),
    Document("zwölf/🦊", "Füchse jagen nachts; שלום", title="Füchse"),
    *[Document(f"many{number}", f"filler number {number}", metadata={"n": number}) for number in range(20)],
]
LONG = Document("long", "pages and pages\r\n" * 5_000 + "the end 🦊")  # since version 4
PLACED = ("titled", "cats.txt", '{"lines":[[0,7]]}')  # since version 5: a document, its file, and where in it
CHANGED = Document("changed", "these are the new words")
REMOVED = Document("removed", "this is gone")


def make(home):
    """The collection `golden` in `home`: an index, rows newer than it, a change and a removal."""
    with semsearch.create("golden", encoder=HashEncoder(DIM), home=home, index="hnsw") as collection:
        collection.add([*DOCUMENTS[:-3], Document("changed", "these were the old words"), REMOVED])
        collection.reindex("hnsw", {"M": 4, "deterministic": True})
        origins = collection.engine.origins
        number, files = origins.register(json.dumps({"kind": "text", "path": "somewhere"}), [PLACED[1]])
        given = Origin(number, files[PLACED[1]].number, PLACED[2])
        origins.settle(number, Settlement([{PLACED[0]: given}], frozenset(), {}, (), ()))
        collection.add([*DOCUMENTS[-3:], CHANGED, LONG])
        collection.remove([REMOVED.id])


if __name__ == "__main__":
    target = GOLDEN / f"schema-{schema.SCHEMA_VERSION}.tar.gz"
    if target.exists():
        sys.exit(f"{target} is there, and stays")
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        for name in ("lock", "rebuild"):
            (Path(folder) / "golden" / name).unlink(missing_ok=True)
        with tarfile.open(target, "w:gz") as archive:
            archive.add(Path(folder) / "golden", "golden")
    print(target, target.stat().st_size, "bytes")  # noqa: T201
