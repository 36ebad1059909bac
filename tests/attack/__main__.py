"""`python -m attack COUNT`: that many cases of all families, or those that are named."""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before numpy is imported

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from attack.arena import Arena, Case
from attack.families import FAMILIES
from attack.preloaded import preload


def shares(count):
    """How many of `count` cases each family has."""
    whole = sum(family.SHARE for family in FAMILIES.values())
    return {name: -(-count * family.SHARE // whole) for name, family in FAMILIES.items()}


def attack(arena, family, number):
    """Do one case; what was done and what was wrong."""
    case = Case(arena, family, number)
    try:
        FAMILIES[family].attack(case)
    except Exception as error:  # a case that can't be judged has not been passed
        case.problems.append(f"the attack itself failed: {type(error).__name__}: {error}")
    case.end()
    return case


def main():
    """Run cases and tell how many there were of each family, and what was wrong."""
    parser = argparse.ArgumentParser(prog="python -m attack", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--percent", type=int, default=100, help="of the cases of each family, chosen by the seed")
    parser.add_argument("--seed", type=int, default=0, help="of that choice")
    parser.add_argument("--case", action="append", metavar="FAMILY:NUMBER")
    asked = parser.parse_args()
    rng, chosen = random.Random(asked.seed), {}
    for name, count in shares(asked.count).items():
        numbers = sorted(rng.sample(range(count), -(-count * asked.percent // 100)))
        if name in (asked.family or FAMILIES):
            chosen[name] = numbers
    if asked.case:
        chosen = {}
        for family, _, number in (case.partition(":") for case in asked.case):
            chosen.setdefault(family, []).append(int(number))
    preload()
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    bad, total, begun = 0, 0, time.monotonic()
    folder = tempfile.mkdtemp(dir=place, prefix="semsearch-attack-")  # no finalizer, which a child would run as it ends
    try:
        arena = Arena(Path(folder))
        for family, numbers in chosen.items():
            failed, since = 0, time.monotonic()
            for number in numbers:
                case = attack(arena, family, number)
                if case.problems or asked.case:
                    for line in (
                        f"{case.name} ({case.backend}): {' | '.join(case.did)}",
                        *(f"    {what}" for what in case.problems),
                    ):
                        say(line.replace(str(case.place), "…"))
                failed += bool(case.problems)
            took = time.monotonic() - since
            say(f"{FAMILIES[family].FAMILY}: {len(numbers):,} cases in {took:.0f} s, {failed} failed")
            bad, total = bad + failed, total + len(numbers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"in all: {total:,} cases in {time.monotonic() - begun:.0f} s, {bad} failed")
    sys.exit(bool(bad))


def say(line):
    """Print what a terminal can bear."""
    printable = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
    sys.stdout.buffer.write(printable.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
