"""Texts to vectors: in order, alone or together the same, in bounded memory, and never silently wrong."""

import csv
import threading

import numpy as np
import pytest
import torch
from torch import nn

from semsearch.encoder import inference as module
from semsearch.encoder.inference import Pipeline, windows
from semsearch.errors import EncodingFailed, UsageError

pytestmark = pytest.mark.threads

DIM = 6


def letters(texts, prompt=""):
    """A token for each letter."""
    return [[ord(letter) % 50 for letter in prompt + text] for text in texts], len(prompt)


class Bag(nn.Module):
    """The mean of random letter embeddings, weighted by their place: cheap, and different for every text."""

    shares_rows = True

    def __init__(self):
        super().__init__()
        self.table = torch.randn(50, DIM, generator=torch.Generator().manual_seed(0))
        self.batches = []

    def forward(self, features):
        assert features.rows is not None
        assert int(features.lengths.sum()) == len(features.ids) == len(features.rows.positions)
        self.batches.append(features.rows.count * features.rows.length)
        weighted = self.table[features.ids] * (1 + features.rows.positions)[:, None]
        parts = weighted.split(features.lengths.tolist())
        features.sentence = torch.stack([part.sum(0) for part in parts]) / features.lengths.clamp(min=1)[:, None]
        return features


def expected(texts, prompt=""):
    table = Bag().table.double()
    vectors = []
    for text in texts:
        ids = letters([text], prompt)[0][0]
        places = torch.arange(1, len(ids) + 1)[:, None]
        vectors.append((table[ids] * places).sum(0) / max(1, len(ids)))
    return torch.stack(vectors).numpy()


@pytest.fixture
def bag():
    return Bag()


@pytest.fixture
def texts():
    rng = np.random.default_rng(1)
    return ["".join(map(chr, rng.integers(97, 123, length))) for length in rng.integers(1, 120, 500)]


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch):
    """Several windows and pieces even for few texts."""
    monkeypatch.setitem(module.WINDOWS, "cpu", 64)
    monkeypatch.setattr(module, "TOKENIZED_TEXTS", 10)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 5, 16, 17, 64, 65, 500])
def test_vectors_come_in_the_order_of_the_texts(bag, texts, count):
    vectors = Pipeline(letters, [bag], DIM, batch_tokens=256).encode(texts[:count])
    assert vectors.shape == (count, DIM)
    assert vectors.dtype == np.float32
    if count:
        np.testing.assert_allclose(vectors, expected(texts[:count]), rtol=1e-5, atol=1e-5)
        assert max(bag.batches) <= 256


def test_the_prompt_stands_before_every_text(bag, texts):
    vectors = Pipeline(letters, [bag], DIM).encode(texts[:40], "query: ")
    np.testing.assert_allclose(vectors, expected(texts[:40], "query: "), rtol=1e-5, atol=1e-5)


def test_an_iterator_streams_through_bounded_windows(bag, texts):
    taken = []

    def source():
        for text in texts:
            taken.append(threading.current_thread())
            yield text

    done = 0
    for block in Pipeline(letters, [bag], DIM).stream(source()):
        np.testing.assert_allclose(block, expected(texts[done : done + len(block)]), rtol=1e-5, atol=1e-5)
        done += len(block)
        assert len(taken) <= done + 2 * 64 + 1, "texts are read far ahead of their use"
    assert done == len(texts)
    assert set(taken) == {threading.current_thread()}, "the caller's iterator ran in another thread"


def test_a_window_is_bounded_in_characters():
    sizes = [len(window) for window in windows(["x" * 10_000] * 10, torch.device("cpu"))]
    assert sizes == [3, 3, 3, 1]
    assert [len(window) for window in windows(["x" * 10**6, "y"], torch.device("cpu"))] == [1, 1]


