"""What is written before a text, by its role: the checkpoint's own prompts, else those its family is known to need.

Many retrieval models were trained with a fixed beginning for questions, some for documents too, and lose several
points without it. Newer checkpoints carry their prompts; for older ones the table below holds what their cards
demand. The same table says which families are to be compared by dot product, where their checkpoints are silent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from semsearch.encoder.checkpoint import Checkpoint, Role
from semsearch.errors import ModelError, UsageError
from semsearch.types import Metric

# Names of prompts in checkpoints that stand for a role, the first that is there.
PROMPT_NAMES: Mapping[Role, tuple[str, ...]] = {
    "query": ("query", "search_query", "retrieval.query", "Retrieval-query", "s2p_query", "web_search_query"),
    "document": ("document", "passage", "corpus", "search_document", "retrieval.passage", "Retrieval-document"),
}
SEARCH = "Represent this sentence for searching relevant passages: "
WEB = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


@dataclass(frozen=True)
class PromptFamily:
    """Models known by their names, and what they need that their checkpoints may not say."""

    name: str
    pattern: str  # matched against the model's name in lower case
    query: str = ""
    document: str = ""
    metric: Metric | None = None  # None: what the checkpoint says, else cosine
    norm_before_cut: bool = False  # Matryoshka by layer normalisation over all components, then the cut


PROMPT_FAMILIES = (  # the first that matches
    PromptFamily("E5 (instructed)", r"\be5-(\w+-)*instruct\b|\be5-mistral-", query=WEB + " "),
    PromptFamily("E5", r"(^|/)(multilingual-)?e5-(small|base|large)", query="query: ", document="passage: "),
    PromptFamily("BGE (Chinese)", r"(^|/)bge-(small|base|large)-zh", query="为这个句子生成表示以用于检索相关文章："),
    PromptFamily("BGE-M3", r"(^|/)bge-m3"),
    PromptFamily("BGE", r"(^|/)bge-(micro|small|base|large)(-en)?\b", query=SEARCH),
    PromptFamily("mxbai", r"(^|/)mxbai-embed-", query=SEARCH),
    PromptFamily("arctic 2", r"(^|/)snowflake-arctic-embed-(m|l)-v2", query="query: "),
    PromptFamily("arctic", r"(^|/)snowflake-arctic-embed-", query=SEARCH),
    PromptFamily(
        "nomic 1.5",
        r"(^|/)nomic-embed-text-v1\.5",
        query="search_query: ",
        document="search_document: ",
        norm_before_cut=True,
    ),
    PromptFamily(
        "nomic", r"(^|/)(nomic-embed-text-|modernbert-embed-)", query="search_query: ", document="search_document: "
    ),
    PromptFamily("Qwen3-Embedding", r"(^|/)qwen3-embedding-", query=WEB),
    PromptFamily("GTE (Qwen2)", r"(^|/)gte-qwen", query=WEB + " "),
    PromptFamily(
        "EmbeddingGemma",
        r"(^|/)embeddinggemma-",
        query="task: search result | query: ",
        document="title: none | text: ",
    ),
    PromptFamily("stella", r"(^|/)stella_en_(400m|1\.5b)_v5", query=WEB.replace("Query:", "Query: ")),
    PromptFamily(
        "INSTRUCTOR",
        r"(^|/)instructor-(base|large|xl)",
        query="Represent the question for retrieving supporting documents: ",
        document="Represent the document for retrieval: ",
    ),
    PromptFamily(
        "dot-product models",
        r"-dot(-|$)|-tas-b$|-dot-prod-|(^|/)contriever|-ance-|(^|/)facebook-dpr-|(^|/)gtr-t5-.*-dot",
        metric=Metric.DOT,
    ),
)
METRICS = {"cosine": Metric.COSINE, "dot": Metric.DOT, "dot_product": Metric.DOT, "euclidean": Metric.L2}


@dataclass(frozen=True)
class Prompts:
    """What stands before a text of each role, and who says so."""

    query: str
    document: str
    source: str  # "checkpoint", "the table (E5)", "given", "none"

    def of(self, role: Role) -> str:
        """The prompt of a role."""
        return self.query if role == "query" else self.document


def family_of(name: str) -> PromptFamily | None:
    """The family that a model's name, or its folder's, belongs to."""
    return next((family for family in PROMPT_FAMILIES if re.search(family.pattern, name.lower())), None)


def prompts_of(checkpoint: Checkpoint, family: PromptFamily | None, given: Mapping[str, str] | None) -> Prompts:
    """The prompts of both roles: those given, else the checkpoint's, else the family's, else none.

    A checkpoint speaks for itself as soon as it names a prompt for either role; its default prompt serves both roles
    where it names none for them.
    """
    own: dict[Role, str] = {}
    for role, names in PROMPT_NAMES.items():
        found = next((checkpoint.prompts[name] for name in names if name in checkpoint.prompts), None)
        if found is not None:
            own[role] = found
    if not any(own.values()) and checkpoint.default_prompt:
        if checkpoint.default_prompt not in checkpoint.prompts:
            raise ModelError(
                f"{checkpoint.folder} names the default prompt '{checkpoint.default_prompt}', which it doesn't hold; "
                f"it holds {', '.join(checkpoint.prompts) or 'none'}."
            )
        default = checkpoint.prompts[checkpoint.default_prompt]
        own = {"query": default, "document": default}
    if any(own.values()):
        chosen = Prompts(own.get("query", ""), own.get("document", ""), "checkpoint")
    elif family is not None and (family.query or family.document):
        chosen = Prompts(family.query, family.document, f"the table of families ({family.name})")
    else:
        chosen = Prompts("", "", "none")
    if given is None:
        return chosen
    unknown = sorted(given.keys() - PROMPT_NAMES.keys())
    if unknown:
        raise UsageError(f"prompts are given for {', '.join(unknown)}; the roles are query and document.")
    return Prompts(given.get("query", chosen.query), given.get("document", chosen.document), "given")


def metric_of(checkpoint: Checkpoint, family: PromptFamily | None) -> Metric:
    """How the model's vectors are compared: as the checkpoint says, else as its family is, else by cosine."""
    said = checkpoint.similarity
    if said is None:
        return family.metric if family is not None and family.metric is not None else Metric.COSINE
    if said not in METRICS:
        raise ModelError(f"{checkpoint.folder} compares vectors by '{said}'; known are {', '.join(METRICS)}.")
    return METRICS[said]
