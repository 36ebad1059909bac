"""Who may do what: keys, each with a role and the collections it is for, kept as digests in a file.

A key is 256 random bits, so one round of SHA-256 hides it; a password would need a slow one. Each line of the file is a
JSON object::

    {"name": "laptop", "digest": "sha256:…", "role": "read", "collections": ["notes"]}

Without `collections` a key is for all of them. The file is read when the server starts, and again when it changes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from semsearch.errors import UsageError
from semsearch.names import check_name, normal
from semsearch.plain_files import NotPlain, read_plain

log = logging.getLogger("semsearch")

KEY_ROLES = ("read", "write", "admin")  # each may do what those before it may
MAX_KEYS_FILE = 1 << 20  # bytes
SETTLED_SECONDS = 1.0  # that a file which is written in its place must be left alone before it is read
KEY_PREFIX = "sk-semsearch-"
DIGEST_PREFIX = "sha256:"


@dataclass(frozen=True, slots=True)
class Grant:
    """What the holder of a key may do.

    Attributes:
        name: Of the key, for the log.
        role: One of `KEY_ROLES`; "none" for who has no key.
        collections: That it is for; None for all.
    """

    name: str
    role: str
    collections: frozenset[str] | None = None

    def has(self, role: str) -> bool:
        """Whether its role is that one, or may do more."""
        return self.role in KEY_ROLES and KEY_ROLES.index(self.role) >= KEY_ROLES.index(role)

    def covers(self, collection: str) -> bool:
        """Whether it is for that collection."""
        return self.collections is None or normal(collection) in self.collections


OWNER = Grant("owner", "admin")  # of a server without keys, which only this machine reaches
NOBODY = Grant("nobody", "none", frozenset())  # who gives no key where there are some


class Keyring:
    """The keys of a server."""

    def __init__(self, grants: Iterable[tuple[bytes, Grant]]) -> None:
        """Each grant with the digest of its key."""
        self._grants = list(grants)

    def __len__(self) -> int:
        return len(self._grants)

    @classmethod
    def read(cls, file: Path) -> Self:
        """The keys in a file.

        Raises:
            UsageError: It is no such file, or others than its owner may write it; says what to do.
        """
        return cls((bytes.fromhex(line["digest"].removeprefix(DIGEST_PREFIX)), _grant(line)) for line in _lines(file))

    def grant(self, key: str) -> Grant | None:
        """What a key is for; None for one that is unknown. It takes as long whichever it is."""
        digest, found = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest(), None
        for known, grant in self._grants:
            if hmac.compare_digest(known, digest):
                found = grant
        return found


FileState = tuple[int, int, int, int, int]  # what changes with a file: its number, bytes, times, mode


class KeysFile(Keyring):
    """The keys of a file as it is now: looked at before each is told, and read again where it has changed.

    A new file in its place is whole, and read at once; one that is written in its place is read when nobody has written
    it for a second. What can't be read, or is no file of keys, leaves the keys as they were, and is told in the log.
    """

    def __init__(
        self, file: Path, now: Callable[[], float] = time.time, settled: Callable[[], float] = time.monotonic
    ) -> None:
        """Read it; `now` and `settled` are clocks.

        Raises:
            UsageError: See `Keyring.read`.
        """
        self._file = file
        self._now, self._settled = now, settled
        self._state = _state(file)  # before it is read: what changes meanwhile is read again
        self._changed: tuple[FileState | None, float] | None = None  # what it is since, and when that was first seen
        super().__init__(Keyring.read(file)._grants)

    def grant(self, key: str) -> Grant | None:
        """See `Keyring.grant`."""
        state = _state(self._file)
        if state != self._state:
            self._renew(state)
        return super().grant(key)

    def _renew(self, state: FileState | None) -> None:
        if self._changed is None or self._changed[0] != state:
            self._changed = (state, self._settled())
        if not self._is_whole(state):
            return
        try:
            found = Keyring.read(self._file)._grants
        except UsageError as error:
            if _state(self._file) == state:  # else it changed meanwhile, and is looked at again
                self._state = state
                log.warning("the keys stay as they were: %s", error)
            return
        if _state(self._file) == state:
            self._grants, self._state = found, state
            log.warning("the keys were read again from %s: there are %d.", self._file, len(found))

    def _is_whole(self, state: FileState | None) -> bool:
        """Whether nobody is in the midst of writing it."""
        if state is None or self._state is None or state[0] != self._state[0]:
            return True
        assert self._changed is not None
        since_seen = self._settled() - self._changed[1]
        return max(since_seen, self._now() - state[2] / 1e9) >= SETTLED_SECONDS


def _state(file: Path) -> FileState | None:
    try:
        found = file.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode


def add_key(file: Path, name: str, role: str, collections: Sequence[str] = ()) -> str:
    """Make a key, write its digest into a file, and give it: it is told once and kept nowhere.

    Raises:
        UsageError: There is a key of that name, or something that can't be.
    """
    if role not in KEY_ROLES:
        raise UsageError(f"a key's role is {', '.join(KEY_ROLES[:-1])} or {KEY_ROLES[-1]}, not {role!r}.")
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise UsageError("a key has a name of at most 100 visible characters, which the log tells.")
    lines = _lines(file) if os.path.lexists(file) else []
    if any(line["name"] == name for line in lines):
        raise UsageError(f"there is a key '{name}' in {file}: take its line away first, or choose another name.")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    line: dict[str, Any] = {
        "name": name,
        "digest": DIGEST_PREFIX + hashlib.sha256(key.encode()).hexdigest(),
        "role": role,
    }
    if collections:
        line["collections"] = [check_name(one) for one in collections]
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in [*lines, line])
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:
        written.write(text)
        written.flush()
        os.fsync(written.fileno())
    beside.replace(file)
    return key


def _grant(line: dict[str, Any]) -> Grant:
    collections = line.get("collections")
    return Grant(line["name"], line["role"], None if collections is None else frozenset(map(normal, collections)))


def _lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a file of keys, checked."""
    try:
        mode = file.lstat().st_mode
        if stat.S_ISREG(mode) and mode & 0o022 and os.name != "nt":
            raise UsageError(f"{file} may be written by others than its owner, who could give keys away: chmod 600 it.")
        text = read_plain(file, MAX_KEYS_FILE).decode()
    except FileNotFoundError:
        raise UsageError(
            f"there is no file {file}: 'semsearch key {file} NAME' makes a key and writes its digest there."
        ) from None
    except (NotPlain, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the keys in {file} can't be read: {error}") from error
    return [_line(line, f"{file}, line {number}") for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _line(text: str, where: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
        digest = bytes.fromhex(line["digest"].removeprefix(DIGEST_PREFIX))
        collections = line.get("collections")
        sound = (
            set(line) <= {"name", "digest", "role", "collections"}
            and isinstance(line["name"], str)
            and len(digest) == hashlib.sha256().digest_size
            and line["role"] in KEY_ROLES
            and (
                collections is None or (isinstance(collections, list) and all(type(one) is str for one in collections))
            )
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise UsageError(
            f"{where} is no key: it must be a JSON object with 'name', 'digest' (sha256:…), 'role' "
            f"({', '.join(KEY_ROLES)}) and perhaps 'collections', a list of names."
        )
    return dict(line)
