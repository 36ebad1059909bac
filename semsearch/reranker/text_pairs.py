"""From a query and a passage to token ids, whole where they fit, else in windows of the passage beside the query.

A pair is `head query middle passage tail`: the special tokens, or the words of a chat template, stand around the two.
Where both fit the model reads what its authors' tokenizer would give. Else the shorter keeps up to half the room, a
longer query is cut, and the passage is read window after window, neighbours overlapping by an eighth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tokenizers import Tokenizer

from semsearch.encoder.checkpoint import read_json
from semsearch.encoder.packing import Integers
from semsearch.encoder.tokenization import unencodable
from semsearch.errors import ModelError, UsageError

OVERLAP = 8  # windows share one part in so many with the next
LEAST = 16  # tokens that a query and a passage need together
MARKS = ("\ue000QUERY\ue001", "\ue000DOCUMENT\ue001")  # private characters: no template writes them
QWEN = (  # Zhang et al., 2025 (Qwen3 Embedding and Reranker): for folders from before their template took the roles
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n<Instruct>: {prompt}\n'
    "<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
QWEN_PROMPT = "Given a web search query, retrieve relevant passages that answer the query"


@dataclass(slots=True)
class Parts:
    """A pair in tokens: special ones around a query and a passage; `kinds` are the token types of the five parts."""

    head: list[int]
    query: list[int]
    middle: list[int]
    passage: list[int]
    tail: list[int]


@dataclass(slots=True)
class Pieces:
    """What the model reads: `n` texts of pairs, one or more for each pair."""

    ids: Integers  # (T,) one after the other
    kinds: Integers | None  # (T,) token types; None where all are 0
    lengths: Integers  # (n,)
    pairs: Integers  # (n,) which pair each is of


class PairTokenizer(Protocol):
    """Pairs to parts."""

    tokenizer: Tokenizer
    around: int  # tokens of a pair that are neither query nor passage

    def parts(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Parts]:
        """Each pair's parts."""
        ...

    def kinds(self, parts: Parts) -> list[int] | None:
        """The token type of each token; None where the model has none, or all are 0."""
        ...


class SpecialTokens:
    """Pairs as tokenizers know them: special tokens before, between and behind, token types by side."""

    def __init__(
        self, tokenizer: Tokenizer, prompt: str = "", *, types: bool = True, folder: Path | None = None
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer, self.prompt = tokenizer, prompt
        probe = tokenizer.encode("a", "a")
        sides = probe.sequence_ids
        first, second = ([i for i, side in enumerate(sides) if side == wanted] for wanted in (0, 1))
        if not first or not second or first[-1] > second[0]:
            raise ModelError(
                f"the tokenizer in {folder} has no form for a pair of texts, which a reranker reads: fetch the model "
                "anew, or choose another."
            )
        self._fixed = [probe.ids[: first[0]], probe.ids[first[-1] + 1 : second[0]], probe.ids[second[-1] + 1 :]]
        kinds = probe.type_ids
        self._kinds = (kinds[: first[0]], kinds[first[0]], kinds[first[-1] + 1 : second[0]], kinds[second[0]])
        self._tail_kinds = kinds[second[-1] + 1 :]
        self._typed = types and any(kinds)
        self.around = sum(map(len, self._fixed))

    def parts(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Parts]:
        """Each query is tokenized once, however many passages it is paired with."""
        queries = list(dict.fromkeys(query for query, _ in pairs))
        found = dict(zip(queries, self._ids([self.prompt + query for query in queries]), strict=True))
        head, middle, tail = self._fixed
        for (query, _), passage in zip(pairs, self._ids([passage for _, passage in pairs]), strict=True):
            yield Parts(head, found[query], middle, passage, tail)

    def kinds(self, parts: Parts) -> list[int] | None:
        """The token type of each token; None where all are 0."""
        if not self._typed:
            return None
        head, query, middle, passage = self._kinds
        return [*head, *[query] * len(parts.query), *middle, *[passage] * len(parts.passage), *self._tail_kinds]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in _encoded(self.tokenizer, texts, fast=True)]


class Template:
    """Pairs as a chat template words them, for rerankers that are language models."""

    def __init__(self, tokenizer: Tokenizer, before: str, between: str, after: str) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self._words = (before, between, after)
        self.around = sum(len(tokenizer.encode(part, add_special_tokens=False).ids) for part in self._words)

    def parts(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Parts]:
        """The whole wording is tokenized at once, as words may join across the borders of the parts."""
        before, between, after = self._words
        texts = [f"{before}{query}{between}{passage}{after}" for query, passage in pairs]
        for (query, passage), encoding in zip(pairs, _encoded(self.tokenizer, texts), strict=True):
            ids, ends = encoding.ids, [end for _, end in encoding.offsets]
            starts = [start for start, _ in encoding.offsets]
            places = np.cumsum([len(before), len(query), len(between), len(passage)])
            # A part begins with the first token that ends in it, and ends before the first that begins behind it.
            cuts = [
                int(np.searchsorted(ends, places[0], "right")),
                int(np.searchsorted(starts, places[1], "left")),
                int(np.searchsorted(ends, places[2], "right")),
                int(np.searchsorted(starts, places[3], "left")),
            ]
            head, asked, middle, read, tail = (
                ids[a:b] for a, b in pairwise([0, *np.maximum.accumulate(cuts), len(ids)])
            )
            yield Parts(head, asked, middle, read, tail)

    def kinds(self, parts: Parts) -> None:
        """Language models have no token types."""
        return