def test_any_number_of_sharers_get_windows_in_order(texts):
    for shares in (1, 2, 3, 7):
        made = list(windows(texts, torch.device("cpu"), shares))
        assert [text for window in made for text in window] == texts
        assert len(made) >= shares
        assert max(map(len, made)) <= -(-len(texts) // shares)


def test_an_error_of_the_tokenizer_arrives(bag, texts):
    def broken(texts, prompt=""):
        if "bad" in texts:
            raise KeyError("bad")
        return letters(texts, prompt)

    with pytest.raises(KeyError, match="bad"):
        Pipeline(broken, [bag], DIM).encode([*texts, "bad"])


def test_leaving_a_stream_early_leaves_no_thread(bag, texts):
    before = threading.active_count()
    stream = Pipeline(letters, [bag], DIM).stream(texts)
    next(stream)
    stream.close()
    assert threading.active_count() == before


# Threads.


class Counting(Bag):
    """Notes how many threads torch has in each batch, and whether it is the caller's own that computes."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.caller = threading.get_ident()

    def forward(self, features):
        self.seen.append((torch.get_num_threads(), threading.get_ident() == self.caller))
        return super().forward(features)


@pytest.mark.parametrize("pays", [False, True])
def test_batches_go_side_by_side_and_a_lone_one_where_it_is_fastest(texts, monkeypatch, pays):
    monkeypatch.setattr(module, "sharing_pays", lambda dtype: pays)
    torch.set_num_threads(2)
    counting = Counting()
    pipeline = Pipeline(letters, [counting], DIM)
    np.testing.assert_allclose(pipeline.encode(texts), expected(texts), rtol=1e-5, atol=1e-5)
    assert set(counting.seen) == {(1, False)}
    counting.seen.clear()
    np.testing.assert_allclose(pipeline.encode(texts[:1]), expected(texts[:1]), rtol=1e-5, atol=1e-5)
    assert counting.seen == [(2 if pays else 1, True)]
    assert torch.get_num_threads() == 2


def test_a_few_texts_give_every_thread_a_batch(texts):
    torch.set_num_threads(2)
    counting = Counting()
    few = [text for text in texts if len(text) > 50][:10]
    Pipeline(letters, [counting], DIM).encode(few)
    assert len(counting.seen) > 1
    assert max(counting.batches) < sum(map(len, few))


# Memory.


class Greedy(Bag):
    """Has no memory for batches of more than `room` slots."""

    def __init__(self, room, error):
        super().__init__()
        self.room, self.error = room, error

    def forward(self, features):
        if features.rows.count * features.rows.length > self.room:
            raise self.error
        return super().forward(features)


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
]


@pytest.mark.parametrize("error", NO_MEMORY)
@pytest.mark.parametrize("room", [128, 1_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_out_of_memory_makes_smaller_batches(texts, error, room, threads):
    torch.set_num_threads(threads)
    greedy = Greedy(room, error)
    pipeline = Pipeline(letters, [greedy], DIM)
    vectors = pipeline.encode(texts)
    np.testing.assert_allclose(vectors, expected(texts), rtol=1e-5, atol=1e-5)
    assert pipeline.budget < module.CPU_BUDGET, "later batches begin smaller"


def test_no_memory_for_a_single_text_is_told(texts):
    pipeline = Pipeline(letters, [Greedy(40, NO_MEMORY[0])], DIM)
    with pytest.raises(EncodingFailed, match=r"no memory for the text '[a-z]+"):
        pipeline.encode(texts)


def test_other_errors_are_not_taken_for_a_lack_of_memory(texts):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Pipeline(letters, [Greedy(1, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))], DIM).encode(texts)


# Numbers that are none.


class Poisoned(Bag):
    """A letter gives NaN, and what lies beside it in a batch catches it."""

    def __init__(self, poison, contagious):
        super().__init__()
        self.poison, self.contagious = ord(poison) % 50, contagious

    def forward(self, features):
        ill = [bool((part == self.poison).any()) for part in features.ids.split(features.lengths.tolist())]
        features = super().forward(features)
        if any(ill):
            features.sentence[:: 1 if self.contagious else 10**9] = torch.nan
            features.sentence[torch.tensor(ill)] = torch.inf
        return features


@pytest.mark.parametrize("contagious", [False, True])
@pytest.mark.parametrize("count", [3, 300])
def test_numbers_that_are_none_name_their_text(texts, contagious, count):
    healthy = [text.replace("z", "a") for text in texts[:count]]
    healthy[count // 2] = "a zebra"
    with pytest.raises(EncodingFailed, match=r"the text 'a zebra'.*--dtype float32"):
        Pipeline(letters, [Poisoned("z", contagious)], DIM).encode(healthy)


def test_a_batch_must_hold_something(bag):
    with pytest.raises(UsageError, match="batch_tokens is 3"):
        Pipeline(letters, [bag], DIM, batch_tokens=3)


# The real model.


@pytest.fixture(scope="module")
def questions(data):
    with (data / "quora-pairs.tsv").open(encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row["question1"] for row, _ in zip(rows, range(200), strict=False)]


@pytest.mark.real
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 1e-3)])
def test_a_text_has_the_same_vector_whatever_its_neighbours(minilm, questions, dtype, tolerance):
    from semsearch.encoder.load import load_encoder

    encoder = load_encoder(str(minilm), "cpu", dtype)
    passages = [" ".join(questions[i : i + 12]) for i in range(0, 36, 4)]
    mixed = [*questions[:60], *passages, *questions[60:]]
    together = encoder.encode_documents(mixed)
    chosen = [*range(0, 60, 3), *range(60, 69)]
    alone = np.concatenate([encoder.encode_documents([mixed[i]]) for i in chosen])
    assert np.abs(together[chosen] - alone).max() <= tolerance
    order = np.random.default_rng(0).permutation(len(mixed))
    shuffled = encoder.encode_documents([mixed[i] for i in order])
    assert np.abs(together[order] - shuffled).max() <= tolerance
    assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < 1e-6


@pytest.mark.real
def test_bfloat16_keeps_the_direction(minilm, questions):
    from semsearch.encoder.load import load_encoder

    exact = load_encoder(str(minilm), "cpu", "float32").encode_documents(questions)
    short = load_encoder(str(minilm), "cpu", "bfloat16").encode_documents(questions)
    assert (exact * short).sum(1).min() > 0.999
