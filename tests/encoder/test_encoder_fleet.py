"""Several processes give what one gives, and a process that fails is told, not waited for."""

import gc
import json
import multiprocessing
import os
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tiny
from support.command_line import corpus, run

import semsearch
from semsearch import load_encoder
from semsearch.encoder import inference
from semsearch.encoder.attribution import in_float32
from semsearch.encoder.fleet import Fleet, spread
from semsearch.encoder.inference import Pipeline
from semsearch.encoder.prompts import Prompts
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.errors import EncodingFailed, ModelError, UsageError
from semsearch.types import Document, Metric

DIM = 64  # answers larger than what a pipe holds

pytestmark = pytest.mark.slow  # each starts processes that open a model


class Sums(torch.nn.Module):
    """Embeds letters and sums them."""

    shares_rows = True

    def forward(self, features):
        table = torch.randn(60, DIM, generator=torch.Generator().manual_seed(0))
        features.sentence = torch.segment_reduce(table[features.ids], "sum", lengths=features.lengths)
        return features


class Letters:
    """A tokenizer that cuts at 80 letters and counts what it cuts."""

    truncated = 0

    def __call__(self, texts, prompt=""):
        whole = [prompt + text for text in texts]
        self.truncated += sum(len(text) > 80 for text in whole)
        return [[ord(letter) % 60 for letter in text[:80]] for text in whole], len(prompt)


class Faulty(Pipeline):
    """A pipeline that fails when told to."""

    def encode(self, texts, prompt=""):
        if "die" in texts:
            os._exit(9)
        if "fault" in texts:
            raise EncodingFailed("NaN for 'fault'")
        if "odd" in texts:
            raise ZeroDivisionError("odd")
        return super().encode(texts, prompt)


def open_letters(*, device, broken=False):
    assert device == "cpu"
    if broken:
        raise ModelError("no such model")
    stream = Faulty(Letters(), [Sums()], DIM)
    return TextEncoder(
        name="letters",
        folder=Path(),
        where="made here",
        dim=DIM,
        metric=Metric.DOT,
        prompts=Prompts("query: ", "", "made here"),
        truncate_dim=None,
        normalized=False,
        fingerprint="letters",
        device=torch.device(device),
        dtype=torch.float32,
        streams={"query": stream, "document": stream},
        modules=["Sums"],
        tokenize=stream.tokenize,
    )


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return ["".join(map(chr, rng.integers(97, 123, length))) for length in rng.integers(1, 90, 35_000)]


@pytest.fixture(scope="module")
def two():
    return spread(open_letters, ["cpu", "cpu"])


def members(encoder):
    return encoder.stream("document")._fleet._members


def test_two_processes_give_what_one_gives(two, texts):
    assert len(texts) > 4 * inference.WINDOWS["cpu"], "both must have something to do, and something to wait for"
    one = open_letters(device="cpu")
    assert (two.dim, two.metric, two.fingerprint, two.name) == (DIM, Metric.DOT, "letters", "letters")
    assert two.description() == one.description()
    np.testing.assert_array_equal(two.encode_documents(texts), one.encode_documents(texts))
    assert two.truncated == one.truncated > 1000
    np.testing.assert_array_equal(two.encode_queries(texts[:100]), one.encode_queries(texts[:100]))
    np.testing.assert_array_equal(two.encode_documents(iter(texts[:3])), one.encode_documents(texts[:3]))
    assert two.encode_documents([]).shape == (0, DIM)


def test_a_batch_smaller_than_a_window_is_shared_out(two, texts, monkeypatch):
    sent = []
    for member in members(two):
        monkeypatch.setattr(member, "send", lambda work, send=member.send: (sent.append(len(work[2])), send(work))[1])
    two.encode_documents(texts[:1001])
    assert sent == [501, 500]


