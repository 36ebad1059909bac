"""Several processes give what one gives, and a process that fails is told, not waited for."""

import os
from functools import partial

import numpy as np
import pytest
import torch

from semsearch.encoder import pipeline
from semsearch.encoder.fleet import Fleet
from semsearch.encoder.pipeline import Pipeline
from semsearch.errors import EncodingFailed, ModelError, UsageError
from semsearch.types import Metric

DIM = 64  # answers larger than what a pipe holds


class Sums(torch.nn.Module):
    """Embeds letters and sums them."""

    shares_rows = True

    def forward(self, features):
        table = torch.randn(60, DIM, generator=torch.Generator().manual_seed(0))
        features.sentence = torch.segment_reduce(table[features.ids], "sum", lengths=features.lengths)
        return features


def letters(texts, prompt=""):
    return [[ord(letter) % 60 for letter in prompt + text] for text in texts], len(prompt)


class Tiny:
    """An encoder that is opened in no time, and fails when told to."""

    dim, metric, fingerprint = DIM, Metric.DOT, "tiny"

    def __init__(self, fault):
        self.fault = fault
        self.pipeline = Pipeline(letters, [Sums()], DIM)

    def encode_documents(self, texts):
        if self.fault and "fault" in texts:
            if self.fault == "die":
                os._exit(9)
            raise {"raise": EncodingFailed("NaN for 'fault'"), "odd": ZeroDivisionError("odd")}[self.fault]
        return self.pipeline.encode(texts)

    def encode_queries(self, texts):
        return self.pipeline.encode(texts, "query: ")


def open_tiny(*, device, fault=None):
    assert device.startswith("cpu")
    if fault == "open":
        raise ModelError("no such model")
    return Tiny(fault)


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return ["".join(map(chr, rng.integers(97, 123, length))) for length in rng.integers(1, 90, 35_000)]


@pytest.fixture(scope="module")
def fleet():
    with Fleet(open_tiny, ["cpu", "cpu"]) as fleet:
        yield fleet


def test_two_processes_give_what_one_gives(fleet, texts):
    assert len(texts) > 4 * pipeline.WINDOWS["cpu"], "both must have something to do, and something to wait for"
    one = Tiny(None)
    assert (fleet.dim, fleet.metric, fleet.fingerprint) == (DIM, Metric.DOT, "tiny")
    seen = []
    np.testing.assert_array_equal(fleet.encode_documents(texts, progress=seen.append), one.encode_documents(texts))
    assert seen[-1] == len(texts)
    np.testing.assert_array_equal(fleet.encode_queries(texts[:100]), one.encode_queries(texts[:100]))
    assert fleet.encode_documents([]).shape == (0, DIM)


def test_room_that_is_given_is_used(fleet, texts):
    out = np.empty((30, DIM), np.float32)
    assert fleet.encode_documents(iter(texts[:30]), out=out) is out
    np.testing.assert_array_equal(out, Tiny(None).encode_documents(texts[:30]))


@pytest.mark.parametrize(
    ("fault", "message"),
    [("raise", "NaN for 'fault'"), ("odd", "ZeroDivisionError: odd"), ("die", r"on cpu has ended \(exit code 9\)")],
)
def test_a_failing_process_is_told(texts, fault, message):
    with Fleet(partial(open_tiny, fault=fault), ["cpu"]) as fleet:
        with pytest.raises(EncodingFailed, match=message):
            fleet.encode_documents(["fault", *texts[:10]])
        with pytest.raises(UsageError, match="closed"):
            fleet.encode_documents(texts[:2])


def test_a_model_that_does_not_open_is_told():
    with pytest.raises(ModelError, match="no such model"):
        Fleet(partial(open_tiny, fault="open"), ["cpu", "cpu"])


def test_a_fleet_needs_a_device():
    with pytest.raises(UsageError, match="one device or more"):
        Fleet(open_tiny, [])


@pytest.mark.real
def test_the_real_model_in_two_processes(minilm, data):
    from semsearch.encoder.load import load_encoder

    lines = (data / "tatoeba" / "tatoeba.deu-eng.eng").read_text("utf-8").splitlines()[:300]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = load_encoder(str(minilm), "cpu", "float32").encode_documents(lines)
    finally:
        torch.set_num_threads(before)
    with Fleet(partial(load_encoder, str(minilm), dtype="float32"), ["cpu", "cpu"]) as fleet:
        np.testing.assert_allclose(fleet.encode_documents(lines), one, atol=1e-6)
