"""A primary that is killed while four processes write, and its synchronous standby, which takes over: `make failover`.

    PYTHONPATH=tests python -m support.failover [ROUNDS] [SEED]

In each round: kill -9 of all of the primary's processes at a random moment, the standby is promoted, and what was the
primary becomes the new one's standby. Nobody tells the writers; they find the new primary by the address, which names
both. Every document that was acknowledged before the kill is there, none is half, and a search finds it.
"""

import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from support.postgres import OPTIONS, Server

WRITERS, BATCH = 4, 5
SYNCHRONOUS = OPTIONS | {"fsync": "on", "wal_level": "replica", "max_wal_senders": "8", "hot_standby": "on"}
PATIENCE = 120  # seconds


def until(condition):
    """Wait for something that comes."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, condition
        time.sleep(0.01)


def write(url, folder, number):
    """Write documents for ever, in batches, noting each once it is acknowledged."""
    import semsearch
    from semsearch.errors import CollectionLocked, EngineUnreachable, ReadOnly
    from semsearch.testing.encoder import HashEncoder

    done = 0
    with (folder / f"acknowledged-{number}").open("a") as noted:
        while True:
            try:
                with semsearch.open("notes", home=url, encoder=HashEncoder()) as collection:
                    while True:
                        ids = [f"{number}-{done + row}" for row in range(BATCH)]
                        documents = [semsearch.Document(one, f"text {one} of writer {number}") for one in ids]
                        collection.add(documents, maintain=False)
                        noted.write("".join(f"{one}\n" for one in ids))
                        noted.flush()
                        done += BATCH
            except (EngineUnreachable, CollectionLocked, ReadOnly):
                continue  # the same again


def forked(url, folder, number):
    """A process that writes."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            write(url, folder, number)
        os._exit(1)
    return pid


def acknowledged(folder):
    """The ids that writers were told are stored, as of now."""
    found = []
    for file in folder.glob("acknowledged-*"):
        lines = file.read_text().split("\n")
        found += lines[:-1]  # the last one may be half of one
    return found


def pair_up(primary, standby):
    """Have a server follow another one, which from then on waits for it before it acknowledges anything."""
    standby.copy(primary)
    standby.start()
    with primary.connect() as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("SELECT pg_reload_conf()")
    until(lambda: primary.one("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"))


def main(rounds=100, seed=0):
    """Kill, promote, look, and again."""
    import semsearch
    from semsearch.testing.encoder import HashEncoder

    generator, waited, seen = random.Random(seed), [], 0
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="semsearch-failover-", dir=place) as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "a").mkdir()
        (folder / "b").mkdir()
        primary = Server(folder / "a", SYNCHRONOUS)
        standby = Server(folder / "b", SYNCHRONOUS, primary.programs)
        primary.initialise()
        primary.start()
        stack.callback(lambda: [server.stop() for server in (primary, standby)])
        with primary.connect() as connection:
            connection.execute("CREATE DATABASE semsearch")
        pair_up(primary, standby)
        url = f"postgresql://postgres@/semsearch?host={primary.data},{standby.data}&target_session_attrs=read-write"
        semsearch.create("notes", home=url, encoder=HashEncoder()).close()
        writers = [forked(url, folder, number) for number in range(WRITERS)]
        stack.callback(lambda: [(os.kill(pid, signal.SIGKILL), os.waitpid(pid, 0)) for pid in writers])
        collection = stack.enter_context(semsearch.open("notes", home=url, encoder=HashEncoder()))
        for _ in range(rounds):
            most = seen + generator.randrange(10, 60)
            until(lambda most=most: len(acknowledged(folder)) >= most)
            primary.kill()
            told, killed = acknowledged(folder), time.monotonic()
            assert standby.one("SELECT pg_promote()")
            primary, standby = standby, primary
            with primary.connect() as connection:  # else it would wait for a standby that is not there yet
                connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
                connection.execute("SELECT pg_reload_conf()")
            lacking = set(told) - collection.engine.known(told).keys()
            assert not lacking, f"{len(lacking)} that were acknowledged are not there: {sorted(lacking)[:5]}"
            chosen = generator.choice(told)
            assert (
                collection.search(f"text {chosen} of writer {chosen.partition('-')[0]}", k=1, exact=True)[0].score > 0.9
            )
            until(lambda told=told: len(acknowledged(folder)) > len(told))
            waited.append(time.monotonic() - killed)
            assert [os.waitpid(pid, os.WNOHANG)[0] for pid in writers] == [0] * WRITERS
            pair_up(primary, standby)
            seen = len(acknowledged(folder))
        problems = collection.check(deep=True)
        assert problems == [], problems
    waited.sort()
    print(  # noqa: T201
        f"{rounds} failovers, {seen} acknowledged documents, none lost; writers stood still for "
        f"{waited[len(waited) // 2]:.1f} s (at most {waited[-1]:.1f})"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
