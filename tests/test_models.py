"""Models are opened once a process and shared, and go with the last who uses them."""

import gc
import os
import threading
import weakref
from contextlib import suppress

import numpy as np
import pytest
from support import tiny
from support.fakes import HashEncoder

import semsearch
from semsearch import models
from semsearch.encoder import load as encoders
from semsearch.errors import ModelError
from semsearch.hardware import Compute
from semsearch.reranker import load as rerankers
from semsearch.types import Document


@pytest.fixture
def opened(monkeypatch):
    """The names of models that were opened, in their order, encoders and rerankers."""
    names = []
    for module, opener in ((encoders, "load_encoder"), (rerankers, "load_reranker")):
        real = getattr(module, opener)

        def noted(name, *given, real=real, **more):
            names.append(name)
            return real(name, *given, **more)

        monkeypatch.setattr(module, opener, noted)
    return names


@pytest.fixture
def folder(tmp_path):
    return str(tiny.bert(tmp_path / "model"))


def cross_encoder(folder):
    """A tiny BERT that scores pairs."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tiny.SPECIAL + tiny.WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=1,
    )
    return str(tiny.save(BertForSequenceClassification(config), folder, tokenizer=tiny.bert_tokenizer))


@pytest.mark.slow
def test_collections_share_their_model(folder, opened):
    for name in ("one", "two"):
        with semsearch.create(name, encoder=folder) as collection:
            collection.add([Document(str(n), text) for n, text in enumerate(tiny.TEXTS)])
    del collection
    gc.collect()
    opened.clear()
    with semsearch.open("one") as one, semsearch.open("two") as two, semsearch.open("one") as again:
        for collection in (one, two, again):
            assert collection.search("why do vaccines work?", k=1)[0].document.id == "1"
        assert one.encoder is two.encoder is again.encoder
        with semsearch.create("three", encoder=folder) as three:
            assert three.encoder is one.encoder
    assert opened == [folder]


def test_collections_share_their_reranker(folder, tmp_path, opened):
    reranker = cross_encoder(tmp_path / "reranker")
    with semsearch.create("one", encoder=HashEncoder(8)) as one, semsearch.create("two", encoder=HashEncoder(8)) as two:
        for collection in (one, two):
            collection.add([Document(str(n), text) for n, text in enumerate(tiny.TEXTS)])
            assert len(collection.search("the cat", k=2, rerank=reranker)) == 2
    assert opened == [reranker]


def test_what_decides_a_model_tells_models_apart(folder, opened):
    one = models.encoder(folder, Compute("cpu", "float32"))
    assert models.encoder(folder, Compute("cpu", "float32")) is one
    others = [
        models.encoder(folder, Compute("cpu", "bfloat16")),
        models.encoder(folder, Compute("cpu", "float32", 256)),
        models.encoder(folder, Compute("auto", "float32")),
        models.encoder(folder, Compute("cpu", "float32"), revision="other"),
    ]
    assert len({id(model) for model in (one, *others)}) == len(opened) == 5
    assert models.encoder(folder, Compute(None, "float32")) is others[2], "None and auto are the same choice"
    assert models.encoder(os.path.relpath(folder), Compute("cpu", "float32")) is one, "another spelling of the path"


def test_a_model_written_anew_in_its_place_is_opened_anew(tmp_path, folder):
    before = models.encoder(folder)
    tiny.bert(tmp_path / "model", seed=1)
    after = models.encoder(folder)
    assert after is not before
    assert after.fingerprint != before.fingerprint


@pytest.mark.slow
def test_a_model_goes_with_the_last_who_uses_it(folder):
    one = semsearch.create("one", encoder=folder)
    two = semsearch.open("one")
    there = weakref.ref(one.encoder)
    assert two.encoder is there()
    one.close()
    del one
    gc.collect()
    assert two.encoder is there() is not None
    two.close()
    del two
    gc.collect()
    assert there() is None


def test_two_threads_at_once_open_a_model_once(folder, opened, monkeypatch):
    begun, go, found = threading.Barrier(8), threading.Event(), []
    real = encoders.load_encoder

    def slow(name, *given, **more):
        go.wait(60)
        return real(name, *given, **more)

    monkeypatch.setattr(encoders, "load_encoder", slow)

    def ask():
        begun.wait(60)
        found.append(models.encoder(folder))

    threads = [threading.Thread(target=ask) for _ in range(7)]
    for thread in threads:
        thread.start()
    begun.wait(60)
    go.set()
    for thread in threads:
        thread.join(60)
    assert len(found) == 7
    assert len(set(map(id, found))) == len(opened) == 1


def test_different_models_are_opened_side_by_side(monkeypatch):
    both = threading.Barrier(2)

    class Model:
        fingerprint = "x"

    def open_together(name, *_, **__):
        both.wait(60)  # broken if the other waited for this one
        return Model()

    monkeypatch.setattr(encoders, "load_encoder", open_together)
    found = []
    threads = [threading.Thread(target=lambda name=name: found.append(models.encoder(name))) for name in ("a/a", "b/b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2


def test_a_model_that_did_not_open_is_tried_again(folder, monkeypatch):
    real = encoders.load_encoder
    monkeypatch.setattr(encoders, "load_encoder", lambda *_, **__: (_ for _ in ()).throw(ModelError("not yet")))
    with pytest.raises(ModelError, match="not yet"):
        models.encoder(folder)
    monkeypatch.setattr(encoders, "load_encoder", real)
    assert models.encoder(folder).dim == 16


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_even_while_its_parent_opens_one(folder, monkeypatch):
    shared = models.encoder(folder, Compute("cpu"))
    inside, leave = threading.Event(), threading.Event()

    def stuck(*_, **__):
        inside.set()
        leave.wait(60)
        raise ModelError("never")

    real = encoders.load_encoder
    monkeypatch.setattr(encoders, "load_encoder", stuck)

    def ask():
        with suppress(ModelError):
            models.encoder(folder)

    thread = threading.Thread(target=ask)
    thread.start()
    inside.wait(60)
    monkeypatch.setattr(encoders, "load_encoder", real)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        own = models.encoder(folder, Compute("cpu"))
        waited_for = models.encoder(folder)  # its lock is held by a thread that is not here
        same = np.allclose(own.encode_queries(["the cat"]), waited_for.encode_queries(["the cat"]), atol=0.05)
        os.write(write, f"{own is not shared} {same}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    leave.set()
    thread.join(60)
    assert os.read(read, 20) == b"True True"


def test_a_reranker_takes_the_first_of_several_devices(tmp_path, opened):
    folder = cross_encoder(tmp_path / "reranker")
    one = models.reranker(folder, Compute("cpu,cpu", "float32"))
    assert models.reranker(folder, Compute("cpu", "float32")) is one
    assert str(one.device) == "cpu"


def test_asking_for_models_imports_none():
    import subprocess
    import sys

    program = "import sys, semsearch.models; print(sorted({'torch', 'transformers', 'httpx'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
