"""A process that makes parts: it is told the plan, then one number after the other, and says of each what became of it.

    python -P -m semsearch.parts.part_worker

On stdin comes a line of JSON, the plan, and then a number a line; on stdout goes a line of JSON for each.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from semsearch.errors import SemsearchError
from semsearch.parts.part_encoding import PartMaker, PartsPlan
from semsearch.parts.part_number import part_number


def answer(plan: PartsPlan, maker: PartMaker | None, number: int) -> tuple[dict[str, Any], PartMaker | None]:
    """What became of a part, as JSON values, and the model that was opened for it.

    Of an error that will be the same the next time, its words, class and notes; all else is raised.
    """
    refused: list[str] = []
    try:
        maker = maker or plan.opened()
        on_error = (lambda error: refused.append(str(error))) if plan.skip else None
        header, made = maker.make(part_number(number, plan.parts), on_error)
        return {"part": number, "made": made, "header": asdict(header), "refused": refused}, maker
    except SemsearchError as error:
        notes = list(getattr(error, "__notes__", ()))
        return {"part": number, "error": str(error), "kind": type(error).__name__, "notes": notes}, maker


def raised(told: Mapping[str, Any]) -> SemsearchError:
    """The error that `answer` told of."""
    from semsearch import errors

    kind = getattr(errors, str(told["kind"]), errors.DataError)
    error: SemsearchError = kind(str(told["error"]))
    for note in told["notes"]:
        error.add_note(str(note))
    return error


def main() -> None:
    """Work until nothing more is asked."""
    said = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library may print
    plan = PartsPlan.from_json(sys.stdin.readline())
    maker: PartMaker | None = None
    for line in sys.stdin:
        told, maker = answer(plan, maker, int(line))
        said.write(json.dumps(told) + "\n")
        said.flush()


if __name__ == "__main__":
    main()