def test_two_threads_take_turns(two, texts):
    one, found = open_letters(device="cpu"), {}

    def encode(first):
        found[first] = two.encode_documents(texts[first : first + 500])

    threads = [threading.Thread(target=encode, args=(first,)) for first in range(0, 3000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for first, vectors in found.items():
        np.testing.assert_array_equal(vectors, one.encode_documents(texts[first : first + 500]))
    assert len(found) == 6


@pytest.mark.parametrize(("fault", "message"), [("fault", "NaN for 'fault'"), ("odd", "ZeroDivisionError: odd")])
def test_a_text_that_fails_costs_its_own_call_alone(two, texts, fault, message):
    before = [member.process.pid for member in members(two)]
    with pytest.raises(EncodingFailed, match=message):
        two.encode_documents([fault, *texts[:20_000]])
    np.testing.assert_array_equal(
        two.encode_documents(texts[:50]), open_letters(device="cpu").encode_documents(texts[:50])
    )
    assert [member.process.pid for member in members(two)] == before


def test_a_process_that_dies_is_told_and_started_anew(two, texts):
    before = [member.process.pid for member in members(two)]
    with pytest.raises(EncodingFailed, match=r"on cpu has ended \(exit code 9\).* run the same again"):
        two.encode_documents(["die", *texts[:10]])
    assert two.encode_documents(texts[:10]).shape == (10, DIM)
    assert not set(before) & {member.process.pid for member in members(two)}


def test_a_model_that_does_not_open_is_told():
    with pytest.raises(ModelError, match="no such model"):
        Fleet(partial(open_letters, broken=True), ["cpu", "cpu"])
    assert not [child for child in multiprocessing.active_children() if child.is_alive() and child.name == "broken"]


def test_processes_end_with_who_used_them():
    encoder = spread(open_letters, ["cpu"])
    (member,) = members(encoder)
    process = member.process
    assert process.is_alive()
    del encoder, member
    gc.collect()
    process.join(timeout=30)
    assert not process.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_leaves_its_parents_processes_alone(two, texts):
    wanted = two.encode_documents(texts[:9])
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, str(np.array_equal(two.encode_documents(texts[:9]), wanted)).encode())
        two.stream("document")._fleet.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"True"
    np.testing.assert_array_equal(two.encode_documents(texts[:9]), wanted)


# ---- by the name of the device --------------------------------------------------------------------------------------


def test_several_devices_are_named_by_commas(tmp_path):
    folder = str(tiny.bert(tmp_path / "model"))
    one = load_encoder(folder, "cpu", "float32", prompts={"query": "query: ", "document": ""})
    two = load_encoder(folder, "cpu, cpu", "float32", prompts={"query": "query: ", "document": ""})
    texts = tiny.TEXTS * 20
    assert len(members(two)) == 2
    assert (two.fingerprint, two.window, two.description()) == (one.fingerprint, one.window, one.description())
    np.testing.assert_allclose(two.encode_documents(texts), one.encode_documents(texts), atol=1e-6)
    np.testing.assert_allclose(two.encode_queries(texts[:2]), one.encode_queries(texts[:2]), atol=1e-6)
    assert isinstance(in_float32(two).stream("document"), Pipeline), "a model is taken apart in one process"


@pytest.mark.parametrize("said", ["cpu,", "auto,auto", "cpu,auto", ","])
def test_devices_are_of_one_kind_and_have_names(tmp_path, said):
    with pytest.raises(UsageError, match=r"must name devices of one kind.*cuda:0,cuda:1, or cpu,cpu"):
        load_encoder(str(tiny.bert(tmp_path)), said)


def test_a_device_that_is_not_there_is_told_before_a_process_starts(tmp_path):
    with pytest.raises(UsageError, match=r"'cuda:99' is not there"):
        load_encoder(str(tiny.bert(tmp_path)), "cuda:98,cuda:99".replace("98", "99"))
    with pytest.raises(UsageError, match=r"'gpu' names no device"):
        load_encoder(str(tmp_path), "gpu,gpu")


def test_a_collection_is_filled_by_two_processes(tmp_path):
    folder = str(tiny.bert(tmp_path / "model"))
    documents = [Document(str(n), text) for n, text in enumerate(tiny.TEXTS * 5)]
    with semsearch.create("two", encoder=folder, device="cpu,cpu", dtype="float32") as collection:
        assert len(members(collection.encoder)) == 2
        assert collection.add(documents).added == 30
        hits = collection.search("why do vaccines work?", k=3, explain=True)
    with semsearch.open("two", device="cpu", dtype="float32") as collection:
        same = collection.search("why do vaccines work?", k=3)
    assert [hit.document.id for hit in hits] == [hit.document.id for hit in same]
    assert hits[0].explanation is not None


def test_the_command_line_names_several_devices(tmp_path):
    model = str(tiny.bert(tmp_path / "model"))
    assert run("index", corpus(tmp_path), "-m", model, "--device", "cpu,cpu").code == 0
    found = run("query", "notes", "oven dough", "--device", "cpu,cpu", "--json")
    assert found.code == 0
    alone = run("query", "notes", "oven dough", "--device", "cpu", "--json")
    hits, same = (json.loads(one.out)["hits"] for one in (found, alone))
    assert [hit["id"] for hit in hits] == [hit["id"] for hit in same]
    assert run("query", "notes", "oven", "--device", "cpu,").code == 2


@pytest.mark.real
def test_the_real_model_in_two_processes(minilm, data):
    lines = (data / "tatoeba" / "tatoeba.deu-eng.eng").read_text("utf-8").splitlines()[:300]
    one = load_encoder(str(minilm), "cpu", "float32").encode_documents(lines)
    two = load_encoder(str(minilm), "cpu,cpu", "float32").encode_documents(lines)
    np.testing.assert_allclose(two, one, atol=1e-6)
