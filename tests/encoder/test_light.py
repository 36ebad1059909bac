"""A question by numpy: as torch has it, without torch, and torch for all that is more than a few questions."""

import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from support import tiny
from support.command_line import corpus, run
from support.encoder_checkpoints import assert_alike_by_numpy, classic, dense, followed
from support.tiny import OLD, TEXTS

import semsearch
from indexes import without_torch
from semsearch.encoder import numpy_forward, numpy_modules
from semsearch.encoder.light import FEW_CHARACTERS, FEW_TEXTS, load_light
from semsearch.encoder.load import load_encoder, open_with
from semsearch.encoder.mapped_weights import Unsupported
from semsearch.encoder.numpy_modules import NumpyModules
from semsearch.errors import DataError, EncodingFailed, ModelError
from semsearch.types import Metric
from semsearch.vectors import brute_force

MODES = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


def loaded(folder, **settings):
    return load_encoder(str(folder), "cpu", "float32", **settings)


@pytest.mark.parametrize("mode", MODES)
def test_every_pooling_is_computed(tmp_path, mode):
    folder = classic(tmp_path, **{f"pooling_mode_{mode}": True})
    assert assert_alike_by_numpy(loaded(folder), folder)
    tiny.pooling(folder / "1_Pooling", **{f"pooling_mode_{mode}": True, "include_prompt": False})
    said = {"prompts": {"query": "ask the cat: ", "document": "dog "}}
    assert assert_alike_by_numpy(loaded(folder, **said), folder, **said)


def test_what_follows_the_pooling_is_computed(tmp_path):
    folder = followed(tmp_path, ("2_Dense", "Dense"), ("3_LayerNorm", "LayerNorm"), ("4_Normalize", "Normalize"))
    dense(folder / "2_Dense", 3)
    tiny.write_json(folder / "3_LayerNorm" / "config.json", {"dimension": 6})
    tiny.weights(folder / "3_LayerNorm", 4, norm__weight=(6,), norm__bias=(6,))
    for settings in ({}, {"truncate_dim": 4}, {"normalize": False}):
        assert assert_alike_by_numpy(loaded(folder, **settings), folder, **settings)


def test_words_are_looked_up(tmp_path):
    tiny.write_json(
        tmp_path / "0_Words" / "wordembedding_config.json",
        {"tokenizer_class": OLD + "tokenizer.WhitespaceTokenizer", "max_seq_length": 3},
    )
    vocabulary = {"vocab": ["the", "cat", "sat", "dog"], "stop_words": ["the"], "do_lower_case": True}
    tiny.write_json(tmp_path / "0_Words" / "whitespacetokenizer_config.json", vocabulary)
    tiny.weights(tmp_path / "0_Words", emb_layer__weight=(4, 8))
    tiny.pooling(tmp_path / "1_Pooling", dim=8, pooling_mode_mean_tokens=True)
    tiny.modules_json(tmp_path, ("0_Words", OLD + "WordEmbeddings"), ("1_Pooling", OLD + "Pooling"))
    assert assert_alike_by_numpy(loaded(tmp_path), tmp_path, ["the cat sat", "dog dog cat sat", "nothing", ""])


@pytest.mark.parametrize("missing", ["a pickle", "an unknown module"])
def test_what_numpy_can_not_do_is_left_to_torch(tmp_path, missing):
    if missing == "a pickle":
        folder = classic(tmp_path, safe=False)
    else:
        folder = followed(tmp_path, ("2_Dense", "Dense"))
        dense(folder / "2_Dense", 3)
        tiny.write_json(
            folder / "2_Dense" / "config.json", {"in_features": 16, "out_features": 16, "use_residual": True}
        )
    with pytest.raises(Unsupported):
        open_with(NumpyModules, str(folder))
    assert load_light(str(folder), None, lambda: pytest.fail("was opened")) is None


