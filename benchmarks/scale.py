"""How every cost grows from ten thousand rows to ten million, given vectors with short texts: its exponent.

    python benchmarks/scale.py [--sizes 10000 100000 1000000] [--until 10000000] [--steps add words …] [--out FILE]

Each size is added, indexed, certified on real questions and asked others, by meaning, by words, by both and with
filters (`scale_steps.py`); FAISS by hand and LanceDB do the same with the same rows, each a step of its own. A step is
a process; what it measured is a line of `steps.jsonl` in the folder of `--work`, and a step that has one is not run
again: after an interruption the same command goes on. A peer that is not installed is left out and named. The rows are
real questions through all-MiniLM-L6-v2 and, beyond their number, points between two of them (`blocks.py`).

A cost c(n) is fitted as n^e by least squares of logarithms; the interval is Student's, 95 %. `--until` extrapolates
each to a size that was not measured, and says so.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scale_steps import NEEDS, STEPS, run
from vector_sets import DEFAULT

from semsearch.bench.run import machine

SIZES = (10_000, 31_623, 100_000, 316_228, 1_000_000)
WORK = Path("build") / "scale"
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447}  # 97.5 % by degrees of freedom
FITTED = ("_s", "_ms", "_bytes")  # endings of what grows


def measured(file: Path) -> dict[int, dict[str, Any]]:
    """What the steps that are done have measured, by size."""
    found: dict[int, dict[str, Any]] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        said = json.loads(line)
        own = found.setdefault(said["rows"], {"rows": said["rows"], "done": []})
        own["done"].append(said["step"])
        own.update(said["costs"])
    return found


def go_on(work: Path, vectors: Path, sizes: list[int], steps: list[str]) -> None:
    """Run the steps that are not done, those of one size together."""
    work.mkdir(parents=True, exist_ok=True)
    file = work / "steps.jsonl"
    for rows in sizes:
        home = work / str(rows)
        for step in steps:
            if step in measured(file).get(rows, {"done": ()})["done"]:
                continue
            if (module := NEEDS.get(step)) is not None and find_spec(module) is None:
                print(f"{step} is left out: {module} is not installed.")
                continue
            home.mkdir(exist_ok=True)
            command = [sys.executable, __file__, "--vectors", str(vectors), "--work", str(work)]
            command += ["--one", step, str(rows)]
            print(f"{rows:,} rows: {step}", flush=True)
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            costs = json.loads(done.stdout.splitlines()[-1])
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"rows": rows, "step": step, "costs": costs}) + "\n")
            shown = {name: round(value, 4) if isinstance(value, float) else value for name, value in costs.items()}
            print(f"  {json.dumps(shown)}", flush=True)


def exponent(sizes: list[float], costs: list[float]) -> tuple[float, float]:
    """The exponent of a power law through the points, and the half width of its 95 % interval."""
    x, y = np.log(sizes), np.log(costs)
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    left = y - y.mean() - slope * centred
    freedom = len(x) - 2
    if freedom < 1:
        return slope, math.inf
    error = math.sqrt(float((left**2).sum()) / freedom / float((centred**2).sum()))
    return slope, STUDENT.get(freedom, 1.96) * error


def fits(lines: list[Mapping[str, Any]], until: int) -> dict[str, dict[str, float]]:
    """The exponent of each cost, and what it comes to at `until` rows, from the greatest size that was measured."""
    found = {}
    for cost in sorted({name for line in lines for name in line if name.endswith(FITTED)}):
        known = [(float(line["rows"]), float(line[cost])) for line in lines if line.get(cost, 0) > 0]
        if len(known) > 2:  # of two points there is no interval, and an extrapolation would be a guess
            slope, half = exponent(*map(list, zip(*known, strict=True)))
            rows, value = known[-1]
            found[cost] = {"exponent": slope, "half_width": half, "extrapolated": value * (until / rows) ** slope}
    return found


def main() -> None:
    """Run what is not done, then fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=Path, default=DEFAULT, help=f"see vector_sets.py [default: {DEFAULT}]")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--work", type=Path, default=WORK, help=f"what is kept between steps [default: {WORK}]")
    parser.add_argument("--until", type=int, default=10_000_000, help="rows to extrapolate to")
    parser.add_argument("--anew", action="store_true", help="forget what was measured, and the collections")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # a step and a size, in this process
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    options = parser.parse_args()
    if options.one is not None:
        step, rows = options.one
        print(json.dumps(run(step, options.vectors, int(rows), options.work / rows)))
        return
    if options.anew and options.work.exists():
        shutil.rmtree(options.work)
    sizes = sorted(options.sizes)
    go_on(options.work, options.vectors, sizes, options.steps)
    known = measured(options.work / "steps.jsonl")
    lines = [known[rows] for rows in sizes if rows in known]
    fitted = fits(lines, options.until)
    for cost, fit in fitted.items():
        print(f"{cost:26} n^{fit['exponent']:.2f} ± {fit['half_width']:.2f}", end="")
        print(f"  {fit['extrapolated']:,.3f} at {options.until:,} rows, extrapolated")
    if options.out:
        with options.out.open("a", encoding="utf-8") as out:
            facts = {"benchmark": "scale", **machine(), "sizes": lines, "fits": fitted, "until": options.until}
            out.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
