"""Parts made by four processes that are killed at random, until all are there: `make parts`.

    PYTHONPATH=tests python -m support.part_kills [KILLS] [SEED]

Each process is `semsearch encode … --part N/64`, as a scheduler starts it. In the end each document is in the
collection exactly once, in the order of the source, and its vectors are those of a plain run.
"""

import os
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import semsearch
from support.command_line import corpus, start, tiny_model

PARTS, PROCESSES = 64, 4


def main(kills=100, seed=0):
    """Kill, go on, compare."""
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        home, folder, model = Path(place) / "home", Path(place) / "parts", tiny_model(Path(place) / "tiny")
        notes = corpus(Path(place), count=2_000)
        waiting, running, killed = list(range(PARTS)), {}, 0
        generator.shuffle(waiting)
        while waiting or running:
            while waiting and len(running) < PROCESSES:
                part = waiting.pop()
                process = start("encode", notes, "--out", folder, "--part", f"{part}/{PARTS}", "-m", model)
                running[process] = part, time.monotonic() + generator.uniform(0, 8) if killed < kills else float("inf")
            for process, (part, until) in list(running.items()):
                if process.poll() is None and time.monotonic() < until:
                    continue
                if process.poll() is None:
                    process.kill()
                    killed += 1
                process.communicate()
                del running[process]
                if not (folder / f"part-{part:05}-of-{PARTS:05}.semsearch").exists():
                    waiting.insert(0, part)
            time.sleep(0.01)
        unfinished = len(list(folder.glob(".*.tmp")))
        os.environ["SEMSEARCH_HOME"] = str(home)
        with (
            semsearch.create("parts", encoder=str(model)) as made,
            semsearch.create("plain", encoder=str(model)) as plain,
        ):
            made.add_parts(folder)
            plain.add_from(notes)
            assert list(made.documents()) == list(plain.documents())
            np.testing.assert_allclose(made.arrays()[1], plain.arrays()[1], atol=3e-7)
            count = len(made)
    print(f"{killed} kills, {unfinished} unfinished files left by them, {count:,} documents, each exactly once")  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
