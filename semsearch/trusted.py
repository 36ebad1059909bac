"""What the person here has said may be used: homes, files of defaults, and addresses that texts may be sent to.

What comes with a clone or an archive can say nothing of itself, so all this is remembered in the person's own state
folder: a file for each, so that two processes never undo each other's. A home is known by its path, its inode and an
empty file in it of a name that nobody can guess; a file of defaults by its path and its bytes; an address by scheme,
host and port.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from semsearch.errors import StorageError, Untrusted, UsageError
from semsearch.plain_files import read_plain
from semsearch.state import state_folder

API_KEY = "SEMSEARCH_API_KEY"  # the variable of every address that has none of its own
NOWHERE = "there is no place to remember it in: name a folder that can be written with SEMSEARCH_STATE."

_said: set[str] = set()  # addresses, in this process: also where nothing can be remembered

ask: Callable[[str], bool] | None = None
"""Asks the person, who sits at a terminal, a question; set by what has one."""


def trust_home(folder: Path) -> None:
    """Use the collections of `folder` from now on.

    Raises:
        StorageError: That can't be remembered.
    """
    if trusts_home(folder):
        return
    import secrets

    token = f".trusted-{secrets.token_hex(8)}"  # another one for each person who shares the folder
    try:
        (folder / token).touch(exist_ok=False)
    except OSError:  # it can't be written: the inode must do
        token = ""
    _remember(os.path.realpath(folder), f"{folder.stat().st_ino} {token}")


def trusts_home(folder: Path) -> bool:
    """Whether that was said of this very folder, and of no other that lay there before."""
    inode, _, token = (_remembered(os.path.realpath(folder)) or "").partition(" ")
    return inode == str(folder.stat().st_ino) and (not token or (folder / token).exists())


def trust_defaults(file: Path) -> None:
    """Take defaults from `file` as it is now.

    Raises:
        StorageError: That can't be remembered.
    """
    _remember(os.path.realpath(file), _digest(file.read_bytes()))


def trusts_defaults(file: Path, content: bytes) -> bool:
    """Whether that was said of `file`, and of what is in it."""
    return _remembered(os.path.realpath(file)) == _digest(content)


def trust_address(address: str, key_variable: str | None = None) -> None:
    """Send texts, and the key, to `address`: scheme, host and port.

    Args:
        address: Of a server.
        key_variable: The environment variable that holds the key for this address alone. None leaves what was said
            before; where nothing was, and with "", it is `SEMSEARCH_API_KEY`.

    Raises:
        UsageError: That is no variable's name.
        StorageError: That can't be remembered; in this process the address is trusted.
    """
    if key_variable and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key_variable):
        raise UsageError(
            f"{key_variable!r:.60} is no name of an environment variable: say where the key stands, not the key."
        )
    _said.add(address)
    _remember(address, (_remembered(address) or "") if key_variable is None else key_variable)


def key_variable(address: str) -> str:
    """The environment variable that holds the key for `address`."""
    return _remembered(address) or API_KEY


def require_address(address: str) -> None:
    """Raise `Untrusted` unless the person said that texts may be sent to `address`, or says so when asked."""
    if address in _said:
        return
    if _remembered(address) is not None:
        _said.add(address)
    elif ask is not None and ask(f"Send texts, and {API_KEY} where it is set, to {address}?"):
        with suppress(StorageError):
            trust_address(address)
    else:
        raise Untrusted(
            f"the collection's model is behind {address}, and nobody here has said that texts, and the key in "
            f"{API_KEY}, may be sent there. If you know whose it is, type: {line(address)}"
        )


def distrust(place: str) -> bool:
    """Forget what was said of a path or an address; whether anything was."""
    key = place if "://" in place else os.path.realpath(place)
    _said.discard(key)
    record = _record(key)
    there = record is not None and record.exists()
    if record is not None:
        record.unlink(missing_ok=True)
    return there


def listed() -> list[str]:
    """The paths and addresses that were said, sorted."""
    folder = state_folder()
    found = []
    for file in () if folder is None else (folder / "trusted").glob("*.json"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            found.append(str(json.loads(read_plain(file))["place"]))
    return sorted(found)


def line(place: str | Path) -> str:
    """What to type to have a place trusted: its name may hold what a shell would run."""
    words = ["semsearch", "trust", str(place)]
    if sys.platform == "win32":
        import subprocess

        return subprocess.list2cmdline(words)
    import shlex

    return shlex.join(words)


def _record(place: str) -> Path | None:
    folder = state_folder()
    return None if folder is None else folder / "trusted" / f"{_digest(os.fsencode(place))[:32]}.json"


def _remember(place: str, mark: str) -> None:
    import secrets

    record = _record(place)
    if record is None:
        raise StorageError(f"'{place}' can't be trusted for good: {NOWHERE}")
    content = json.dumps({"place": place, "mark": mark})
    try:
        record.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = record.with_suffix(f".{secrets.token_hex(4)}")
        temporary.write_text(content, "utf-8")
        os.replace(temporary, record)  # noqa: PTH105  (Path.replace is the same call)
    except OSError as error:
        raise StorageError(f"'{place}' can't be trusted for good ({error.strerror}): {NOWHERE}") from error


def _remembered(place: str) -> str | None:
    record = _record(place)
    with suppress(OSError, ValueError, TypeError, KeyError):
        if record is not None and (known := json.loads(read_plain(record)))["place"] == place:
            return str(known["mark"])
    return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
