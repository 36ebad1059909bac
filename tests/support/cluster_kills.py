"""Kill a node of three while four writers write and two readers read, again and again: `make cluster`.

After each round every acknowledged document is there, none is half, and no search that was answered was wrong.
"""

import argparse
import random
import threading
import time

import semsearch
from semsearch.errors import SemsearchError
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Document
from support.cluster import FLAVOURS, cluster

WRITERS, READERS = 4, 2
BEFORE, AFTER = 8, 8  # acknowledged documents and as many answers before a node is killed, and more of both after it
PATIENCE, SLOWER = 120.0, 6  # seconds for both after a kill, or so many times what they took before it
UNHURT = 600.0  # seconds for both with all nodes there, on a machine that does much else
SETTINGS = ("cluster.routing.allocation.disk.threshold_enabled=false",)


class Round:
    """What was acknowledged, and what went wrong."""

    def __init__(self, home):
        self.home = home
        self.acknowledged = {}
        self.written = 0
        self.refused = 0
        self.answered = 0
        self.wrong = []
        self.done = threading.Event()

    def write(self, writer, number):
        """Put documents in and change them, until it is over."""
        turn = 0
        with semsearch.open("killed", home=self.home, encoder=HashEncoder()) as collection:
            while not self.done.is_set():
                document = Document(f"w{writer}-{turn % 40}", f"of {writer} in round {number} at turn {turn}")
                try:
                    collection.add([document], maintain=False)
                except SemsearchError:
                    self.refused += 1
                    self.acknowledged.pop(document.id, None)  # either is right until it is done again
                else:
                    self.acknowledged[document.id] = document.text
                    self.written += 1
                turn += 1

    def read(self):
        """Search; an answer is whole or an error."""
        with semsearch.open("killed", home=self.home, encoder=HashEncoder()) as collection:
            while not self.done.is_set():
                try:
                    hits = collection.search("of 1 in round", k=5, mode="hybrid")
                except SemsearchError:
                    self.refused += 1
                    continue
                self.answered += 1
                if len(hits) != 5 or any(hit.document.text[hit.start : hit.end] != hit.text for hit in hits):
                    self.wrong.append([hit.id for hit in hits])

    def wait(self, more, patience):
        """Until so many more writes were acknowledged and searches answered; how long that took, None if too long."""
        begun, written, answered = time.monotonic(), self.written + more, self.answered + more
        while self.written < written or self.answered < answered:
            if time.monotonic() - begun > patience:
                return None
            time.sleep(0.05)
        return time.monotonic() - begun


def main():
    """Rounds, and what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rounds", type=int)
    parser.add_argument("--flavour", choices=FLAVOURS, default="opensearch")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = random.Random(options.seed)
    with cluster(options.flavour, nodes=3, settings=SETTINGS) as servers:
        delayed = {"index.unassigned.node_left.delayed_timeout": "0"}
        home = servers.url("kills", shards=3, replicas=1)
        with semsearch.create("killed", home=home, encoder=HashEncoder()) as collection:
            collection.add([Document(f"first{n}", f"of 1 in round 0, number {n}") for n in range(50)])
        servers.ask("PUT", "/kills*/_settings", delayed)
        servers.ask("PUT", "/kills.home/_settings", {"index": {"number_of_replicas": 2}})
        known, totals = {}, [0, 0]
        for number in range(options.rounds):
            own = Round(home)
            threads = [threading.Thread(target=own.write, args=(each, number)) for each in range(WRITERS)]
            threads += [threading.Thread(target=own.read) for _ in range(READERS)]
            for thread in threads:
                thread.start()
            ready = own.wait(BEFORE, UNHURT)
            time.sleep(generator.uniform(0, 1))
            victim, refused = generator.randrange(3), own.refused
            servers.kill(victim)
            patience = max(PATIENCE, SLOWER * (ready or 0))
            went_on = own.wait(AFTER, patience)
            own.done.set()
            for thread in threads:
                thread.join()
            servers.start(victim)
            green = {"status": ""}
            deadline = time.monotonic() + 600
            while green.get("status") != "green":
                assert time.monotonic() < deadline, green
                green = servers.ask("GET", "/_cluster/health?wait_for_status=green&timeout=10s", node=(victim + 1) % 3)
            known |= own.acknowledged
            with semsearch.open("killed", home=home, encoder=HashEncoder()) as collection:
                lost = []
                for identity, text in own.acknowledged.items():
                    (stored,) = collection.get([identity])
                    if stored is None or stored.text != text:
                        lost.append(identity)
                gone = [one for one, there in zip(known, collection.get(list(known)), strict=True) if there is None]
                problems = collection.check(deep=True)
            totals[0] += own.written
            totals[1] += own.answered
            print(  # noqa: T201
                f"round {number + 1}: node {victim} killed, {own.written} writes acknowledged, {own.answered} searches "
                f"answered, {own.refused - refused} refused since; went on after {went_on or patience:.1f} s "
                f"({ready or UNHURT:.1f} s before); lost {lost + gone}, wrong {own.wrong}, problems {problems}",
                flush=True,
            )
            assert [lost, gone, own.wrong, problems] == [[], [], [], []]
            assert ready is not None, "nothing was written or answered with all nodes there"
            assert went_on is not None, "nothing was written or answered on two of three nodes"
        print(f"{options.rounds} rounds: {totals[0]} writes, {totals[1]} searches, nothing lost, nothing wrong")  # noqa: T201


if __name__ == "__main__":
    main()
