"""What a collection in a cluster takes as it grows, and what three nodes make of it: `make cluster`.

A cluster of its own for each run, on this machine, with its files in the folder for temporary ones: a million rows take
some 5 GB there, and as much memory besides the nodes'. Measured by `benchmarks/clusters.py`.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from support.cluster import FLAVOURS, Cluster, place

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "clusters.py"
SETTINGS = ("cluster.routing.allocation.disk.threshold_enabled=false",)


def main():
    """Start the cluster, and measure one size after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flavour", choices=FLAVOURS, default="opensearch")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=0)
    parser.add_argument("--heap", default="2g", help="of each node")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 31_623, 100_000, 316_228, 1_000_000])
    options, others = parser.parse_known_args()  # the others are the benchmark's
    archive = place(options.flavour)
    if not isinstance(archive, Path):
        parser.error(f"SEMSEARCH_CLUSTER names no folder with an archive of {options.flavour}.")
    with tempfile.TemporaryDirectory(prefix="semsearch-cluster-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(options.flavour, archive, folder, options.nodes, SETTINGS, heap=options.heap, compiled=True)
        try:
            cluster.start()
            url = cluster.url("growth", shards=options.shards, replicas=options.replicas)
            subprocess.run([sys.executable, SCRIPT, url, "--rows", *map(str, options.rows), *others], check=True)
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
