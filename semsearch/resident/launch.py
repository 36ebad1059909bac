"""Leaves a resident process behind, apart from the terminal and from whoever started it."""

from __future__ import annotations

import os
import sys

from semsearch.resident import address, route

# as it was when the program began: libraries set variables, by which a later command would not be known again
_environment = dict(os.environ)


def start() -> None:
    """Start one for this environment; where there is one already the new one ends at once."""
    if not address.SUPPORTED:
        _fail(address.UNSUPPORTED)
        return
    import json
    import subprocess

    opened = sys.modules.get("semsearch.models")
    wanted = [
        [name, revision, compute.device, compute.dtype, compute.batch_tokens]
        for name, revision, compute in (opened.opened if opened is not None else ())
    ]
    now = os.environ.copy()
    try:
        os.environ.clear()
        os.environ.update(_environment)
        folder = address.open_folder(make=True)
        assert folder is not None
        os.close(folder)
        name = address.name_of(address.environment())
        # without the present folder, in which anybody may have put a module
        command = [sys.executable, "-P", "-m", "semsearch.resident.server", name, json.dumps(wanted)]
        null = subprocess.DEVNULL
        subprocess.Popen(
            command, env=_environment, cwd="/", stdin=null, stdout=null, stderr=null, start_new_session=True
        )
    except (OSError, address.NoResident) as error:
        _fail(str(error))
    finally:
        os.environ.clear()
        os.environ.update(now)


def _fail(why: str) -> None:
    if route.verbose:
        print(f"no resident process is left behind: {why}", file=sys.stderr)  # noqa: T201
