"""A primary that is killed while four processes write, and its synchronous standby, which takes over: `make failover`.

    PYTHONPATH=tests python -m support.failover [ROUNDS] [SEED]

In each round: kill -9 of all of the primary's processes at a random moment, the standby is promoted, and what was the
primary becomes the new one's standby. Nobody tells the writers; they find the new primary by the address, which names
both. Every document that was acknowledged before the kill is there, none is half, and a search finds it. Two readers
search all the time, by meaning and by words, for what was acknowledged: they find it, or are told that nobody answers.
"""

import os
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from support.postgres import OPTIONS, Server

WRITERS, READERS, BATCH = 4, 2, 5
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


def read(url, folder, number):
    """Search for ever for what was acknowledged, noting how many searches were right, and each that was not."""
    import semsearch
    from semsearch.errors import EngineUnreachable
    from semsearch.testing.encoder import HashEncoder

    generator = random.Random(number)
    with (folder / f"searched-{number}").open("a") as noted:
        while True:
            try:
                with semsearch.open("notes", home=url, encoder=HashEncoder()) as collection:
                    while True:
                        if told := acknowledged(folder):
                            chosen = generator.choice(told)
                            text = f"text {chosen} of writer {chosen.partition('-')[0]}"
                            for mode in ("dense", "lexical", "hybrid"):
                                # of equal vectors and words there may be several: ids fall into the same places
                                hits = collection.search(text, k=20, mode=mode, exact=True)
                                right = any(hit.id == chosen and hit.text == text for hit in hits)
                                noted.write(f"{'right' if right else f'WRONG {mode} {chosen}'}\n")
                            noted.flush()
            except EngineUnreachable:
                continue  # the same again


def forked(work, url, folder, number):
    """A process that does nothing else."""
    pid = os.fork()
    if pid == 0:
        try:
            work(url, folder, number)
        except BaseException as error:
            (folder / f"failed-{pid}-{work.__name__}-{number}").write_text(repr(error))
        os._exit(1)
    return pid


def searched(folder):
    """How many searches were right, and what the others were."""
    lines = [line for file in folder.glob("searched-*") for line in file.read_text().split("\n")[:-1]]
    return lines.count("right"), [line for line in lines if line != "right"]


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
        others = [forked(write, url, folder, number) for number in range(WRITERS)]
        others += [forked(read, url, folder, number) for number in range(READERS)]
        stack.callback(lambda: [(os.kill(pid, signal.SIGKILL), os.waitpid(pid, 0)) for pid in others])
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
            right, wrong = searched(folder)
            assert not wrong, wrong[:5]
            until(lambda right=right: searched(folder)[0] > right)
            failed = [file.read_text() for file in folder.glob("failed-*")]
            assert [os.waitpid(pid, os.WNOHANG)[0] for pid in others] == [0] * (WRITERS + READERS), failed
            pair_up(primary, standby)
            seen = len(acknowledged(folder))
        problems = collection.check(deep=True)
        assert problems == [], problems
        right, wrong = searched(folder)
        assert not wrong, wrong[:5]
    waited.sort()
    print(  # noqa: T201
        f"{rounds} failovers, {seen} acknowledged documents, none lost; {right} searches, none wrong; writers stood "
        f"still for {waited[len(waited) // 2]:.1f} s (at most {waited[-1]:.1f})"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
