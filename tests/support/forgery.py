"""Index files as somebody else might have written them: every digest is right, and what they hold is not."""

import hashlib
import json
import sqlite3
from contextlib import closing

from semsearch.local.index.generation import GENERATION_MANIFEST
from semsearch.local.index.tags import TAG_PREFIX


def disown(folder):
    """Take the tags from an index, as if it had been built on another machine."""
    for path in folder.glob(f"{TAG_PREFIX}*"):
        path.unlink()


def forge(folder):
    """Make the manifest in `folder` tell the digests of the files as they are now, and take the tags away."""
    disown(folder)
    path = folder / GENERATION_MANIFEST
    manifest = json.loads(path.read_text())
    for name in manifest["files"]:
        content = (folder / name).read_bytes()
        manifest["files"][name] = hashlib.sha256(content).hexdigest()
        manifest["sizes"][name] = len(content)
    path.write_text(json.dumps(manifest))


def publish(collection):
    """Make the database in the folder of a collection tell the digest of each index's manifest as it is now."""
    with closing(sqlite3.connect(collection / "collection.sqlite")) as connection, connection:
        for path in (collection / "indexes").glob(f"*/{GENERATION_MANIFEST}"):
            number = int(path.parent.name.rpartition("-")[2])
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            connection.execute("UPDATE indexes SET digest = ? WHERE number = ?", (digest, number))
