"""Operations on a collection in child processes that are killed (SIGKILL) at a durable step."""

import os
import shutil
import signal
from contextlib import nullcontext

from support.forking import server
from support.mutants import MUTANTS
from support.operations import OPERATIONS
from support.workload import at_each_failpoint


def doomed(home, name, die_at, pipe, mutant):
    """In the child: do it, and die on the way."""

    def at(number, point):
        pipe.send(("point", point))
        if number == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with nullcontext() if mutant is None else MUTANTS[mutant][0](), at_each_failpoint(at):
        OPERATIONS[name].do(home, lambda state: pipe.send(("state", state)))
    pipe.send(("finished", None))


def killed(home, name, die_at, mutant=None):
    """Do the operation `name` in a child that dies at its failpoint `die_at`, or lives if that is None.

    Returns the failpoints that it passed and the number of the last state that it acknowledged.
    """
    receiver, sender = server().Pipe(duplex=False)
    process = server().Process(target=doomed, args=(home, name, die_at, sender, mutant))
    process.start()
    sender.close()
    points, state, finished = [], 0, False
    try:
        while True:
            kind, value = receiver.recv()
            points += [value] if kind == "point" else []
            state = value if kind == "state" else state
            finished = finished or kind == "finished"
    except EOFError:
        pass
    process.join()
    assert process.exitcode == (0 if finished else -signal.SIGKILL), f"{name}: the child ended by itself"
    assert finished == (die_at is None), f"{name}: failpoint {die_at} was not reached"
    return points, state


def left_behind(base, home, name, die_at, mutant=None):
    """What is wrong with what the operation leaves when it is killed at `die_at`; and the points it passed."""
    folder, state = base
    shutil.copytree(folder, home)
    operation = OPERATIONS[name]
    operation.prepare(home)
    points, acknowledged = killed(home, name, die_at, mutant)
    wrong = operation.judged(home, state, acknowledged)
    shutil.rmtree(home)
    return [f"{name}, killed at {die_at} ({points[-1]}): {problem}" for problem in wrong], points
