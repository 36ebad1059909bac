"""Word models and static embeddings, generated tiny: as sentence-transformers has them, model2vec by its definition."""

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import tiny
from support.encoder_checkpoints import V5, assert_as_peer
from support.tiny import OLD

from semsearch import load_encoder
from semsearch.encoder.tokenization import Model2VecTokenizer, load_tokenizer
from semsearch.encoder.word_tokenization import PhraseTokenizer, WhitespaceTokenizer
from semsearch.errors import ModelError
from semsearch.types import Windowed

VOCAB = [
    "PADDING_TOKEN",
    "the",
    "cat",
    "Cat",
    "sat",
    "mat",
    "u.s.",
    "New_York",
    "new_york_city",
    "city",
    "why",
    "do",
    "vaccines",
]
VOCAB += ["work", "water", "boils", "New", "York", "sea", "level", "he", "drove"]
STOP = ["the", "!", "?", ".", ","]
TEXTS = [
    "The cat sat on the mat.",
    "why do vaccines work ?",
    "Water, boils at sea level ... (the) CAT's cat!",
    "he drove to New York , in the U.S.",
    "zebra quagga",  # not one word is known
    "New York City and the city new york city",
]


def word_embeddings(
    folder, tokenizer="WhitespaceTokenizer", *, file="whitespacetokenizer_config.json", limit=1000000, **more
):
    tiny.write_json(
        folder / "wordembedding_config.json",
        {"tokenizer_class": OLD + "tokenizer." + tokenizer, "update_embeddings": False, "max_seq_length": limit},
    )
    tiny.write_json(folder / file, {"vocab": VOCAB, "stop_words": STOP, "do_lower_case": False, **more})
    return tiny.weights(folder, safe=False, emb_layer__weight=(len(VOCAB), 8))


def averaged(folder, *between, **modes):
    """Word embeddings, modules between as (path, class, width), pooling."""
    width = between[-1][2] if between else 8
    tiny.pooling(folder / "9_Pooling", dim=width, **(modes or {"pooling_mode_mean_tokens": True}))
    tiny.modules_json(
        folder,
        ("0_WordEmbeddings", OLD + "WordEmbeddings"),
        *((path, OLD + kind) for path, kind, _ in between),
        ("9_Pooling", OLD + "Pooling"),
    )
    return folder


def test_average_of_word_vectors(tmp_path):
    word_embeddings(tmp_path / "0_WordEmbeddings")
    encoder = assert_as_peer(averaged(tmp_path), TEXTS)
    assert not isinstance(encoder, Windowed)  # nothing cuts its texts
    assert (encoder.encode_documents(TEXTS)[4] == 0).all()  # and no word known is no vector, and no error


@pytest.mark.parametrize("limit", [3])
def test_words_are_cut_where_declared(tmp_path, limit):
    word_embeddings(tmp_path / "0_WordEmbeddings", limit=limit)
    assert assert_as_peer(averaged(tmp_path), TEXTS).truncated > 0


@pytest.mark.slow
def test_phrases(tmp_path):
    pytest.importorskip("nltk")
    word_embeddings(
        tmp_path / "0_WordEmbeddings",
        "PhraseTokenizer",
        file="phrasetokenizer_config.json",
        ngram_separator="_",
        max_ngram_length=5,
    )
    assert_as_peer(averaged(tmp_path), TEXTS)
    tokenizer = PhraseTokenizer(VOCAB, STOP)
    ids, _ = tokenizer(["New York City , he said: drove in New York."])
    assert [VOCAB[i] for i in ids[0]] == ["new_york_city", "he", "drove", "New_York"]


def test_lookup_of_a_word():
    tokenizer = WhitespaceTokenizer(VOCAB, STOP)
    ids, prompt = tokenizer(['the U.S. u.s. "Cat" CAT cat, THE "the" mat?! ???'])
    assert [VOCAB[i] for i in ids[0]] == ["u.s.", "Cat", "cat", "cat", "mat"]  # "U.S." loses its last dot first
    assert prompt == 0
    read = tokenizer.read(['the U.S. "Cat", Zebra! ???', "the cat"])
    assert [each.unknown for each in read] == [("u.s", "zebra"), ()]


