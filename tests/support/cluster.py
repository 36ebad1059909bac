"""Real servers of OpenSearch and Elasticsearch, from an archive: a process a node, each of which may be killed.

`SEMSEARCH_CLUSTER` names a folder with `opensearch-*.tar.xz` and `elasticsearch-*.tar.xz`, made of the makers' own
files, or the address of a server that runs already, for all tests of its kind.
"""

import base64
import ctypes
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

FLAVOURS = ("opensearch", "elasticsearch")
CLIENTS = {"opensearch": "opensearchpy", "elasticsearch": "elasticsearch"}
USER = "nobody"  # Elasticsearch does not run as root
HEAP = "512m"
NODE = Path(__file__).with_name("OneNode.java")


def place(flavour):
    """The archive of a kind, or the address of one that runs; None where there is neither."""
    for given in os.environ.get("SEMSEARCH_CLUSTER", "").split():
        if given.startswith(f"{flavour}://"):
            return given
        if found := sorted(Path(given).glob(f"{flavour}-*.tar.xz")):
            return found[-1]
    return None


def java(flavour):
    """The folder of a Java that is new enough: 17 for OpenSearch, 21 for Elasticsearch."""
    least, newest = (17, 21) if flavour == "opensearch" else (21, 99)
    homes = [Path(os.environ.get("JAVA_HOME") or "/nonexistent"), *sorted(Path("/usr/lib/jvm").glob("*"))]
    for home in homes:
        if (home / "bin" / "java").is_file() and (home / "release").is_file():
            release = (home / "release").read_text()
            version = int(release.partition('JAVA_VERSION="')[2].split('"')[0].split(".")[0])
            if least <= version <= newest:
                return home.resolve()
    return None


def free_port():
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """Some nodes of one kind on this machine, with all of their files in a folder of its own."""

    def __init__(self, flavour, archive, folder, nodes=1, settings=(), secret=None, *, heap=HEAP, compiled=False):
        """`settings` are "name=value"; with a `secret`, a password and TLS are asked for (Elasticsearch).

        `compiled`: for speed, once it is warm; else what starts sooner matters more than what runs faster.
        """
        self.flavour = flavour
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        subprocess.run(["tar", "xJf", archive, "-C", self.folder], check=True)
        self.program = next(path for path in self.folder.iterdir() if path.name.startswith(flavour))
        self.ports = [free_port() for _ in range(nodes)]
        self.transports = [free_port() for _ in range(nodes)]
        self.settings = list(settings)
        self.secret = secret
        self._java = [f"-Xms{heap}", f"-Xmx{heap}", *([] if compiled else ["-XX:TieredStopAtLevel=1"])]
        self.processes = [None] * nodes
        (self.folder / "repo").mkdir()

    def start(self, *nodes):
        """Start all nodes, or some; wait until all that run are one cluster."""
        for node in nodes or range(len(self.ports)):
            self._start(node)
        running = [node for node, process in enumerate(self.processes) if process is not None]
        deadline = time.monotonic() + 600  # on a machine that does much else
        while True:
            try:
                health = self.ask("GET", "/_cluster/health", node=running[0])
                if health.get("number_of_nodes") == len(running):
                    return
            except (OSError, ValueError):
                pass
            assert time.monotonic() < deadline, self.log()
            assert all(self.processes[node].poll() is None for node in running), self.log()
            time.sleep(0.1)

    def _start(self, node):
        own = self.folder / f"node{node}"
        own.mkdir(exist_ok=True)
        seeds = ",".join(f"127.0.0.1:{port}" for port in self.transports)
        found = ["discovery.type=single-node"]
        if len(self.ports) > 1:
            masters = "cluster_manager" if self.flavour == "opensearch" else "master"
            names = ",".join(f"node{each}" for each in range(len(self.ports)))
            found = [f"discovery.seed_hosts={seeds}", f"cluster.initial_{masters}_nodes={names}"]
            found += ["discovery.type=zen"] if self.flavour == "opensearch" else []
        settings = [*found, *self.settings]
        start = self._opensearch if self.flavour == "opensearch" else self._elasticsearch
        with (own / "log").open("ab") as log:
            command, options = start(node, own, settings)
            self.processes[node] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=_dies_with_us, **options
            )

    def _opensearch(self, node, own, settings):
        ports = (str(self.ports[node]), str(self.transports[node]))
        command = [java("opensearch") / "bin" / "java", *self._java, "-XX:+UseSerialGC"]
        command += ["-cp", "jars/*:knn/*", NODE, own, "semsearch-tests", f"node{node}", *ports, *settings]
        return command, {"cwd": self.program}

    def _elasticsearch(self, node, own, settings):
        config = own / "config"
        if not config.exists():
            shutil.copytree(self.program / "config", config)
            for name in ("data", "logs", "tmp"):
                (own / name).mkdir()
            lines = [f"cluster.name: semsearch-tests\nnode.name: node{node}\nnetwork.host: 127.0.0.1"]
            lines += [f"http.port: {self.ports[node]}\ntransport.port: {self.transports[node]}"]
            lines += [f"path.data: {own / 'data'}\npath.logs: {own / 'logs'}\npath.repo: {self.folder / 'repo'}"]
            lines += [f"xpack.security.enabled: {'true' if self.secret else 'false'}"]
            if self.secret:
                lines += ["xpack.security.http.ssl.enabled: true"]
                lines += ["xpack.security.http.ssl.certificate: own.crt\nxpack.security.http.ssl.key: own.key"]
                for file in ("own.crt", "own.key"):
                    shutil.copy(self.folder / file, config / file)
            for setting in settings:
                name, _, value = setting.partition("=")
                lines.append(
                    f"{name}: [{value}]"
                    if name.startswith(("discovery.seed", "cluster.initial"))
                    else f"{name}: {value}"
                )
            (config / "elasticsearch.yml").write_text("\n".join(lines) + "\n")
            if os.geteuid() == 0:
                for path in (self.folder / "repo", own, *own.rglob("*")):
                    shutil.chown(path, USER, "nogroup")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(own),
            "ES_JAVA_HOME": str(java("elasticsearch")),
            "ES_PATH_CONF": str(config),
            "ES_TMPDIR": str(own / "tmp"),
            "ES_JAVA_OPTS": " ".join(self._java),
        }
        if self.secret and not (config / "elasticsearch.keystore").exists():
            for arguments, said in ((("create",), None), (("add", "-x", "bootstrap.password"), self.secret)):
                tool = [self.program / "bin" / "elasticsearch-keystore", *arguments]
                subprocess.run(
                    tool, env=environment, input=said, text=True, check=True, capture_output=True, **_as_user()
                )
        return [self.program / "bin" / "elasticsearch"], {"env": environment, "cwd": own, **_as_user()}

    def log(self):
        """The last that the nodes said."""
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(self.folder.glob("node*/log")))

    def ask(self, method, path, body=None, node=0, timeout=60):
        """What a node answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        url = f"{'https' if self.secret else 'http'}://127.0.0.1:{self.ports[node]}{path}"
        trusting = None
        if self.secret:
            headers["authorization"] = "Basic " + base64.b64encode(f"elastic:{self.secret}".encode()).decode()
            trusting = ssl.create_default_context(cafile=self.folder / "own.crt")
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=trusting) as said:
                return json.loads(said.read() or b"{}")
        except urllib.error.HTTPError as error:
            return json.loads(error.read() or b"{}")

    def url(self, prefix, **parameters):
        """A home in it."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        given = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"{self.flavour}://{hosts}?prefix={prefix}{given}"

    def kill(self, node):
        """Let a node die where it is."""
        process = self.processes[node]
        self._signal(node, signal.SIGKILL)
        self.processes[node] = None
        process.wait(60)

    def hang(self, node):
        """Let a node do nothing, with all that it holds, until it goes on."""
        self._signal(node, signal.SIGSTOP)

    def go_on(self, node):
        """Let a node that hangs go on."""
        self._signal(node, signal.SIGCONT)

    def _signal(self, node, number):
        import psutil

        own = psutil.Process(self.processes[node].pid)
        for each in (*own.children(recursive=True), own):
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)

    def stop(self):
        """End all nodes."""
        for node, process in enumerate(self.processes):
            if process is not None:
                self.kill(node)


