"""TLS, and passwords out of every place that libpq looks in; none of them is ever told."""

import selectors
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from contextlib import suppress

import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from support.command_line import run

import semsearch
from semsearch.errors import EngineUnreachable
from semsearch.testing.encoder import HashEncoder

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
SECRET = "hunter2"


def certificate(folder, name):
    """A certificate for localhost that vouches for itself, and its key."""
    made = [folder / f"{name}.{ending}" for ending in ("crt", "key")]
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-out", made[0], "-keyout", made[1]),
        ],
        check=True,
        capture_output=True,
    )
    return made


class Terminator:
    """TLS in front of a server that was built without: it takes who asks for TLS as PostgreSQL's clients do."""

    def __init__(self, target, chain, key):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(chain, key)
        self._target = str(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sessions = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, suppress(OSError):
            if client.recv(8, socket.MSG_WAITALL) != struct.pack(">II", 8, 80877103):
                return
            client.sendall(b"S")
            with (
                self._context.wrap_socket(client, server_side=True) as secret,
                socket.socket(socket.AF_UNIX) as server,
                selectors.DefaultSelector() as both,
            ):
                server.connect(self._target)
                self.sessions += 1
                both.register(secret, selectors.EVENT_READ, server)
                both.register(server, selectors.EVENT_READ, secret)
                while True:
                    for key, _ in both.select():
                        piece = key.fileobj.recv(65536)
                        while piece and isinstance(key.fileobj, ssl.SSLSocket) and key.fileobj.pending():
                            piece += key.fileobj.recv(key.fileobj.pending())
                        if not piece:
                            return
                        key.data.sendall(piece)


@pytest.fixture(scope="module")
def secured(server, tmp_path_factory):
    """A server that takes a role only over TLS and by its password: its address, its certificate, another one."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("secured")
    own, other = certificate(folder, "own"), certificate(folder, "other")
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all keeper scram-sha-256\n{before}")
    front = Terminator(server.data / ".s.PGSQL.5432", *own)
    with server.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"CREATE ROLE keeper LOGIN PASSWORD '{SECRET}'")
        connection.execute("CREATE DATABASE secured OWNER keeper")
    with server.connect("secured") as connection:
        connection.execute("CREATE EXTENSION vector")
    try:
        yield front, f"host=localhost&hostaddr=127.0.0.1&port={front.port}&dbname=secured", own[0], other[0]
    finally:
        front.close()
        with server.connect() as connection:
            connection.execute("DROP DATABASE secured WITH (FORCE)")
            connection.execute("DROP ROLE keeper")
        rules.write_text(before)


def used(home):
    """A collection can be made, asked and dropped there."""
    with semsearch.create("cats", home=home, encoder=HashEncoder()) as collection:
        collection.add([semsearch.Document("a", "one cat")])
        assert len(collection.search("cat")) == 1
        assert SECRET not in str(collection.info()) + collection.location + repr(collection)
    semsearch.drop("cats", home=home)


def refused(home):
    """What is said where somebody is not let in."""
    with pytest.raises(EngineUnreachable) as told:
        semsearch.list_collections(home=home)
    assert SECRET not in str(told.value)
    ended = run("list", "--home", home)
    assert (ended.code, len(ended.err.splitlines())) == (4, 1), ended.err
    assert SECRET not in ended.err
    return str(told.value)


def test_a_password_comes_from_everywhere_libpq_looks(secured, tmp_path, monkeypatch):
    _, place, root, _ = secured
    home = f"postgresql://keeper@/?{place}&sslmode=verify-full&sslrootcert={root}"
    assert "does not let you in" in refused(home)
    monkeypatch.setenv("PGPASSWORD", SECRET)
    used(home)
    monkeypatch.setenv("PGPASSWORD", "wrong")
    assert "does not let you in" in refused(home)
    monkeypatch.delenv("PGPASSWORD")
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"localhost:*:secured:keeper:{SECRET}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    used(home)
    monkeypatch.delenv("PGPASSFILE")
    used(home.replace("keeper@", f"keeper:{SECRET}@"))


def test_a_service_file_tells_all(secured, tmp_path, monkeypatch):
    _, place, root, _ = secured
    services = tmp_path / "services"
    told = [*place.split("&"), "user=keeper", f"password={SECRET}", "sslmode=verify-full", f"sslrootcert={root}"]
    services.write_text("\n".join(["[search]", *told]) + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    used("postgresql://?service=search")
    assert "service" in refused("postgresql://?service=another")


def test_tls_is_as_strict_as_it_was_asked_to_be(secured, monkeypatch):
    front, place, root, other = secured
    monkeypatch.setenv("PGPASSWORD", SECRET)
    before = front.sessions
    used(f"postgresql://keeper@/?{place}&sslmode=require")
    assert front.sessions > before
    assert "certificate" in refused(f"postgresql://keeper@/?{place}&sslmode=verify-full&sslrootcert={other}")
    elsewhere = place.replace("host=localhost", "host=example.org")
    assert "example.org" in refused(f"postgresql://keeper@/?{elsewhere}&sslmode=verify-full&sslrootcert={root}")
    used(f"postgresql://keeper@/?{elsewhere}&sslmode=verify-ca&sslrootcert={root}")
    refused(f"postgresql://keeper@/?{place}&sslmode=disable")


def test_a_password_that_expired(server, secured, monkeypatch):
    _, place, _, _ = secured
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with server.connect() as connection:
        connection.execute("ALTER ROLE keeper VALID UNTIL '2001-01-01'")
    try:
        assert "may have expired" in refused(f"postgresql://keeper@/?{place}&sslmode=require")
    finally:
        with server.connect() as connection:
            connection.execute("ALTER ROLE keeper VALID UNTIL 'infinity'")