def test_word_weights_divide_the_mean(tmp_path):
    word_embeddings(tmp_path / "0_WordEmbeddings")
    folder = tmp_path / "1_WordWeights"
    idf = {"cat": 3.5, "mat": 0.25, "water": 2.0, "new_york_city": 5.0, "work": 0.0}
    tiny.write_json(folder / "config.json", {"vocab": VOCAB, "word_weights": idf, "unknown_word_weight": 1.5})
    table = torch.tensor([[idf.get(word, idf.get(word.lower(), 1.5))] for word in VOCAB])
    torch.save({"emb_layer.weight": table}, folder / "pytorch_model.bin")
    for mode in ("mean", "mean_sqrt_len", "weightedmean"):
        assert_as_peer(
            averaged(tmp_path, ("1_WordWeights", "WordWeights", 8), **{f"pooling_mode_{mode}_tokens": True}), TEXTS
        )


def test_lstm_over_words(tmp_path):
    word_embeddings(tmp_path / "0_WordEmbeddings")
    folder = tmp_path / "1_LSTM"
    config = {"word_embedding_dimension": 8, "hidden_dim": 5, "num_layers": 2, "dropout": 0.1, "bidirectional": True}
    tiny.write_json(folder / "lstm_config.json", config)
    torch.manual_seed(3)
    torch.save(
        {f"encoder.{k}": v for k, v in torch.nn.LSTM(8, 5, num_layers=2, bidirectional=True).state_dict().items()},
        folder / "pytorch_model.bin",
    )
    for mode in ("mean_tokens", "max_tokens"):
        texts = [text for text in TEXTS if mode == "mean_tokens" or "zebra" not in text]  # there the peer has -inf
        assert_as_peer(averaged(tmp_path, ("1_LSTM", "LSTM", 10), **{f"pooling_mode_{mode}": True}), texts)


def test_cnn_over_words(tmp_path):
    """One text at a time: in a batch, sentence-transformers lets the padding's vector into shorter texts."""
    word_embeddings(tmp_path / "0_WordEmbeddings")
    folder = tmp_path / "1_CNN"
    tiny.write_json(
        folder / "cnn_config.json", {"in_word_embedding_dimension": 8, "out_channels": 4, "kernel_sizes": [1, 3, 5]}
    )
    shapes = {f"convs__{i}__weight": (4, 8, kernel) for i, kernel in enumerate((1, 3, 5))}
    tiny.weights(folder, safe=False, **shapes, **{f"convs__{i}__bias": (4,) for i in range(3)})
    folder = averaged(tmp_path, ("1_CNN", "CNN", 12), pooling_mode_max_tokens=True)
    encoder = load_encoder(str(folder), dtype="float32")
    together = encoder.encode_documents(TEXTS)
    from sentence_transformers import SentenceTransformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = SentenceTransformer(str(folder), device="cpu")
    for i, text in enumerate(TEXTS):
        if "zebra" not in text:
            assert np.abs(together[i] - peer.encode([text], normalize_embeddings=True)[0]).max() < 1e-6


@pytest.mark.parametrize("cumulative", [True, False])
def test_bag_of_words(tmp_path, cumulative):
    config = {"vocab": VOCAB, "word_weights": {"cat": 2.5, "york": 0.5}, "unknown_word_weight": 1}
    tiny.write_json(tmp_path / "0_BoW" / "config.json", config | {"cumulative_term_frequency": cumulative})
    tiny.modules_json(tmp_path, ("0_BoW", OLD + "BoW"))
    assert assert_as_peer(tmp_path, [*TEXTS, "cat cat cat mat"]).dim == len(VOCAB)


# ---- static embeddings ----------------------------------------------------------------------------------------------


def static(folder, tensors):
    """The tokenizer of a BERT, and a table."""
    tiny.bert_tokenizer(folder)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    save_file(tensors, folder / "model.safetensors")


TOKENS = len(tiny.SPECIAL + tiny.WORDS)


