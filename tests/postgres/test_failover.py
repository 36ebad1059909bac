"""A primary that dies, and its synchronous standby; `make failover` does so a hundred times."""

import pytest
from support import failover

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


def test_a_failover_loses_nothing_that_was_acknowledged(server, capsys):
    failover.main(rounds=1, seed=3)
    assert "none lost" in capsys.readouterr().out


def test_reads_go_to_standbys_and_writes_to_the_primary(tmp_path_factory, server):
    from contextlib import ExitStack

    from support.postgres import Server

    import semsearch
    from semsearch.testing.encoder import HashEncoder

    folder = tmp_path_factory.mktemp("pair")
    for place in (folder, *folder.parents):
        if place.stat().st_uid == 0 and len(place.parts) > 2:
            place.chmod(place.stat().st_mode | 0o755)
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    primary = Server(folder / "a", failover.SYNCHRONOUS, server.programs)
    standby = Server(folder / "b", failover.SYNCHRONOUS, server.programs)
    with ExitStack() as stack:
        primary.initialise()
        primary.start()
        stack.callback(primary.stop)
        with primary.connect() as connection:
            connection.execute("CREATE DATABASE semsearch")
        failover.pair_up(primary, standby)
        stack.callback(standby.stop)
        with primary.connect() as connection:  # a commit is on the standby before anybody hears of it
            connection.execute("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
            connection.execute("SELECT pg_reload_conf()")
        hosts = f"host={primary.data},{standby.data}"
        url = f"postgresql://postgres@/semsearch?{hosts}&target_session_attrs=prefer-standby"
        with semsearch.create("notes", home=url, encoder=HashEncoder()) as writer:
            writer.add([semsearch.Document("a", "cat one"), semsearch.Document("b", "cat two")])
            assert len(writer.search("cat")) == 2, "what somebody has written is there for them"
            with writer.engine._session() as session:
                assert session.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        with semsearch.open("notes", home=url, encoder=HashEncoder()) as reader:
            assert len(reader.search("cat")) == 2
            with reader.engine._session() as session:
                assert session.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
            assert reader.remove(["a"]) == 1
            assert len(reader.search("cat")) == 1
