"""Texts by the tokens that a model reads of them: those that token ids are of, and those that are too long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from semsearch.server.failures import Refusal
from semsearch.sparse_vectors import SparseEncoder
from semsearch.types import Encoder


def texts_of_ids(encoder: Encoder | SparseEncoder, given: Sequence[Any], param: str) -> list[str]:
    """Texts as they are, and those that lists of token ids are of, in the model's own vocabulary.

    Ids are read back into their text, whose ids must be the same again, with or without the model's special tokens.

    Raises:
        Refusal: The model tells no vocabulary, or the ids are of none of its texts.
    """
    return [one if isinstance(one, str) else _text_of(encoder, one, param) for one in given]


def _text_of(encoder: Encoder | SparseEncoder, ids: Sequence[int], param: str) -> str:
    tokenizer: Any = getattr(encoder, "tokenizer", None)
    if tokenizer is None:
        raise Refusal(
            400, "token_ids", f"'{param}' holds token ids, and the model tells no vocabulary: send texts.", param
        )
    if not all(0 <= one < tokenizer.get_vocab_size() for one in ids):
        raise Refusal(400, "token_ids", f"'{param}' holds token ids that the model's vocabulary has not.", param)
    mask = tokenizer.encode("a").special_tokens_mask
    head = mask.index(0) if 0 in mask else 0
    tail = mask[::-1].index(0) if 0 in mask else 0
    whole = list(ids)
    bare = whole[head : len(whole) - tail]
    for own, special in ((bare, True), (whole, False)):
        text = str(tokenizer.decode(own, skip_special_tokens=False))
        if text and tokenizer.encode(text, add_special_tokens=special).ids == whole:
            return text
    raise Refusal(
        400,
        "token_ids",
        f"'{param}' holds token ids that no text has in this model's vocabulary: send texts.",
        param,
    )


def cut_texts(encoder: Encoder | SparseEncoder, texts: list[str], role: str, *, refuse: bool, left: bool) -> list[str]:
    """Texts as the encoder is to be given them, which itself reads as many tokens as it can from the beginning.

    Args:
        encoder: Its window decides; what has none reads everything.
        texts: The texts.
        role: "query" or "document": their prompts take different room.
        refuse: Refuse a text that is longer than the window.
        left: Cut its beginning off instead of its end.

    Raises:
        Refusal: A text is too long, and `refuse` says so.
    """
    tokenizer: Any = getattr(encoder, "tokenizer", None)
    window: int | None = getattr(encoder, "window", None)
    if role == "query":
        window = getattr(encoder, "query_window", window)
    if not (refuse or left) or tokenizer is None or window is None:
        return texts
    cut = []
    for text in texts:
        tokens = tokenizer.encode(text, add_special_tokens=False)
        over = len(tokens.ids) - window
        if over > 0 and refuse:
            raise Refusal(
                400,
                "too_long",
                f"a text of 'inputs' has {len(tokens.ids):,} tokens, and the model reads {window:,}: shorten it, or "
                "let it be cut ('truncate').",
                "inputs",
            )
        cut.append(text[tokens.offsets[over][0] :] if over > 0 and left else text)
    return cut
