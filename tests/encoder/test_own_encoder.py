"""One's own encoder: functions, SentenceTransformer objects, and servers, good and bad."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from support.command_line import corpus, run, start
from support.fakes import HashEncoder

import semsearch
from semsearch import trusted
from semsearch.encoder import remote
from semsearch.encoder.own import named_encoder
from semsearch.encoder.remote import RemoteEncoder, origin, trust_named
from semsearch.errors import DataError, EncodingFailed, ModelError, ModelMismatch, Untrusted, UsageError
from semsearch.ingest import ingestion
from semsearch.types import Document

DOCUMENTS = [Document(f"d{n}", f"word{n} and word{n + 1}") for n in range(10)]


def counted(texts):
    return [[len(text), text.count("o"), text.count("w")] for text in texts]


def test_a_function_is_an_encoder_under_its_name():
    encoder = semsearch.encoder_from(counted, name="letters")
    truth = np.array(counted(["wow"]), dtype=float)
    assert np.allclose(encoder.encode_documents(["wow"]), truth / np.linalg.norm(truth))
    with semsearch.create("notes", encoder=encoder) as collection:
        collection.add(DOCUMENTS)
        assert collection.search("word1 and word2", k=1)[0].score == pytest.approx(1)
    with semsearch.open("notes", encoder=semsearch.encoder_from(counted, name="letters")) as collection:
        assert len(collection.search("word", k=10)) == 10
    with semsearch.open("notes") as collection, pytest.raises(ModelMismatch, match=r"encoder=….*function:letters"):
        collection.search("word")
    with pytest.raises(ModelMismatch):
        semsearch.open("notes", encoder=semsearch.encoder_from(counted, name="others"))
    plain = semsearch.encoder_from(counted, name="x", queries=lambda texts: [[1, 2, 3]] * len(texts), metric="dot")
    assert plain.encode_queries(["a"]).tolist() == [[1, 2, 3]]
    assert plain.encode_documents(["wow"]).tolist() == [[3, 1, 2]]


class Long(HashEncoder):
    """Gives vectors of any length, as a model does without its last layer, and says its metric as a text."""

    metric = "cosine"

    def encode_documents(self, texts):
        return super().encode_documents(texts) * np.arange(1, len(texts) + 1)[:, None]

    def encode_queries(self, texts):
        return super().encode_queries(texts) * 7


def test_vectors_of_any_length_are_compared_by_their_directions(tmp_path):
    with semsearch.create("long", encoder=Long(32), home=tmp_path) as collection:
        collection.add(DOCUMENTS)
        for document in DOCUMENTS:
            best = collection.search(document.text, k=1)[0]
            assert (best.id, best.score) == (document.id, pytest.approx(1))
        assert np.linalg.norm(collection.arrays()[1], axis=1) == pytest.approx(np.ones(10))
        assert collection.check(deep=True) == []


def test_a_collection_that_stored_them_as_they_came_is_repaired(tmp_path, monkeypatch):
    monkeypatch.setattr(ingestion, "stored_form", lambda vectors, *_: np.asarray(vectors, np.float32))
    with semsearch.create("long", encoder=Long(32), home=tmp_path) as collection:
        collection.add(DOCUMENTS)
        monkeypatch.undo()
        assert [(p.part, p.what) for p in collection.check(deep=True)] == [
            ("vectors", "10 vectors are not finite or not of unit length")
        ]
        assert "took out 10 damaged vectors" in collection.repair()
        assert collection.check(deep=True) == []
        assert [collection.search(d.text, k=1)[0].id for d in DOCUMENTS] == [d.id for d in DOCUMENTS]


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("metric", "cos", "`metric` of Long is one of cosine, dot, l2, and not 'cos'"),
        ("metric", None, "and not None"),
        ("dim", "4", "`dim` of Long must be a whole number, not '4'"),
        ("dim", 0, "`dim` of Long must be at least 1, not 0"),
        ("fingerprint", "", "`fingerprint` of Long is a text no other model has, and not ''"),
        ("fingerprint", 3, "and not 3"),
    ],
)
def test_members_that_say_nothing_are_refused(member, value, said, tmp_path):
    made = Long(32)
    setattr(made, member, value)
    with pytest.raises(UsageError, match=re.escape(said)):
        semsearch.create("long", encoder=made, home=tmp_path)
    assert not (tmp_path / "long").exists()


def test_what_is_no_encoder_is_said():
    with pytest.raises(UsageError, match=r"needs a name.*encoder_from\(function, name="):
        semsearch.create("x", encoder=counted)
    with pytest.raises(UsageError, match="a dict lacks encode_documents, encode_queries, dim, metric, fingerprint"):
        semsearch.encoder_from({})
    with pytest.raises(DataError, match=r"must give an array of shape \(1, dim\) for 1 texts, but gave \(\)"):
        semsearch.encoder_from(lambda texts: 1.0, name="x")
    uneven = semsearch.encoder_from(lambda texts: np.ones((1, 3)), name="x")
    with pytest.raises(DataError, match=r"shape \(2, 3\) for 2 texts, but gave \(1, 3\)"):
        uneven.encode_documents(["a", "b"])
    own = HashEncoder(4)
    assert semsearch.encoder_from(own) is own


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_sentence_transformer_is_taken_as_it_is(tmp_path):
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from support.tiny import TEXTS, bert

    def made(seed=0, **settings):
        transformer = Transformer(str(bert(tmp_path / f"bert{seed}", seed)))
        return library.SentenceTransformer(
            modules=[transformer, Pooling(16, "mean"), Normalize()], device="cpu", **settings
        )

    model = made()
    encoder = semsearch.encoder_from(model)
    assert np.allclose(encoder.encode_documents(TEXTS), model.encode(TEXTS), atol=1e-6)
    assert (encoder.window, model.max_seq_length) == (62, 64)
    long = " ".join(TEXTS[5:6] * 9)
    assert len(encoder.tokenizer.encode(long, add_special_tokens=False).ids) > 3 * 62
    with semsearch.create("notes", encoder=model) as collection:
        collection.add([Document(str(n), text) for n, text in enumerate(TEXTS)])
        assert collection.search(TEXTS[2], k=1)[0].document.id == "2"
        before = collection.count_passages()
        collection.add([Document("long", long)])
        assert collection.count_passages() > before + 3
    with semsearch.open("notes", encoder=made()) as collection:  # the same weights are the same model
        assert collection.search(TEXTS[1], k=1)[0].document.id == "1"
    for other in (made(1), made(prompts={"query": "query: ", "document": ""})):
        with pytest.raises(ModelMismatch):
            semsearch.open("notes", encoder=other)


class Server:
    """What an embeddings server does: vectors of `HashEncoder`, shuffled, after the failures that it is told."""

    def __init__(self):
        self.failures = []  # (status, headers, body), or "drop"
        self.requests = []
        self.connections = 0
        self.refuse = None  # a text it will not have
        self.spoil = None  # what is done to an answer
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # which keeps connections

            def setup(self):
                server.connections += 1
                super().setup()

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append((self.path, body, self.headers.get("Authorization")))
                if server.failures:
                    failure = server.failures.pop(0)
                    if failure == "drop":
                        self.close_connection = True
                        self.connection.close()
                        return
                    self.answer(*failure)
                elif server.refuse in body["input"]:
                    self.answer(400, {}, {"error": {"message": "too long"}})
                else:
                    vectors = 3 * HashEncoder(8).encode_documents(body["input"])
                    data = [{"index": n, "embedding": vector.tolist()} for n, vector in enumerate(vectors)]
                    answer = {"data": data[::-1]}
                    self.answer(200, {}, server.spoil(answer) if server.spoil else answer)

            def answer(self, status, headers, body):
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server():
    running = Server()
    trust_named(f"openai-compatible:{running.url}#m")
    yield running
    running.close()


@pytest.fixture
def slept(monkeypatch):
    return []


def test_a_server_encodes_in_batches_and_in_order(server, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_API_KEY", "secret")
    encoder = RemoteEncoder(f"openai-compatible:{server.url}#m")
    texts = [f"text number {n}" for n in range(150)]
    assert np.allclose(encoder.encode_documents(texts), HashEncoder(8).encode_documents(texts), atol=1e-6)
    assert encoder.dim == 8
    assert sorted(len(body["input"]) for _, body, _ in server.requests) == [1, 22, 64, 64]
    assert {(path, body["model"], key) for path, body, key in server.requests} == {
        ("/v1/embeddings", "m", "Bearer secret")
    }
    assert encoder.encode_documents([]).shape == (0, 8)
    assert encoder.fingerprint != RemoteEncoder(f"openai-compatible:{server.url}#other").fingerprint


def test_connections_are_kept(server):
    encoder = RemoteEncoder(f"openai-compatible:{server.url}#m")
    for n in range(8):
        encoder.encode_queries([f"text {n}"])
    assert len(server.requests) == 9, "the dimension, and eight texts"
    assert server.connections == 1
    for _ in range(2):
        encoder.encode_documents([f"text number {n}" for n in range(4 * remote.TEXTS_PER_REQUEST)])
    assert server.connections <= remote.AT_ONCE, "as many as there are requests at once"


def test_a_key_follows_no_redirection(server, monkeypatch):
    elsewhere = Server()
    try:
        monkeypatch.setenv("SEMSEARCH_API_KEY", "secret")
        encoder = RemoteEncoder(f"openai-compatible:{server.url}#m")
        for code in (301, 302, 303, 307, 308):
            server.failures = [(code, {"Location": f"{elsewhere.url}/embeddings"}, b"")]
            with pytest.raises(ModelError, match=rf"answered {code}"):
                encoder.encode_queries(["a"])
        assert elsewhere.requests == []
    finally:
        elsewhere.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_speaks_on_lines_of_its_own(server):
    encoder = RemoteEncoder(f"openai-compatible:{server.url}#m")
    wanted = encoder.encode_queries(["a"])
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(encoder.encode_queries(["a"]), wanted) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(encoder.encode_queries(["a"]), wanted)
    assert server.connections == 2


def test_an_address_that_is_none_is_told():
    with pytest.raises(UsageError, match=r"'http://\[::1/v1' is no address"):
        RemoteEncoder("openai-compatible:http://[::1/v1#m").encode_queries(["a"])


def test_a_server_is_named_without_loading_a_client():
    program = (
        "import sys, semsearch; from semsearch.encoder.own import named_encoder;"
        "named_encoder('openai-compatible:http://localhost:1/v1#m'); print('httpx' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_a_collection_opens_its_server_again(server, tmp_path):
    name = f"openai-compatible:{server.url}#m"
    assert run("index", corpus(tmp_path), "-m", name).out == "added 40, changed 0, unchanged 0, skipped 0\n"
    assert run("query", "notes", "oven dough", "--json").code == 0
    assert run("info", "notes", "--json").code == 0
    assert named_encoder(name).fingerprint == json.loads(run("info", "notes", "--json").out)["encoder"]["fingerprint"]


def test_what_passes_is_tried_again_and_waits_grow(server, slept):
    encoder = RemoteEncoder(f"openai-compatible:{server.url}#m", sleep=slept.append)
    server.failures = [
        (503, {}, {"error": "loading"}),
        "drop",
        (429, {"Retry-After": "7"}, b"slow down"),
        (500, {}, b""),
    ]
    assert encoder.dim == 8
    assert len(slept) == 4
    assert 0.5 <= slept[0] < 0.7
    assert 1.0 <= slept[1] < 1.3
    assert slept[2] == 7
    assert 4.0 <= slept[3] < 5.1
    server.failures = [(503, {}, {"error": {"message": "loading"}})] * remote.TRIES
    with pytest.raises(ModelError, match=r"answered 503: loading, 6 times"):
        encoder.encode_documents(["a"])


def test_errors_say_what_to_do(server, slept, monkeypatch):
    encoder = RemoteEncoder(f"openai-compatible:{server.url}#m", sleep=slept.append)
    assert encoder.dim == 8
    for failure, said in (
        ((401, {}, {"error": {"message": "no key"}}), r"answered 401: no key\. A key goes into SEMSEARCH_API_KEY"),
        ((404, {}, b"model not found"), r"404: model not found\. Does it serve the model 'm'"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), r"answered 302"),
        ((200, {}, b"<html>"), "not JSON"),
        ((200, {}, {"data": []}), "gave no list of 1 embeddings under 'data'"),
        ((200, {}, {"data": [{"index": 3, "embedding": [1.0] * 8}]}), "can't be matched"),
        ((200, {}, {"data": [{"embedding": [1.0] * 7}]}), r"a vector of 7 components, where 8 were due"),
        (
            (200, {}, {"data": [{"embedding": ["x"] * 8}]}),
            "a list that holds a text, where an embedding is a list of numbers",
        ),
    ):
        server.failures = [failure]
        with pytest.raises(ModelError, match=said):
            encoder.encode_documents(["a"])
    assert slept == []
    server.refuse = "text 5"
    with pytest.raises(EncodingFailed, match=r"refused the text 'text 5': 400 too long"):
        encoder.encode_documents([f"text {n}" for n in range(20)])
    trust_named("openai-compatible:http://127.0.0.1:9/v1#m")
    nobody = RemoteEncoder("openai-compatible:http://127.0.0.1:9/v1#m", sleep=slept.append)
    with pytest.raises(ModelError, match=r"can't be reached .*, 6 times\. Is the server running"):
        nobody.encode_documents(["a"])
    for name in ("openai-compatible:localhost#m", "openai-compatible:http://x", "openai-compatible:file:///etc#m"):
        with pytest.raises(UsageError, match="is not of the form openai-compatible:URL#model"):
            named_encoder(name)


@pytest.mark.slow
def test_a_text_that_the_server_refuses_costs_its_document_alone(server):
    encoder = named_encoder(f"openai-compatible:{server.url}#m")
    server.refuse = DOCUMENTS[3].text
    told = []
    with semsearch.create("notes", encoder=encoder) as collection:
        assert collection.add(DOCUMENTS, on_error=told.append).added == 9
    assert len(told) == 1
    assert "'d3'" in str(told[0])


# An address that nobody here has said


@pytest.fixture
def strange(server, tmp_path, monkeypatch):
    """The server of a collection that came from elsewhere: on this machine nobody has said its address."""
    monkeypatch.setenv("SEMSEARCH_API_KEY", "secret")
    assert run("index", corpus(tmp_path), "-m", f"openai-compatible:{server.url}#m").code == 0
    with semsearch.open("notes") as notes:
        notes.backup(tmp_path / "notes.backup")
    monkeypatch.setenv("SEMSEARCH_STATE", str(tmp_path / "another person"))
    monkeypatch.setattr("semsearch.trusted._said", set())
    server.requests.clear()
    return server


def test_an_address_that_a_collection_names_gets_neither_key_nor_text(strange, tmp_path):
    line = f"semsearch trust {origin(strange.url)}"
    (tmp_path / "more.jsonl").write_text('{"_id": "new", "text": "new words"}\n')
    for words in (
        ["query", "notes", "oven"],
        ["index", tmp_path / "more.jsonl", "--name", "notes", "--add"],
        ["index", tmp_path / "more.jsonl", "--name", "notes", "--add", "--revision", "other"],
        ["restore", tmp_path / "notes.backup", "--name", "again"],
        ["query", "again", "oven"],
    ):
        ended = run(*words)
        if words[0] != "restore":
            assert (ended.code, ended.out) == (2, "")
            assert line in ended.err
    with semsearch.open("notes") as notes, pytest.raises(Untrusted, match=line):
        notes.search("oven")
    assert strange.requests == []
    assert run("info", "notes").code == 0
    assert len(run("query", "notes", "oven", "--mode", "lexical").lines) > 0  # for which nothing is sent


def test_it_gets_them_once_it_is_said(strange):
    assert run("trust", f"{strange.url}/embeddings").code == 0
    assert run("query", "notes", "oven").code == 0
    assert strange.requests
    assert run("trust", "--list").lines == [origin(strange.url)]
    assert run("trust", "--remove", strange.url).code == 0
    assert run("query", "notes", "oven").code == 2


def test_a_key_of_its_own_goes_to_its_address_and_the_other_does_not(strange, monkeypatch):
    monkeypatch.setenv("THEIR_KEY", "theirs")
    assert run("trust", strange.url, "--key-from", "THEIR_KEY").code == 0
    assert run("query", "notes", "oven").code == 0
    semsearch.create("mine", encoder=f"openai-compatible:{strange.url}#m").close()  # naming it again changes nothing
    assert {key for _, _, key in strange.requests} == {"Bearer theirs"}
    strange.requests.clear()
    monkeypatch.delenv("THEIR_KEY")
    assert run("query", "notes", "dough").code == 0
    assert {key for _, _, key in strange.requests} == {None}
    assert run("trust", strange.url, "--key-from", "").code == 0
    assert run("query", "notes", "loaf").code == 0
    assert strange.requests[-1][2] == "Bearer secret"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["http://localhost:1", "--key-from", "sk-my secret"], "no name of an environment variable"),
        ([".", "--key-from", "KEY"], "addresses alone"),
        (["http://localhost:1", "--key-from", "KEY", "--remove"], "addresses alone"),
    ],
)
def test_a_variable_is_named_for_an_address_alone(words, said):
    ended = run("trust", *words)
    assert ended.code == 2
    assert said in ended.err


def test_who_makes_a_collection_with_it_has_said_it(strange, tmp_path):
    semsearch.create("mine", encoder=f"openai-compatible:{strange.url}#m").close()
    trusted._said.clear()  # as another process
    assert run("query", "notes", "oven").code == 0


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_the_person_is_asked_once(strange, monkeypatch, answer):
    questions = []
    monkeypatch.setattr(trusted, "ask", lambda question: questions.append(question) or answer)
    with semsearch.open("notes") as notes:
        if answer:
            notes.search("oven")
            notes.search("dough")
            notes.add([Document(f"n{number}", "text") for number in range(200)])
        else:
            with pytest.raises(Untrusted):
                notes.search("oven")
    assert questions == [f"Send texts, and SEMSEARCH_API_KEY where it is set, to {origin(strange.url)}?"]
    assert bool(strange.requests) is answer


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no terminals to hand out here")
@pytest.mark.parametrize(("typed", "code"), [(b"y\n", 0), (b"n\n", 2)])
def test_the_command_line_asks_who_sits_at_it(strange, typed, code):
    ours, theirs = os.openpty()
    process = start("query", "notes", "oven", stdin=theirs, stderr=theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 1000)
    os.write(ours, typed)
    out, _ = process.communicate(timeout=60)
    os.close(theirs)
    os.close(ours)
    assert f"to {origin(strange.url)}? [y/N]" in said.decode()
    assert (process.returncode, bool(out), bool(strange.requests)) == (code, code == 0, code == 0)


def test_where_nothing_can_be_remembered_an_address_is_said_for_the_process(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEMSEARCH_STATE", str(tmp_path / "file"))
    monkeypatch.setattr("semsearch.trusted._said", set())
    with semsearch.create("notes", encoder=f"openai-compatible:{server.url}#m") as notes:
        notes.add([Document("a", "oven")])


@pytest.mark.parametrize(
    ("address", "spoken_to"),
    [
        ("https://API.example.org/v1", "https://api.example.org"),
        ("https://api.example.org:443/v1", "https://api.example.org"),
        ("http://api.example.org/v1", "http://api.example.org"),
        ("https://api.example.org:8080/v1", "https://api.example.org:8080"),
        ("https://api.example.org@evil.example.com/v1", "https://evil.example.com"),
        ("https://api.example.org#@evil.example.com", "https://api.example.org"),
        ("openai-compatible:http://[::1]:8080/v1#m", "http://[::1]:8080"),
    ],
)
def test_who_is_spoken_to_at_an_address(address, spoken_to):
    assert origin(address) == spoken_to


@pytest.mark.parametrize("address", ["ftp://x", "https://", "x", "http://[::1"])
def test_what_is_no_address_is_said(address):
    with pytest.raises(UsageError, match="is no address"):
        origin(address)
