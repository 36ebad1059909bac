"""Zip files that documents are kept in, which could say little and mean gigabytes."""

from __future__ import annotations

import zipfile
from typing import BinaryIO

from corpora.extraction.parts import Unreadable

ALWAYS = 1 << 26  # bytes that an archive may become, however short it is
RATIO = 200  # times its own length: XML packs well, and nothing like a bomb
MAX_ENTRIES = 100_000


def opened(file: BinaryIO) -> zipfile.ZipFile:
    """The archive; what it is to become is looked at before anything is unpacked."""
    size = file.seek(0, 2)
    file.seek(0)
    archive = zipfile.ZipFile(file)
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)  # of none more is unpacked than it says
    if len(entries) > MAX_ENTRIES or total > max(ALWAYS, RATIO * size):
        raise Unreadable(f"its {size:,} bytes would become {len(entries):,} files of {total:,} bytes.")
    return archive
