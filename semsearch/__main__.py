"""The program: a resident process answers where one runs, else the command line, which then is imported."""

from __future__ import annotations

import os
import sys

from semsearch.resident import client

TYPE_CHECKING = False  # as type checkers take it: nothing slow is imported here
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command that was typed and end with its exit code."""
    code = client.answered(sys.argv[1:])
    if code is not None:
        os._exit(code)  # nothing was opened here
    from semsearch.cli import main as commands

    commands.main()


if __name__ == "__main__":
    main()
