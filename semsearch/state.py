"""Where semsearch keeps what belongs to this user on this machine, and to no collection."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path | None:
    """The folder, made if it is not there; None where none can be, as in a container with a read-only home.

    `SEMSEARCH_STATE` names another than the system's own (`~/.local/state/semsearch` on Linux).
    """
    import platformdirs

    given = os.environ.get("SEMSEARCH_STATE")
    try:
        folder = Path(given or platformdirs.user_state_dir("semsearch", appauthor=False))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home at all
        return None
    return folder
