"""The person's own folder on this machine for what semsearch remembers apart from every collection."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = (
    False  # as type checkers take it: what is ahead of a command line imports this, and nothing that is slow
)
if TYPE_CHECKING:
    from pathlib import Path


def state_path() -> str:
    """Where the folder is, there or not: `SEMSEARCH_STATE`, else where the system keeps such things.

    On Linux that is `~/.local/state/semsearch`, or in `XDG_STATE_HOME`.
    """
    if named := os.environ.get("SEMSEARCH_STATE"):
        return os.path.expanduser(named)  # noqa: PTH111  (without pathlib)
    if sys.platform == "linux":  # as platformdirs has it, which takes longer to import
        kept = os.environ.get("XDG_STATE_HOME", "")
        base = kept if kept.strip() else os.path.expanduser("~/.local/state")  # noqa: PTH111
        return os.path.join(base, "semsearch")  # noqa: PTH118
    import platformdirs

    return platformdirs.user_state_dir("semsearch", appauthor=False)


def state_folder() -> Path | None:
    """The folder, made if it is not there, for its owner alone; None where it can't be written.

    `SEMSEARCH_STATE` names it, else the system does: `~/.local/state/semsearch` on Linux.
    """
    from pathlib import Path

    try:
        folder = Path(state_path()).expanduser()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home at all
        return None
    return folder if os.access(folder, os.W_OK) else None
