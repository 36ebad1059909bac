"""A cluster that asks for a password over TLS: a real Elasticsearch with a certificate of its own."""

import shutil
import subprocess

import pytest

pytest.importorskip("orjson", reason="the extra 'elasticsearch' is not installed")

from support.cluster import cluster, java, place

import semsearch
from semsearch.errors import EngineUnreachable
from semsearch.testing.encoder import HashEncoder
from semsearch.testing.engines import ANIMALS

pytestmark = pytest.mark.cluster
SECRET = "hunter2-hunter2"


@pytest.fixture(scope="module")
def secured():
    """One node with security, and the file of its certificate."""
    pytest.importorskip("elasticsearch", reason="the extra 'elasticsearch' is not installed")
    found = place("elasticsearch")
    if found is None or isinstance(found, str) or java("elasticsearch") is None:
        pytest.skip("SEMSEARCH_CLUSTER names no archive of elasticsearch, or there is no Java for it")
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")

    def prepare(folder):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "own.key", "-out", "own.crt"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    with cluster("elasticsearch", secret=SECRET, prepare=prepare) as own:
        yield f"127.0.0.1:{own.ports[0]}", own.folder / "own.crt"


def test_a_password_over_tls(secured):
    host, certificate = secured
    home = f"elasticsearch+https://elastic:{SECRET}@{host}?ca_certs={certificate}&replicas=0"
    with semsearch.create("animals", home=home, encoder=HashEncoder()) as collection:
        collection.add(ANIMALS)
        assert collection.search("the cat sleeps", k=1)[0].id == "cat"
        assert SECRET not in collection.location
    for wrong, words in (
        (home.replace(SECRET, "wrong-one"), "does not let you in"),
        (home.replace(f"elastic:{SECRET}@", ""), "does not let you in"),
        (home.replace(f"?ca_certs={certificate}&", "?"), "ca_certs=FILE"),
        (home.replace("+https", "").replace(f"ca_certs={certificate}&", ""), "can't be reached"),
    ):
        with pytest.raises(EngineUnreachable, match=words) as told:
            semsearch.list_collections(home=wrong)
        assert SECRET not in str(told.value)
    semsearch.drop("animals", home=home)
