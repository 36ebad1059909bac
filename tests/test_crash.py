"""Killed at every durable step: whatever was acknowledged is there afterwards, and nothing is half there."""

import multiprocessing

import pytest
from fakes import HashEncoder
from workload import DIM, model, run, steps, violations

import semsearch

pytestmark = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")


@pytest.fixture(scope="session")
def server():
    """A process without threads to fork the doomed ones from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["workload", "semsearch.collection", "semsearch.passages", "sqlalchemy.pool"])
    return context


def killed(server, home, planned, die_at):
    """Run the workload until it is killed at failpoint `die_at`; what it had reported until then."""
    receiver, sender = server.Pipe(duplex=False)
    process = server.Process(target=run, args=(home, planned, die_at, sender))
    process.start()
    sender.close()
    told = []
    try:
        while True:
            told.append(receiver.recv())
    except EOFError:
        pass
    process.join()
    return told, process.exitcode


def judge(home, planned, told):
    """What is wrong with what a killed workload left behind."""
    if not (home / "crash").exists():
        return [] if told == [] else ["acknowledged, and gone"]
    done = sum(kind == "done" for kind, _ in told)
    begun = sum(kind == "begin" for kind, _ in told)
    with semsearch.open("crash", home=home, encoder=HashEncoder(DIM)) as collection:
        wrong = violations(collection, [model(planned[:done]), model(planned[:begun])])
        collection.add(planned[0].documents[:3])  # and it can be written to
        return wrong


def test_kill_at_every_failpoint(server, tmp_path):
    planned = steps(
        seed=1, count=10, actions=("add", "update", "metadata", "remove", "compact", "reindex:hnsw", "reindex:annoy")
    )
    told, code = killed(server, tmp_path / "whole", planned, -1)
    assert code == 0
    assert told[-1][0] == "finished"
    assert judge(tmp_path / "whole", planned, told) == []
    points = told[-1][1]
    assert points > 50
    for die_at in range(points):
        home = tmp_path / str(die_at)
        told, code = killed(server, home, planned, die_at)
        assert code == -9, f"failpoint {die_at} was not reached"
        assert judge(home, planned, told) == [], f"killed at failpoint {die_at}"
