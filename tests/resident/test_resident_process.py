"""The resident process itself: who finds it, what it survives, and when it goes."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.command_line import corpus, run, tiny_model
from support.residents import place

from semsearch.hardware import Compute
from semsearch.resident import address, client, kept, launch, ownership, route
from semsearch.state import state_path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resident processes are there on Linux only")

DIED = "semsearch: the resident process ended while it ran the command, which ended with it: type it again.\n"


def with_notes(folder):
    """A place with one collection."""
    found = place(folder)
    model = tiny_model(found.folder / "model")
    source = corpus(found.folder, count=8)
    ended = run("index", source, "--name", "notes", "-m", model, "--home", found.environment["SEMSEARCH_HOME"])
    assert ended.code == 0, ended.err
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return with_notes(tmp_path_factory.mktemp("resident"))


@pytest.fixture(scope="module")
def running():
    """Those that were started; the last may be alive."""
    processes = []
    yield processes
    for process in processes:
        process.kill()
        process.wait(60)
        process.stdout.close()


@pytest.fixture
def resident(here, running):
    """One that runs, which a test may kill."""
    if not running or running[-1].poll() is not None:
        running.append(here.serve())
    return running[-1]


@pytest.fixture
def apart(tmp_path):
    """A place of a test's own, where one runs."""
    found = with_notes(tmp_path)
    with found.resident():
        yield found


