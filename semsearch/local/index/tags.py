"""Whether an index was built here: a tag beside it that only who holds this user's key can make.

A digest tells damage, and no intent: whoever writes a folder writes its digests, too. So the digest of a manifest is
tagged (HMAC-SHA256) with a key that lies outside of every collection. Several users of one folder have a tag each, and
none disturbs another's. What has no tag of ours came from elsewhere: it is looked through before a library reads it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from pathlib import Path

from semsearch.local.store import platform
from semsearch.state import state_folder

log = logging.getLogger("semsearch")

KEY_FILE = "index.key"
KEY_BYTES = 32
TAG_PREFIX = "tag-"


def write_tag(folder: Path, digest: str) -> Path | None:
    """Note in the folder of a finished index, whose manifest has this digest, that it was built here; the file."""
    key = _key()
    if key is None:
        return None
    path = folder / _name(key)
    path.write_text(_tag(key, digest), "ascii")
    return path


def built_here(folder: Path, digest: str) -> bool:
    """Whether the index in `folder`, whose manifest has this digest, was built with this user's key."""
    key = _key()
    if key is None:
        return False
    try:
        with (folder / _name(key)).open("rb") as file:
            found = file.read(len(_tag(key, digest)) + 1)
    except OSError:
        return False
    return hmac.compare_digest(found, _tag(key, digest).encode())


def tagged(folder: Path) -> bool:
    """Whether anybody says to have built the index in `folder`; proves nothing."""
    try:
        return any(path.name.startswith(TAG_PREFIX) for path in folder.iterdir())
    except OSError:  # who can't look can't say that nobody did
        return True


def keeps_key() -> bool:
    """Whether there is a key, so that what is built here is known again."""
    return _key() is not None


def _name(key: bytes) -> str:
    return TAG_PREFIX + hashlib.sha256(b"name of " + key).hexdigest()[:16]


def _tag(key: bytes, digest: str) -> str:
    return hmac.new(key, b"semsearch index " + digest.encode(), "sha256").hexdigest()


def _key() -> bytes | None:
    return _kept_in(state_folder())


_keys: dict[Path, bytes] = {}
_told: set[Path | None] = set()  # folders of which was said that they can't keep one


def _kept_in(folder: Path | None) -> bytes | None:
    """The key in a folder, made on first use; None where none can be kept, for now."""
    if folder in _keys:
        return _keys[folder]
    key, why = None, "there is no such folder"
    if folder is not None:
        try:
            key = _keys[folder] = _made(folder / KEY_FILE)
        except OSError as error:
            why = error.strerror or str(error)
        except ValueError as error:
            why = str(error)
    if key is None and folder not in _told:
        _told.add(folder)
        log.warning(
            "no key can be kept in %s (%s), so that an index built here is not known again: its structure is looked "
            "through each time it is loaded. SEMSEARCH_STATE names another folder.",
            folder or "the folder for this user's state",
            why,
        )
    return key


def _made(path: Path) -> bytes:
    """The key at `path`; of two processes that make it at once, both get the same."""
    if not os.path.lexists(path):
        platform.make_private(path, secrets.token_bytes(KEY_BYTES))
    key = platform.read_private(path, KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path.name} holds no key, remove it")
    return key
