"""Which part of how many: as it is typed, or as a scheduler tells each of its tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from semsearch.arguments import check_whole
from semsearch.errors import UsageError

MOST_PARTS = 4096  # each is read side by side in the end
SLURM_NUMBER = "SLURM_ARRAY_TASK_ID"
KUBERNETES_NUMBER = "JOB_COMPLETION_INDEX"
_TYPED = re.compile(r"(\d{1,9})/(\d{1,9})")


class PartNumber(NamedTuple):
    """A part, counted from 0 as schedulers count their tasks, and how many there are."""

    number: int
    parts: int

    @property
    def file_name(self) -> str:
        """Of the file that holds it."""
        return f"part-{self.number:05}-of-{self.parts:05}.semsearch"

    def has(self, digest: int) -> bool:
        """Whether a document of that digest belongs to it."""
        return digest % self.parts == self.number


def check_parts(count: object) -> int:
    """A number of parts.

    Raises:
        UsageError: It is none.
    """
    parts = check_whole(count, "parts")
    if parts > MOST_PARTS:
        raise UsageError(f"there may be at most {MOST_PARTS:,} parts, not {parts:,}.")
    return parts


def part_number(number: int, count: int) -> PartNumber:
    """The part of that number.

    Raises:
        UsageError: There is none.
    """
    if not 0 <= number < check_parts(count):
        raise UsageError(f"of {count} parts there are 0/{count} to {count - 1}/{count}, and no {number}/{count}.")
    return PartNumber(number, count)


def parse_part(text: str) -> PartNumber:
    """`3/64`, the fourth of 64 parts.

    Raises:
        UsageError: It is not of that form.
    """
    found = _TYPED.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"a part is written as 3/64, the fourth of 64 (0/64 is the first), and not as '{text}'.")
    return part_number(int(found[1]), int(found[2]))


def scheduled_part(environment: Mapping[str, str], count: int | None) -> PartNumber | None:
    """The part that is this task's, of a SLURM array or a Kubernetes job; None where neither started this process.

    Args:
        environment: Its variables.
        count: How many parts there are; None takes the size of the array, which Kubernetes does not tell.

    Raises:
        UsageError: The number of parts is unknown, or the tasks are not counted from 0.
    """
    for variable in (SLURM_NUMBER, KUBERNETES_NUMBER):
        told = environment.get(variable, "").strip()
        if told:
            if not re.fullmatch(r"\d{1,9}", told):
                raise UsageError(f"{variable} is '{told[:40]}', which is no number of a task.")
            return part_number(int(told), _size(environment, variable) if count is None else count)
    return None


def _size(environment: Mapping[str, str], variable: str) -> int:
    """The number of tasks in an array, all of which are there."""
    if variable == KUBERNETES_NUMBER:
        raise UsageError("say with --parts how many parts there are: as many as the job has completions.")
    told = [environment.get(f"SLURM_ARRAY_TASK_{name}", "").strip() for name in ("MIN", "MAX", "COUNT")]
    if not all(re.fullmatch(r"\d{1,9}", number) for number in told):
        raise UsageError("say with --parts how many parts there are.")
    first, last, size = map(int, told)
    if first != 0 or last + 1 != size:
        raise UsageError(
            f"the array has {size} tasks from {first} to {last}, so that the number of parts can't be told: count them "
            "from 0 (--array=0-63), or say with --parts how many there are, of which these are some."
        )
    return size