@pytest.fixture
def asking(here, resident):
    """A command that has answered its first question and waits for the next."""
    process = here.start("query", "notes", "-", "-k", "1", stdin=subprocess.PIPE)
    process.stdin.write(b"oven\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"1\t1\t")
    yield process
    process.kill()
    process.communicate(timeout=60)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def way(ended):
    return ended.err.splitlines()[-1]


# What interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_command(number, asking):
    asking.send_signal(number)
    code = asking.wait(60)  # with its standard input still open
    out, err = asking.communicate(timeout=60)
    assert (code, out, err) == (130, b"", b"\ninterrupted\n")  # as click has it


def test_a_reader_that_has_seen_enough_ends_it_in_silence(asking):
    asking.stdout.close()
    asking.stdin.write(b"flour\n")
    asking.stdin.close()
    assert asking.wait(60) == 0
    assert asking.stderr.read() == b""
    asking.stdin = asking.stdout = None


def test_a_killed_caller_takes_its_command_along(asking, resident, here):
    (child,) = children(resident.pid)
    asking.kill()
    assert asking.stdout.read() == b""  # which the child had open, too
    assert asking.wait(60) == -signal.SIGKILL
    here.run("resident", "status")  # by which time it has been told
    assert child not in children(resident.pid)


def test_a_killed_command_is_told_of(asking, resident):
    (child,) = children(resident.pid)
    os.kill(child, signal.SIGKILL)
    _, err = asking.communicate(timeout=60)
    assert asking.returncode == 137
    assert err == b"semsearch: the command was ended by signal 9 while the resident process ran it.\n"


def test_a_killed_resident_process_takes_its_commands_along(asking, resident, here):
    resident.kill()
    out, err = asking.communicate(timeout=60)
    assert (asking.returncode, out, err.decode()) == (137, b"", DIED)
    ended = here.run("get", "notes", "d1", "-v")  # its socket is still there
    assert ended.code == 0
    assert way(ended) == "answered without a resident process: the one that was there has gone"


def test_many_at_once_are_answered_each_for_itself(here, resident):
    with ThreadPoolExecutor(10) as pool:
        ended = list(pool.map(lambda n: here.run("get", "notes", f"d{n % 8}"), range(10)))
    for number, one in enumerate(ended):
        assert one.code == 0
        assert one.out.splitlines()[1] == f"d{number % 8}"
    assert "took get" in here.log()


# The end of a child and the last that it tells, seen at once and in this order: the pipe is closed when it is read.
END_FIRST = """
class EndFirst(server.selectors.DefaultSelector):
    def select(self, timeout=None):
        def is_told(event):
            return event[0].fd in (run.told for run in resident[0]._runs.values())

        events = super().select(timeout)
        while events and all(map(is_told, events)):
            events = super().select(timeout)
        return sorted(events, key=is_told)


resident = []
begin = server.Resident.__init__


def begun(self, *arguments):
    resident.append(self)
    begin(self, *arguments)


server.Resident.__init__ = begun
server.selectors.DefaultSelector = EndFirst
"""


def test_a_child_whose_end_is_seen_with_the_last_it_told_ends_nothing_else(tmp_path):
    apart = with_notes(tmp_path)
    with apart.resident(patch=END_FIRST) as process:
        for number in range(3):
            ended = apart.run("get", "notes", f"d{number}", "-v")
            assert (ended.code, ended.out.splitlines()[1]) == (0, f"d{number}")
            assert way(ended).startswith(f"answered by the resident process {process.pid}")
        assert process.poll() is None


# What changes under it


def test_a_collection_that_was_made_anew_is_the_new_one(apart):
    assert apart.run("get", "notes", "d1").code == 0
    home = apart.environment["SEMSEARCH_HOME"]
    assert run("drop", "notes", "--yes", "--home", home).code == 0
    assert apart.run("get", "notes", "d1").code == 4
    (apart.folder / "new.jsonl").write_text('{"_id": "only", "text": "wheel and chain"}\n')
    made = run("index", apart.folder / "new.jsonl", "--name", "notes", "-m", apart.folder / "model", "--home", home)
    assert made.code == 0, made.err
    assert apart.run("get", "notes", "only").code == 0
    assert apart.run("query", "notes", "oven", "-o", "ids").out == "only\n"
    assert apart.log().count("took") == 4


def test_a_model_that_was_made_anew_is_the_new_one(apart):
    assert apart.run("query", "notes", "oven", "-k", "1", "-o", "ids").code == 0
    apart.run("query", "notes", "oven")  # by the model that is kept
    told = apart.status()[0]
    assert told["models"] == [str(apart.folder / "model")]
    other = tiny_model(apart.folder / "other", seed=1)
    weights = Path("0_StaticEmbedding", "model.safetensors")
    before = (apart.folder / "model" / weights).stat()
    (other / weights).replace(apart.folder / "model" / weights)
    os.utime(apart.folder / "model" / weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    ended = apart.run("query", "notes", "oven")
    assert ended.code == 4
    assert "was made with the model" in ended.err


def test_what_is_kept_serves_as_long_as_its_files_are_the_same(tmp_path):
    folder = tiny_model(tmp_path / "model")
    models = kept.KeptModels()
    wanted = kept.WantedModel(str(folder), None, Compute())
    code = (
        "import sys; from pathlib import Path; from semsearch.hardware import Compute\n"
        "from semsearch.resident import kept\n"
        "models, wanted = kept.KeptModels(), kept.WantedModel(sys.argv[1], None, Compute())\n"
        "assert models.keep(wanted) and models.current(*wanted).dim == 32\n"
        "file = Path(sys.argv[1], '0_StaticEmbedding', 'tokenizer.json'); file.write_bytes(file.read_bytes())\n"
        "assert models.current(*wanted) is None and models.keep(wanted) and models.current(*wanted) is not None\n"
        "assert models.current(wanted.name, None, Compute('cpu')) is None\n"
        "assert not models.keep(kept.WantedModel('owner/nowhere', None, Compute()))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    assert models.current(*wanted) is None


# Who finds it


def test_whoever_is_of_another_environment_finds_none(here, resident, monkeypatch, tmp_path):
    for name, value in {**here.environment, "SEMSEARCH_HOME": "elsewhere", "COLUMNS": "40"}.items():
        monkeypatch.setenv(name, value)
    own = address.environment()
    assert own == address.environment()
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("SEMSEARCH_QUERY_K", "3")  # commands read that when they run
    assert own == address.environment()
    for name, value in {"HF_HOME": "x", "LC_ALL": "C", "PYTHONPATH": "x", "OMP_NUM_THREADS": "7", "HOME": "/x"}.items():
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert address.environment() != own, name
    for module, name, value in (
        (os, "geteuid", lambda: os.getuid() + 1),
        (os, "getgroups", lambda: [12345]),
        (sys, "version", "3.99"),
        (sys, "executable", "/other/python"),
        (address, "_package", lambda: ("/other", 1, 1)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            assert address.environment() != own, name
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, hard))  # a command is to end as it would by itself
        assert address.environment() != own
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "packages")])
    (tmp_path / "packages" / "some-1.0.dist-info").mkdir(parents=True)
    before = address.environment()
    os.utime(tmp_path / "packages", (1, 1))  # one was installed
    assert address.environment() != before