def table(rows=TOKENS):
    return torch.randn((rows, 8), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("key", ["embedding.weight", "embeddings"])
def test_static_embedding(tmp_path, key):
    static(tmp_path / "0_StaticEmbedding", {key: table()})
    tiny.modules_json(
        tmp_path, ("0_StaticEmbedding", V5 + "static_embedding.StaticEmbedding"), ("1_Normalize", OLD + "Normalize")
    )
    encoder = assert_as_peer(tmp_path, [*tiny.TEXTS, "the cat " * 500])
    assert not isinstance(encoder, Windowed)


def model2vec(folder, tensors, **config):
    static(folder, tensors)
    said = {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": True, **config}
    tiny.write_json(folder / "config.json", said)
    return folder


def by_definition(folder, texts, tensors, normalize=True):
    """Mean of weights[token] · embeddings[mapping[token]] over at most 512 known tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = []
    for text in texts:
        ids = [i for i in tokenizer.encode(text, add_special_tokens=False).ids if i != tokenizer.token_to_id("[UNK]")][
            :512
        ]
        vectors = tensors["embeddings"].numpy()
        mapped = tensors["mapping"].numpy()[ids] if "mapping" in tensors else ids
        weighed = vectors[mapped] * (tensors["weights"].numpy()[ids][:, None] if "weights" in tensors else 1)
        mean = weighed.mean(axis=0) if ids else np.zeros(vectors.shape[1])
        rows.append(mean / (np.linalg.norm(mean) or 1) if normalize else mean)
    return np.array(rows, dtype=np.float32)


WEIGHTS = torch.rand(TOKENS, generator=torch.Generator().manual_seed(2))
MAPPING = torch.arange(TOKENS) % 11
M2V_TEXTS = [*tiny.TEXTS, "the zebra quagga runs", "zebra", "the big cat " * 400]


@pytest.mark.parametrize(
    "tensors",
    [
        {"embeddings": table()},
        {"embeddings": table(), "weights": WEIGHTS},
        {"embeddings": table(11), "weights": WEIGHTS, "mapping": MAPPING},
        {"embeddings": table(11).half(), "mapping": MAPPING},
    ],
    ids=["plain", "weights", "weights and mapping", "half precision"],
)
def test_model2vec(tmp_path, tensors):
    folder = model2vec(tmp_path, tensors)
    encoder = load_encoder(str(folder))
    vectors = encoder.encode_documents(M2V_TEXTS)
    wanted = by_definition(
        folder, M2V_TEXTS, {name: t.float() if name == "embeddings" else t for name, t in tensors.items()}
    )
    assert np.abs(vectors - wanted).max() < 1e-6
    assert isinstance(encoder, Windowed)
    assert encoder.window == 512
    assert encoder.truncated == 1


def test_model2vec_with_a_modules_json_is_model2vec_all_the_same(tmp_path):
    tensors = {"embeddings": table(11), "mapping": MAPPING}
    folder = model2vec(tmp_path, tensors)
    tiny.modules_json(folder, (".", "sentence_transformers.models.StaticEmbedding"), ("1_Normalize", OLD + "Normalize"))
    vectors = load_encoder(str(folder)).encode_documents(M2V_TEXTS)
    assert np.abs(vectors - by_definition(folder, M2V_TEXTS, tensors)).max() < 1e-6


def test_model2vec_keeps_lengths_where_told(tmp_path):
    folder = model2vec(tmp_path, {"embeddings": table()}, normalize=False)
    vectors = load_encoder(str(folder), normalize=False).encode_documents(tiny.TEXTS)
    assert np.abs(vectors - by_definition(folder, tiny.TEXTS, {"embeddings": table()}, normalize=False)).max() < 1e-6


def test_model2vec_drops_unknown_words_before_it_cuts(tmp_path):
    folder = model2vec(tmp_path, {"embeddings": table()})
    ids, _ = Model2VecTokenizer(load_tokenizer(folder))(["zebra " * 600 + "cat dog"])
    assert len(ids[0]) == 2


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"embeddings": table(), "mapping": MAPPING + 60}, "leads beyond the 58 vectors"),
        ({"embeddings": table(), "weights": WEIGHTS[:9]}, "has 9 token weights for 58 tokens"),
        ({"embeddings": table(), "bias": WEIGHTS}, "known are embedding.weight, embeddings, mapping, weights"),
    ],
)
def test_static_tensors_that_do_not_fit(tmp_path, tensors, message):
    with pytest.raises(ModelError, match=message):
        load_encoder(str(model2vec(tmp_path, tensors)))