def template_of(folder: Path, tokenizer: Tokenizer, prompt: str, label: str) -> Template | None:
    """The wording of the chat template in a folder; None where there is none.

    Raises:
        ModelError: It drops the query or the passage, so that no pair would be scored.
    """
    settings = read_json(folder / "tokenizer_config.json")
    own = folder / "chat_template.jinja"
    written = own.read_text("utf-8") if own.is_file() else settings.get("chat_template")
    if written is None:
        return None
    attempts = [_rendered(str(written), settings, prompt, structured=structured) for structured in (False, True)]
    rendered = next((words for words in attempts if _carries(words)), None)
    if rendered is None:
        if "qwen3-reranker" not in label.lower():
            raise ModelError(
                f"the chat template in {folder} does not take a pair (a message of the role 'query' and one of the "
                "role 'document', each written once), so every passage would get the same score. Put the reranker's "
                "own chat_template.jinja into the folder."
            )
        rendered = QWEN.format(prompt=prompt or QWEN_PROMPT, query=MARKS[0], document=MARKS[1])
    before, _, rest = rendered.partition(MARKS[0])
    between, _, after = rest.partition(MARKS[1])
    return Template(tokenizer, before, between, after)


def _carries(words: str) -> bool:
    """Whether both marks are there, each once, the query first."""
    return all(words.count(mark) == 1 for mark in MARKS) and words.index(MARKS[0]) < words.index(MARKS[1])


def _rendered(written: str, settings: Mapping[str, Any], prompt: str, *, structured: bool) -> str:
    """The template's words for a marked pair, contents being texts or, `structured`, lists of parts; "" if it fails."""
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def said(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": [{"type": "text", "text": text}] if structured else text}

    messages = [said("system", prompt)] if prompt else []
    messages += [said("query", MARKS[0]), said("document", MARKS[1])]
    tokens = {key: _token(value) for key, value in settings.items() if key.endswith("_token")}
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.globals["raise_exception"] = refuse
    try:
        return str(environment.from_string(written).render(messages=messages, add_generation_prompt=False, **tokens))
    except (TemplateError, TypeError):  # it raises for such messages, or takes contents of the other form apart
        return ""


def _token(value: Any) -> Any:
    return value.get("content") if isinstance(value, dict) else value


class Windows:
    """Cuts pairs to what a model reads.

    Args:
        reader: Gives the parts of a pair.
        max_tokens: Tokens that the model reads, special ones included.
        windowed: Whether a long passage is read window after window; else what doesn't fit is cut off.
    """

    def __init__(self, reader: PairTokenizer, max_tokens: int, *, windowed: bool) -> None:
        self.reader, self.windowed = reader, windowed
        self.room = max_tokens - reader.around  # of query and passage together
        if self.room < LEAST:
            raise ModelError(f"the model reads {max_tokens} tokens, of which {self.room} are left for a pair: too few.")

    def pieces(self, pairs: Sequence[tuple[str, str]]) -> tuple[Pieces, set[str]]:
        """The pieces of pairs, in their order, and the queries that were cut."""
        ids: list[list[int]] = []
        kinds: list[list[int] | None] = []
        owners: list[int] = []
        cut: set[str] = set()
        for place, parts in enumerate(self.reader.parts(pairs)):
            if self._cut_query(parts):
                cut.add(pairs[place][0])
            for window in self._windows(parts):
                ids.append([*parts.head, *window.query, *parts.middle, *window.passage, *parts.tail])
                kinds.append(self.reader.kinds(window))
                owners.append(place)
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        typed = [kind for kind in kinds if kind is not None]
        return (
            Pieces(
                np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum())),
                np.fromiter(chain.from_iterable(typed), np.int64, int(lengths.sum())) if typed else None,
                lengths,
                np.array(owners, np.int64),
            ),
            cut,
        )

    def _cut_query(self, parts: Parts) -> bool:
        """Leave a long passage half the room, a shorter one its length; the query gets the rest.

        An odd token goes to the longer, as tokenizers have it ("longest first").
        """
        half = (self.room + (len(parts.query) > len(parts.passage))) // 2
        most = max(half, self.room - len(parts.passage))
        if len(parts.query) <= most:
            return False
        parts.query = parts.query[:most]
        return True

    def _windows(self, parts: Parts) -> Iterator[Parts]:
        room = self.room - len(parts.query)
        whole = parts.passage
        if len(whole) <= room or not self.windowed:
            yield Parts(parts.head, parts.query, parts.middle, whole[:room], parts.tail)
            return
        overlap = room // OVERLAP
        count = -(-(len(whole) - overlap) // (room - overlap))
        for start in np.linspace(0, len(whole) - room, count).round().astype(int).tolist():
            yield Parts(parts.head, parts.query, parts.middle, whole[start : start + room], parts.tail)


def checked_pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs of texts, each two strings.

    Raises:
        UsageError: Something else; says where.
    """
    pairs = pairs if isinstance(pairs, str) else list(pairs)
    if isinstance(pairs, str) or (len(pairs) == 2 and all(isinstance(part, str) for part in pairs)):
        raise UsageError("pairs must be a list of (query, passage); a single pair goes in a list of its own.")
    for place, pair in enumerate(pairs):
        if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise UsageError(f"pair {place} is no pair of texts (query, passage): {pair!r:.80}")
    return [(query, passage) for query, passage in pairs]


def _encoded(tokenizer: Tokenizer, texts: list[str], *, fast: bool = False) -> Any:
    encode = tokenizer.encode_batch_fast if fast else tokenizer.encode_batch
    try:
        return encode(texts, add_special_tokens=False)
    except (UnicodeEncodeError, TypeError) as error:  # half a surrogate pair, which is no character
        raise unencodable(texts) from error