def test_a_name_alone_does_not_do(here, resident):
    (own,) = here.sockets()
    connection = client.connect(str(address.at(os.open(own.parent, os.O_RDONLY), own.name)))
    client.send(connection, [client.RUN, b"another environment", b"63 0 0"])
    assert client.answer(connection) == b"declined the one that runs is of another environment\n"
    connection.close()


def test_one_that_answers_before_the_request_is_behind_it_is_heard():
    ours, theirs = socket.socketpair()

    class Quick:
        sendall = ours.sendall

        def sendmsg(self, *arguments):
            sent = ours.sendmsg(*arguments)
            theirs.recv(1024)
            theirs.sendall(b"answer")
            theirs.close()
            return sent

    with ours:
        client.send(Quick(), [client.STATUS])
        assert client.answer(ours) == b"answer"


def test_nonsense_ends_the_child_that_reads_it(here, resident):
    (own,) = here.sockets()
    for said in (b"", b"\x05\0\0\0hello", b"\xff\xff\xff\xff" + b"x" * 5000, b"\x03\0\0\0run"):
        connection = client.connect(str(address.at(os.open(own.parent, os.O_RDONLY), own.name)))
        connection.sendall(said)
        connection.shutdown(1)
        assert client.answer(connection).startswith(b"declined"), said
        connection.close()
    assert here.run("get", "notes", "d1").code == 0


def test_the_folder_and_the_socket_are_the_users_own(here, resident):
    (own,) = here.sockets()
    assert own.stat().st_mode & 0o777 == 0o600
    assert own.parent.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o077 for file in own.parent.iterdir()} == {0}


def test_a_folder_that_others_can_reach_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_STATE", str(tmp_path))
    assert address.open_folder() is None
    os.close(address.open_folder(make=True))
    folder = tmp_path / "resident"
    folder.chmod(0o770)
    with pytest.raises(address.NoResident, match="open to other users"):
        address.open_folder()
    assert client.answered(["get", "notes", "d1"]) is None
    assert "open to other users" in route.why_not
    folder.chmod(0o700)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(address.NoResident, match="another user's"):
            address.open_folder()
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    with pytest.raises(address.NoResident, match="can be used"):
        address.open_folder(make=True)


def test_the_runtime_folder_is_taken_where_it_is_the_users(tmp_path, monkeypatch):
    monkeypatch.delenv("SEMSEARCH_STATE")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert address.folder() == str(tmp_path / "semsearch")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # as after su
    assert address.folder() == str(Path(state_path(), "resident"))


def test_the_state_is_where_platformdirs_says(monkeypatch, tmp_path):
    import platformdirs

    monkeypatch.delenv("SEMSEARCH_STATE")
    for kept_in in ("", str(tmp_path)):
        monkeypatch.setenv("XDG_STATE_HOME", kept_in)
        assert state_path() == platformdirs.user_state_dir("semsearch", appauthor=False)


# How it comes and goes


