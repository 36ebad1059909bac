"""How checkpoints of late-interaction models are laid out: PyLate's, sentence-transformers' and Stanford's, as data.

What differs is where the same is said. Version 6 of sentence-transformers says all of it in its modules; PyLate says
lengths, prefixes, expansion and skipped words beside them, and leaves the last two modules out; Stanford's ColBERT says
it in `artifact.metadata` and keeps the projection among the weights of the transformer.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from semsearch.arguments import named_kind
from semsearch.encoder.checkpoint import Checkpoint, Stage, read, read_json
from semsearch.errors import ModelError

STANFORD, METADATA = "HF_ColBERT", "artifact.metadata"
EXPANDED = 32  # tokens of a query where nothing is said, as in the first ColBERT (Khattab and Zaharia, 2020)
LONGEST_QUERY = 8_192  # tokens of a query that any model is expanded to
MEANS = {"maxsim": False, "meanmaxsim": True}
PUNCTUATION = tuple(string.punctuation)
ROLE_LENGTHS = ("query_length", "document_length")
BESIDE = {  # what PyLate writes beside the modules
    *ROLE_LENGTHS,
    *("query_expansion", "do_query_expansion", "attend_to_expansion_tokens", "attend_to_mask_tokens"),
    *("query_prefix", "document_prefix", "skiplist_words"),
}


@dataclass(frozen=True)
class QueryExpansion:
    """What is put behind a query, so that the model may add words to it."""

    length: int  # tokens that a query has at least
    fixed: bool  # and at most
    attend: bool  # whether the query's own tokens see those behind them
    token: str | None  # that is put there; None for the tokenizer's mask


@dataclass(frozen=True)
class MultiVectorLayout:
    """What a folder says about its model."""

    checkpoint: Checkpoint  # its first stage without what `expansion` says, the others only such as compute
    expansion: QueryExpansion | None
    markers: tuple[str, ...]  # which the tokenizer must not take apart where it knows them
    skipped: tuple[str, ...]  # tokens whose vectors are left out
    skipping: frozenset[str]  # the roles of which they are
    kept: tuple[int, ...] | None  # the only tokens of documents whose vectors count
    pooling: Stage | None
    mean: bool  # of the query's tokens, where the score is not their sum
    projected: bool = False  # the projection lies among the weights of the transformer


def says_multi_vector(folder: Path) -> bool:
    """Whether a folder is said to hold a late-interaction model."""
    said = read_json(folder / "config_sentence_transformers.json")
    family = said.get("model_type", "SentenceTransformer")
    beside = family == "SentenceTransformer" and said.keys() & {"query_prefix", "document_prefix"}
    return family in ("MultiVectorEncoder", "ColBERT") or bool(beside) or _stanford(folder)


def read_layout(folder: Path) -> MultiVectorLayout:
    """The layout of a late-interaction model's folder.

    Raises:
        ModelError: It holds none, or not one that this version opens faithfully; says why.
    """
    if not says_multi_vector(folder):
        raise ModelError(
            f"{folder} holds no late-interaction (multi-vector) model, which gives a vector for each token. A dense "
            "model can be made a reranker of tokens (semsearch train-reranker --kind late-interaction)."
        )
    if _stanford(folder) and not (folder / "modules.json").is_file():
        return _stanford_layout(folder)
    said = read_json(folder / "config_sentence_transformers.json")
    checkpoint = read(folder, "multi-vector")
    family = said.get("model_type", "SentenceTransformer")
    stages = [_of_tokens(stage) for stage in checkpoint.stages]
    if family == "SentenceTransformer":  # what PyLate made of a dense model: its pooling is no part of it
        stages = [stage for stage in stages if stage.kind not in ("pooling", "normalize")]
    if any(stage.kind == "router" for stage in stages):
        raise ModelError(f"{folder} routes queries and documents through different modules, which is not done here.")
    first, *rest = stages
    own = {key: said[key] for key in ROLE_LENGTHS if said.get(key) is not None}
    expansion = _expansion(first, said, own)
    plain = {key: value for key, value in (own | dict(first.config)).items() if key != "query_expansion"}
    mask = next((stage for stage in rest if stage.kind == "multivectormask"), None)
    pooling = next((stage for stage in rest if stage.kind == "hierarchicaltokenpooling"), None)
    if pooling is not None and any(stage.kind != "normalize" for stage in rest[rest.index(pooling) + 1 :]):
        raise ModelError(f"{folder} computes with its tokens after they were pooled, which is not done here.")
    computing = [stage for stage in rest if stage not in (mask, pooling)]
    skipped, skipping, kept = _skipped(said, mask, family)
    if not any(stage.kind == "normalize" for stage in computing) and family != "MultiVectorEncoder":
        computing.append(_unit_tokens(folder))
    prompts, markers = _prompts(checkpoint.prompts, said)
    similarity = str(said.get("similarity_fn_name") or "maxsim").lower()
    return MultiVectorLayout(
        replace(checkpoint, stages=(replace(first, config=plain), *computing), prompts=prompts),
        expansion,
        markers,
        skipped,
        skipping,
        kept,
        pooling,
        MEANS.get(similarity, False),
    )


def _stanford(folder: Path) -> bool:
    return STANFORD in (read_json(folder / "config.json").get("architectures") or ())


def _stanford_layout(folder: Path) -> MultiVectorLayout:
    said = read_json(folder / METADATA)
    markers = {
        "query": f"{said.get('query_token_id') or '[unused0]'} ",
        "document": f"{said.get('doc_token_id') or '[unused1]'} ",
    }
    lengths = {} if said.get("doc_maxlen") is None else {"document_length": said["doc_maxlen"]}
    expansion = {"strategy": "fixed", "attend": bool(said.get("attend_to_mask_tokens"))}
    transformer = Stage("transformer", folder, lengths)
    return MultiVectorLayout(
        Checkpoint(folder, (transformer, _unit_tokens(folder)), markers, None, None, None),
        _checked_expansion(expansion | {"length": said.get("query_maxlen") or EXPANDED}, folder),
        tuple(markers.values()),
        PUNCTUATION if said.get("mask_punctuation", True) else (),
        frozenset({"document"}),
        None,
        None,
        mean=False,
        projected=True,
    )


def _unit_tokens(folder: Path) -> Stage:
    return Stage("normalize", folder, {"module_input_name": "token_embeddings"})


def _of_tokens(stage: Stage) -> Stage:
    """A projection works on tokens, where older files don't say on what."""
    if stage.kind != "dense":
        return stage
    return replace(stage, config={"module_input_name": "token_embeddings"} | dict(stage.config))


