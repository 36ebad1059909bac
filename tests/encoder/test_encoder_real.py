"""The encoder on the real all-MiniLM-L6-v2: the published figures, and sentence-transformers' own vectors."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from support.sts import sts_benchmark

import semsearch
from semsearch.encoder import resolve
from semsearch.errors import ModelError

pytestmark = pytest.mark.real

MODEL = "all-MiniLM-L6-v2"
SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]


@pytest.fixture(scope="module", autouse=True)
def _package_only(tmp_path_factory):
    """Nothing from this user's own Hugging Face cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
        yield


@pytest.fixture(scope="module")
def encoder(minilm):
    return semsearch.load_encoder(MODEL, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def peer(minilm):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    return sentence_transformers.SentenceTransformer(str(minilm), device="cpu")


def test_similarities_are_those_published(encoder):
    vectors = encoder.encode_documents(SENTENCES)
    similarities = vectors @ vectors.T
    found = [similarities[0, 1], similarities[0, 2], similarities[1, 2]]
    assert np.round(found, 4).tolist() == pytest.approx([0.6660, 0.1046, 0.1411], abs=5e-5)


def test_what_the_model_says_of_itself(encoder):
    assert (encoder.name, encoder.dim, encoder.metric) == (
        "sentence-transformers/all-MiniLM-L6-v2",
        384,
        semsearch.Metric.COSINE,
    )
    assert encoder.window == 254  # 256 tokens, two of them special
    assert encoder.prompts.query == encoder.prompts.document == ""


def test_500_real_texts_are_encoded_as_by_sentence_transformers(encoder, peer, data):
    texts = []
    with (data / "quora-pairs.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            texts += [field for field in row if len(field) > 12]
            if len(texts) > 300:
                break
    with (data / "scifact" / "corpus.jsonl").open(encoding="utf-8") as file:
        import json

        texts = texts[:300] + [json.loads(line)["text"] for line, _ in zip(file, range(200), strict=False)]
    assert len(texts) == 500
    assert max(len(encoder.tokenizer.encode(text).ids) for text in texts) > 256  # some are cut
    ours, theirs = encoder.encode_documents(texts), peer.encode(texts)
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 1e-5
    assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() < 1e-6


def test_five_hits_of_the_documentation(encoder):
    """The output printed in sentence-transformers' semantic search example."""
    corpus = [
        *("A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby."),
        *("A man is riding a horse.", "A woman is playing violin.", "Two men pushed carts through the woods."),
        *("A man is riding a white horse on an enclosed ground.", "A monkey is playing drums."),
        "A cheetah is running behind its prey.",
    ]
    published = {
        "A man is eating pasta.": [(0, 0.7035), (1, 0.5272), (3, 0.1889), (6, 0.1047), (8, 0.0980)],
        "Someone in a gorilla costume is playing a set of drums.": [
            *((7, 0.6433), (4, 0.2564), (3, 0.1389), (6, 0.1191), (8, 0.1080)),
        ],
        "A cheetah chases prey on across a field.": [(8, 0.8253), (0, 0.1399), (7, 0.1292)],
    }
    scores = encoder.encode_queries(list(published)) @ encoder.encode_documents(corpus).T
    for row, hits in zip(scores, published.values(), strict=True):
        assert np.argsort(-row)[: len(hits)].tolist() == [place for place, _ in hits]
        assert row[[place for place, _ in hits]] == pytest.approx([score for _, score in hits], abs=1e-4)


def test_sts_benchmark_is_as_published(encoder, data):
    assert sts_benchmark(encoder, data) == pytest.approx(82.03, abs=0.1)


def test_bfloat16_stays_close(encoder, minilm):
    half = semsearch.load_encoder(str(minilm), device="cpu", dtype="bfloat16")
    cosines = (half.encode_documents(SENTENCES) * encoder.encode_documents(SENTENCES)).sum(axis=1)
    assert cosines.min() > 0.999
    assert half.fingerprint == encoder.fingerprint  # neither the dtype nor the path is identity


def test_neither_transformers_nor_the_hub_is_imported(minilm):
    """They would cost seconds at every cold start."""
    program = (
        "import sys, semsearch; semsearch.load_encoder('all-MiniLM-L6-v2').encode_queries(['why']);"
        "print([name for name in ('transformers', 'huggingface_hub', 'sentence_transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_another_file_under_the_packages_name_is_refused(minilm, monkeypatch, tmp_path):
    (module, inner, _), wrong = resolve.PACKAGED_MODELS["sentence-transformers/all-MiniLM-L6-v2"], "0" * 64
    monkeypatch.setitem(resolve.PACKAGED_MODELS, "sentence-transformers/all-MiniLM-L6-v2", (module, inner, wrong))
    with pytest.raises(ModelError, match=r"SHA-256 53aa51172d142c89.* but must have 0000"):
        semsearch.load_encoder(MODEL)
