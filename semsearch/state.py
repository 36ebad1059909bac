"""The person's own folder on this machine for what semsearch remembers apart from every collection."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path | None:
    """The folder, made if it is not there, for its owner alone; None where it can't be written.

    `SEMSEARCH_STATE` names it, else the system does: `~/.local/state/semsearch` on Linux.
    """
    import platformdirs

    named = os.environ.get("SEMSEARCH_STATE")
    try:
        folder = Path(named or platformdirs.user_state_dir("semsearch", appauthor=False)).expanduser()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home at all
        return None
    return folder if os.access(folder, os.W_OK) else None
