"""From a fresh process to an answer: semsearch beside a script that imports sentence_transformers.

    python benchmarks/cold_start.py [--rounds 5] [--threads N] [--clock wall] [--out FILE]

Processes in turn, the page cache warm: a script that imports sentence_transformers and encodes one query; one that
opens the same model with `semsearch.load_encoder` and encodes the same query; `semsearch query` on a collection of the
shipped samples, from the shell to the printed answer; the same where a resident process answers, whose time counts as
well; and Python that does nothing. Medians, and their ratios to the first. On a machine that others use too, `--threads
1 --clock cpu` compares the processor's time instead of the time that passes; the other is written down beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from semsearch.encoder import DEFAULT_MODEL, resolve

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples" / "samples.jsonl"
QUERY = "how do I keep bread from going stale"
WARM = "semsearch query, a resident process"
PEER = """
from sentence_transformers import SentenceTransformer
print(SentenceTransformer({folder!r}, device="cpu").encode({query!r}).shape)
"""
OURS = """
import semsearch
print(semsearch.load_encoder({folder!r}, device="cpu").encode_queries([{query!r}]).shape)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of each process; as many as there are cores if not said")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--out", type=Path, help="JSON lines are added here")
    options = parser.parse_args()
    folder = str(resolve.find(options.model, None).folder)
    command = [sys.executable, "-c", "from semsearch.__main__ import main; main()"]
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        environment |= {"SEMSEARCH_HOME": f"{home}/collections", "SEMSEARCH_STATE": f"{home}/state"}
        if options.threads:
            environment["OMP_NUM_THREADS"] = str(options.threads)
        index = [*command, "index", str(SAMPLES), "--name", "samples", "-m", folder]
        subprocess.run(index, env=environment, check=True, capture_output=True)
        query = [*command, "query", "samples", QUERY]
        ways = {
            "sentence-transformers, one query": [sys.executable, "-c", PEER.format(folder=folder, query=QUERY)],
            "semsearch.load_encoder, one query": [sys.executable, "-c", OURS.format(folder=folder, query=QUERY)],
            "semsearch query, 318 documents": [*query, "--no-resident"],
            WARM: [*query, "-v"],
            "python -c pass": [sys.executable, "-c", "print(0)"],
        }
        measured: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        pid = _resident(command, environment)
        for round_ in range(options.rounds + 1):
            for name, way in ways.items():
                while (spent := _spent(way, environment, pid if name == WARM else None)) is None:
                    pid = _resident(command, environment)  # it goes when packages change
                if round_:  # the first fills the page cache, and has the model kept
                    measured[name].append(spent)
        subprocess.run([*command, "resident", "stop"], env=environment, check=True, capture_output=True)
    seconds = {name: [spent[options.clock] for spent in rounds] for name, rounds in measured.items()}
    base = statistics.median(next(iter(seconds.values())))
    records = []
    for name, rounds in seconds.items():
        median = statistics.median(rounds)
        both = {clock: statistics.median(spent[clock] for spent in measured[name]) for clock in ("wall", "cpu")}
        print(f"{name:36}{median:8.3f} s{median / base:8.3f}   wall {both['wall']:.3f} s, cpu {both['cpu']:.3f} s")
        ratio = {"seconds": median, "share_of_sentence_transformers": median / base, **both}
        records.append({"benchmark": "cold start", "way": name, "clock": options.clock, **ratio, "rounds": rounds})
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)


def _resident(command: list[str], environment: dict[str, str]) -> int:
    """The number of a resident process that keeps the model."""
    leave = [*command, "query", "samples", QUERY, "--resident"]
    subprocess.run(leave, env=environment, check=True, capture_output=True)
    told: list[dict[str, object]] = []
    while not (told and told[0]["models"]):
        time.sleep(0.5)
        done = subprocess.run([*command, "resident", "status", "--json"], env=environment, capture_output=True)
        told = json.loads(done.stdout)
    return int(str(told[0]["pid"]))


def _of_children(pid: int | None) -> float:
    """Seconds that the processors spent on a process and on its children that have ended."""
    if pid is None or not (status := Path(f"/proc/{pid}/stat")).exists():
        return 0.0
    fields = status.read_text("ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _spent(command: list[str], environment: dict[str, str], pid: int | None) -> dict[str, float] | None:
    """Seconds that a process took, and that the processors spent on it and on the resident process `pid`.

    None where that process should have answered and did not.
    """
    before, theirs = resource.getrusage(resource.RUSAGE_CHILDREN), _of_children(pid)
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    passed = time.perf_counter() - start
    if not done.stdout.strip():
        raise SystemExit(f"{command} printed nothing: {done.stderr.decode()}")
    if pid is not None and f"answered by the resident process {pid}".encode() not in done.stderr:
        return None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": passed, "cpu": own + _of_children(pid) - theirs}


if __name__ == "__main__":
    main()
