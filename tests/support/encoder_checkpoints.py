"""Tiny checkpoints of encoders in published layouts, and sentence-transformers' vectors to hold ours against."""

import warnings

import numpy as np

from semsearch import load_encoder
from semsearch.encoder.load import open_with
from semsearch.encoder.mapped_weights import Unsupported
from semsearch.encoder.numpy_modules import NumpyModules
from support import tiny
from support.tiny import OLD, TEXTS

V5 = "sentence_transformers.sentence_transformer.modules."
BASE = "sentence_transformers.base.modules."


def peer_vectors(folder, texts=TEXTS, role="document", normalize=True):
    from sentence_transformers import SentenceTransformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        encode = peer.encode_document if role == "document" else peer.encode_query
        return encode(list(texts), normalize_embeddings=normalize, batch_size=2)


def assert_as_peer(folder, texts=TEXTS, tolerance=2e-6, peer=None, **settings):
    """Both roles give sentence-transformers' vectors, and the texts are told apart."""
    encoder = load_encoder(str(folder), device="cpu", dtype="float32", **settings)
    for role, encode in (("document", encoder.encode_documents), ("query", encoder.encode_queries)):
        ours = encode(texts)
        theirs = peer_vectors(peer or folder, texts, role, normalize=encoder.normalized)
        assert ours.shape == theirs.shape == (len(texts), encoder.dim)
        assert np.abs(ours - theirs).max() <= tolerance * max(1, np.abs(theirs).max())
        assert np.abs(ours[0] - ours[1]).max() > 1e-3
    assert_alike_by_numpy(encoder, folder, texts, tolerance, **settings)
    return encoder


def assert_alike_by_numpy(encoder, folder, texts=TEXTS, tolerance=2e-6, **settings):
    """Numpy, where it can compute the model, gives the same vectors and fingerprint; whether it can."""
    said = {name: settings[name] for name in ("truncate_dim", "prompts", "normalize") if name in settings}
    try:
        light = open_with(NumpyModules, str(folder), **said)
    except Unsupported:
        return False
    facts = ("fingerprint", "dim", "metric", "normalized", "modules", "prompts")
    assert [getattr(light, fact) for fact in facts] == [getattr(encoder, fact) for fact in facts]
    assert light.description() == encoder.description()
    cut = encoder.truncated
    for encode in ("encode_documents", "encode_queries"):
        ours, theirs = (getattr(one, encode)(texts) for one in (light, encoder))
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() <= 2 * tolerance * max(1, np.abs(theirs).max())
    assert light.truncated == encoder.truncated - cut
    return True


def classic(folder, *, safe=True, module=OLD + "Transformer", path="", settings=None, **modes):
    """Transformer, Pooling: the layout of versions 1 to 5.3; in the root or a folder."""
    tiny.bert(folder / path, safe=safe)
    said = settings if settings is not None else {"max_seq_length": 32, "do_lower_case": False}
    tiny.write_json(folder / path / "sentence_bert_config.json", said)
    tiny.pooling(folder / "1_Pooling", **(modes or {"pooling_mode_mean_tokens": True}))
    tiny.modules_json(folder, (path, module), ("1_Pooling", OLD + "Pooling"))
    return folder


def followed(folder, *modules):
    """Transformer, Pooling, and (path, class) after them."""
    classic(folder)
    tiny.modules_json(
        folder,
        ("", OLD + "Transformer"),
        ("1_Pooling", OLD + "Pooling"),
        *((path, OLD + kind) for path, kind in modules),
    )
    return folder


def dense(folder, seed, out=6):
    tiny.write_json(folder / "config.json", {"in_features": 16, "out_features": out, "bias": False})
    tiny.weights(folder, seed, linear__weight=(out, 16))