def test_a_few_questions_are_computed_by_numpy_and_more_by_torch(tmp_path):
    folder = classic(tmp_path)
    opened = []

    def whole():
        opened.append(loaded(folder))
        return opened[-1]

    encoder = load_light(str(folder), None, whole)
    wanted = loaded(folder)
    for texts in (TEXTS[:FEW_TEXTS], [TEXTS[0]], []):
        np.testing.assert_allclose(encoder.encode_queries(texts), wanted.encode_queries(texts), atol=4e-6)
        np.testing.assert_allclose(encoder.encode_documents(iter(texts)), wanted.encode_documents(texts), atol=4e-6)
    assert not opened
    assert encoder.window == wanted.window
    assert encoder.query_window == wanted.query_window
    many, long = ["cat"] * (FEW_TEXTS + 1), ["cat " * (FEW_CHARACTERS // 4) + "dog"]
    for texts in (many, long):
        assert np.array_equal(encoder.encode_queries(texts), wanted.encode_queries(texts))
    assert len(opened) == 1
    assert encoder.truncated == wanted.truncated


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_forked_child_does_not_wait_for_a_thread_that_is_not_there(tmp_path):
    encoder = load_light(str(classic(tmp_path)), None, lambda: pytest.fail("was opened"))
    full = encoder.stream("query")._full
    full.encoder = encoder  # as if it were open
    with full._lock:  # another thread's, when the fork comes
        child = os.fork()
        if not child:
            signal.alarm(20)  # ends it where it waits
            os._exit(0 if full.get() is encoder else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_vector_that_is_none_is_refused(tmp_path):
    folder = classic(tmp_path)
    encoder = load_light(str(folder), None, lambda: pytest.fail("was opened"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_modules.Pooling, "_pooled", lambda *_: np.full(16, np.nan, np.float32))
        with pytest.raises(EncodingFailed, match="NaN or infinite numbers for the text 'a cat'"):
            encoder.encode_queries(["a cat"])


@pytest.mark.parametrize("harm", ["cut", "header", "empty"])
def test_damaged_weights_are_a_sentence(tmp_path, harm):
    folder = classic(tmp_path)
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes({"cut": content[:-9], "header": b"\xff" * 8 + content[8:], "empty": b""}[harm])
    with pytest.raises(ModelError, match=r"model\.safetensors can't be read as weights"):
        open_with(NumpyModules, str(folder))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_in_other_numbers(tmp_path, dtype):
    import torch
    from safetensors.torch import load_file, save_file

    folder = classic(tmp_path)
    file = folder / "model.safetensors"
    save_file({name: tensor.to(getattr(torch, dtype)) for name, tensor in load_file(file).items()}, file)
    assert assert_alike_by_numpy(loaded(folder), folder)


def test_gelu_is_that_of_the_definition():
    rows = np.linspace(-12, 12, 9_001, dtype=np.float32)
    wanted = [0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in rows.tolist()]
    np.testing.assert_allclose(numpy_forward.gelu(rows), wanted, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------ searching


@pytest.mark.parametrize("rows", [None, 40])
@pytest.mark.parametrize("kind", ["apart", "equal", "close"])
def test_the_nearest_are_those_of_the_definition(kind, rows):
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((300, 24)).astype(np.float32)
    if kind == "equal":
        vectors[:] = vectors[rng.integers(0, 4, 300)]
    elif kind == "close":
        vectors[:] = vectors[0] + 1e-7 * vectors
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[:3] + np.float32(0.01)
    keys = rng.permutation(1_000)[:300].astype(np.int64)
    chosen = None if rows is None else np.sort(rng.permutation(300)[:rows])
    pairs = without_torch.Pairs(keys, vectors, Metric.COSINE)
    for k in (1, 7, 60):
        found = without_torch.search(keys, pairs, vectors, queries, k, chosen)
        among = slice(None) if chosen is None else chosen
        wanted = brute_force(keys[among], vectors[among], queries, k, Metric.COSINE)
        assert np.array_equal(found.keys, wanted.keys)
        assert np.array_equal(found.scores, wanted.scores)


def test_a_stored_vector_that_is_none_is_named():
    vectors = np.eye(4, dtype=np.float32)
    vectors[2, 2] = np.nan
    pairs = without_torch.Pairs(np.arange(4), vectors, Metric.COSINE)
    with pytest.raises(DataError, match="row 2 of the vectors"):
        without_torch.search(np.arange(4), pairs, vectors, vectors[:1], 2, None)


# ------------------------------------------------------------------------------------------------- from a fresh shell

WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers"):
            raise AssertionError(f"{name} is imported")

sys.meta_path.insert(0, Refuse())
from semsearch.cli.main import execute
sys.exit(execute(sys.argv[1:]))
"""


def fresh(*arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["exact", "hnsw", "faiss-ivf", "annoy"])
def test_no_command_for_one_question_imports_torch(tmp_path, backend):
    model = str(tiny.bert(tmp_path / "model"))
    with semsearch.create("notes", encoder=model, dtype="float32", index=backend) as notes:
        notes.add_from(corpus(tmp_path))
        hits = notes.search("oven dough", k=3)
    asked = fresh("query", "notes", "oven dough", "-k", 3)
    assert (asked.returncode, asked.stderr) == (0, "")
    scores = [float(line.split("\t")[1]) for line in asked.stdout.splitlines()]
    assert scores == pytest.approx([hit.score for hit in hits], abs=1e-5)  # a tiny model finds many alike
    others = (
        ("query", "notes", "oven dough", "--mode", "hybrid", "--json"),
        ("query", "notes", "oven dough", "--exact"),
        ("similar", "notes", hits[0].id),
        ("get", "notes", hits[0].id),
        ("list",),
        ("info", "notes"),
        ("remove", "notes", hits[0].id),
    )
    (tmp_path / "notes.txt").write_text("flour yeast\nwave tide\n")
    looked = ("grep", "oven dough", tmp_path / "notes.txt", "-m", model, "--min-score", -1)
    assert run(*looked).code == 0, "and what was encoded is kept"
    for command in (*others, looked, looked[:-2]) if backend == "exact" else ():
        ended = fresh(*command)
        assert "is imported" not in ended.stderr, command
        assert ended.returncode in ((0, 1) if command[0] == "grep" else (0,)), (command, ended.stderr)