def _expansion(first: Stage, said: Mapping[str, Any], own: dict[str, Any]) -> QueryExpansion | None:
    """The expansion of queries: the transformer's own word, else PyLate's; takes its length out of `own`."""
    if "query_expansion" in first.config:
        return _checked_expansion(first.config["query_expansion"], first.folder)
    if "query_expansion" in said:
        return _checked_expansion(said["query_expansion"], first.folder)
    if not BESIDE & said.keys() or said.get("do_query_expansion") is False:
        return None
    attend = said.get("attend_to_expansion_tokens", said.get("attend_to_mask_tokens"))
    length = own.pop("query_length", None) or EXPANDED
    return _checked_expansion({"strategy": "fixed", "attend": bool(attend), "length": length}, first.folder)


def _checked_expansion(said: Any, folder: Path) -> QueryExpansion | None:
    if said is None:
        return None
    if not isinstance(said, dict):
        raise ModelError(f"{folder} says its query_expansion as {named_kind(type(said))}, not as an object.")
    length, strategy, token = said.get("length"), said.get("strategy"), said.get("token")
    whole = isinstance(length, int) and not isinstance(length, bool) and 1 <= length <= LONGEST_QUERY
    if not whole or strategy not in ("fixed", "min") or not isinstance(token, str | None):
        raise ModelError(
            f"{folder} expands queries as {json.dumps(said):.200}; known are the strategies 'fixed' and 'min' with a "
            f"length from 1 to {LONGEST_QUERY:,}."
        )
    return QueryExpansion(int(length or 0), strategy == "fixed", bool(said.get("attend", False)), token)


def _skipped(
    said: Mapping[str, Any], mask: Stage | None, family: str
) -> tuple[tuple[str, ...], frozenset[str], tuple[int, ...] | None]:
    """The words whose vectors are left out, of which roles, and the only tokens of documents that count."""
    if mask is None or family != "MultiVectorEncoder":
        words = said.get("skiplist_words")
        implied = family == "ColBERT" or bool(said.keys() & {"query_prefix", "document_prefix"})
        chosen = words if words is not None else PUNCTUATION if implied else ()
        return _words(chosen), frozenset({"document"}), None
    tasks = mask.config.get("skiplist_tasks")
    tasks = ["document"] if tasks is None else [tasks] if isinstance(tasks, str) else tasks
    kept = mask.config.get("keep_only_token_ids")
    return _words(mask.config.get("skiplist_words") or ()), frozenset(map(str, tasks)), tuple(kept) if kept else None


def _words(said: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(word) for word in said)


def _prompts(prompts: Mapping[str, str], said: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The prompts with PyLate's prefixes in front, and these."""
    made, markers = dict(prompts), []
    for role in ("query", "document"):
        if f"{role}_prefix" in said:
            prefix = str(said[f"{role}_prefix"] or "")
            made[role] = prefix + made.get(role, "").removeprefix(prefix)
            markers.append(prefix)
    return made, tuple(markers)