def test_of_two_one_stays(here, resident):
    second = subprocess.run(
        [*resident.args], env=here.environment, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    assert (second.returncode, second.stdout) == (0, b"")
    assert "there is one already" in here.log()
    assert [one["pid"] for one in here.status()] == [resident.pid]


def test_what_a_dead_one_left_is_taken_away(here, resident):
    (own,) = here.sockets()
    resident.kill()
    resident.wait(60)
    own.unlink()
    own.symlink_to(here.folder / "elsewhere")  # nor is a link in its place followed
    left = [own.parent / f"0123456789abcdef{ending}" for ending in (".sock", ".lock", ".log")]
    for file in left:
        file.touch()
    with here.resident() as second:
        assert here.sockets() == [own]
        assert own.is_socket()
        assert not (here.folder / "elsewhere").exists()
        assert not any(file.exists() for file in left)
        assert here.status()[0]["pid"] == second.pid


def test_it_goes_when_it_is_idle(tmp_path):
    found = place(tmp_path)
    process = found.serve(idle=0.2)
    assert process.wait(60) == 0
    process.stdout.close()
    assert not found.sockets()
    assert "idle" in found.log()


def test_it_goes_when_a_package_changes(tmp_path):
    found = place(tmp_path)
    packages = found.folder / "packages"
    packages.mkdir()
    path = os.pathsep.join([str(packages), found.environment["PYTHONPATH"]])
    process = found.serve(look=0.05, idle=60, PYTHONPATH=path)
    (packages / "new-1.0.dist-info").mkdir()
    # it looks when it wakes, and this wakes it
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        found.run("resident", "status")
    assert process.wait(60) == 0
    process.stdout.close()
    assert "changed" in found.log()


def test_it_ends_when_it_is_told(here, resident, asking):
    assert here.run("resident", "stop").err == "stopped 1\n"
    assert here.sockets() == []
    out, _ = asking.communicate(b"flour\n", timeout=60)  # what it runs is run to its end
    assert (asking.returncode, out.count(b"\n")) == (0, 1)
    assert resident.wait(60) == 0
    assert here.run("resident", "status").code == 1


def test_one_that_does_not_answer_is_left_alone(here, resident):
    resident.send_signal(signal.SIGSTOP)
    ended = here.run("get", "notes", "d1", "-v")
    resident.send_signal(signal.SIGCONT)
    assert ended.code == 0
    assert way(ended) == "answered without a resident process: it did not answer within 3 s"
    before = here.log().count("took")
    assert here.run("get", "notes", "d1", "-v").err.startswith("answered by")
    assert here.log().count("took") == before + 1


def test_what_it_preloads_keeps_no_threads_and_no_torch():
    code = (
        "import importlib, os, sys; os.environ['OPENBLAS_NUM_THREADS'] = '1'\n"  # which ends its own at a fork
        "from semsearch.resident import server\n"
        "for name in server.PRELOADED: importlib.import_module(name)\n"
        "print(len(os.listdir('/proc/self/task')), {'torch', 'transformers', 'faiss', 'hnswlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1 set()\n"


def test_it_imports_nothing_from_the_present_folder(here, monkeypatch):
    """Whatever the folder is in which a command leaves one behind."""
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: started.append((command, options)))
    launch.start()
    ((command, options),) = started
    assert command[1:4] == ["-P", "-m", "semsearch.resident.server"]
    assert options["cwd"] == "/"
    assert options["start_new_session"]
    assert {options[name] for name in ("stdin", "stdout", "stderr")} == {subprocess.DEVNULL}


def test_the_client_imports_next_to_nothing():
    code = "import sys; before = set(sys.modules); import semsearch.__main__; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = {name for name in done.stdout.split() if name.startswith("semsearch")}
    assert own <= {
        "semsearch",
        *(f"semsearch.{name}" for name in ("__main__", "process", "state", "resident")),
        *(f"semsearch.resident.{name}" for name in ("address", "client", "route")),
    }
    assert set(done.stdout.split()) - own <= {"zlib", "__future__", "_signal"}


@pytest.mark.slow
def test_a_command_leaves_one_behind(tmp_path):
    found = with_notes(tmp_path)
    ended = found.run("query", "notes", "oven", "--resident", "-v")
    assert way(ended) == "answered without a resident process: none runs"
    deadline = time.monotonic() + 120
    while not (told := found.status()) and time.monotonic() < deadline:
        pass
    try:
        assert told[0]["answers_here"] is True
        assert os.getsid(told[0]["pid"]) == told[0]["pid"]
        ended = found.run("query", "notes", "oven", "--resident", "-v")
        assert way(ended).startswith(f"answered by the resident process {told[0]['pid']}")
        assert found.status()[0]["models"] == [str(found.folder / "model")]
        (found.folder / "semsearch.toml").write_text("resident = true\n")  # a stranger's leaves none behind
        ended = found.run("query", "notes", "oven", "--no-resident")
        assert ended.code == 0
    finally:
        found.run("resident", "stop")
    ended = found.run("query", "notes", "oven")
    assert "may have come with a clone" in ended.err
    assert found.status() == []


def test_the_lock_is_taken_once(tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    with ownership.Ownership(folder, "a") as first:
        with first.listen(), pytest.raises(ownership.HeldByAnother), ownership.Ownership(folder, "a"):
            pass
        assert first.stands()
        (tmp_path / "a.sock").unlink()
        assert not first.stands()
    assert list(tmp_path.iterdir()) == []
    os.close(folder)


def test_status_for_people(here, resident):
    assert json.loads(here.run("resident", "status", "--json").out)[0]["requests"] >= 1
    told = here.run("resident", "status").out.split("\t")
    assert told[0] == str(resident.pid)
    assert told[-1] == "yes\n"