class RunningCluster:
    """A server that somebody started, and that stays."""

    def __init__(self, address):
        self.flavour = address.partition("://")[0]
        self.address = address.partition("?")[0]

    def url(self, prefix, **parameters):
        """A home in it."""
        given = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"{self.address}?prefix={prefix}{given}"

    def ask(self, method, path, body=None):
        """What it answers."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://{self.address.partition('://')[2].split(',')[0]}{path}"
        request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as said:
                return json.loads(said.read() or b"{}")
        except urllib.error.HTTPError as error:
            return json.loads(error.read() or b"{}")


def _dies_with_us():
    """In the child: be told to end when the process that started it ends, however that comes about."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _as_user():
    return {"user": USER, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


@contextmanager
def cluster(flavour, nodes=1, settings=(), secret=None, prepare=None):
    """A cluster as long as it is needed; `prepare` is called with its folder before it starts."""
    found = place(flavour)
    if isinstance(found, str):
        yield RunningCluster(found)
        return
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="semsearch-cluster-", dir=where, ignore_cleanup_errors=True) as folder:
        own = Cluster(flavour, found, folder, nodes, settings, secret)
        if prepare is not None:
            prepare(own.folder)
        try:
            own.start()
            yield own
        finally:
            own.stop()


def server_or_skip(flavour):
    """A cluster of one node as long as it is needed; the test is skipped where something is missing for one."""
    for module in (CLIENTS[flavour], "orjson"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    found = place(flavour)
    if found is None:
        pytest.skip(f"SEMSEARCH_CLUSTER names no archive and no address of {flavour}")
    if not isinstance(found, str) and java(flavour) is None:
        pytest.skip(f"there is no Java for {flavour}")
    return cluster(flavour)
