"""From texts to token ids as the model's authors meant them, on the `tokenizers` library alone where it can be.

A `tokenizer.json` is the authors' own word and is taken as it is, with the two settings that transformers lays over
it (the BERT normaliser's options, lower-casing). Older folders with nothing but vocabulary files, and those whose
special tokens are set by options, go through transformers once, whose tokenizer is a `tokenizers.Tokenizer` inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Regex, Tokenizer
from tokenizers.normalizers import BertNormalizer, Lowercase, Normalizer, Replace, Strip
from tokenizers.normalizers import Sequence as NormalizerSequence

from semsearch.arguments import named_kind
from semsearch.encoder.checkpoint import first_line, read_json, tokenizer_files
from semsearch.encoder.readings import Reading, readings
from semsearch.errors import DataError, MissingDependency, ModelError, UsageError

UNLIMITED = 10**9  # tokenizer_config.json writes "no limit" as 10^30
MODEL2VEC_TOKENS = 512  # of a text, which its own library reads
CHARACTERS_A_TOKEN = 1_000  # a text longer than this many characters for each token of the window is clipped first
OFFSET_POSITIONS = {
    "roberta",
    "xlm-roberta",
    "camembert",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "mpnet",
    "longformer",
}
# Kinds whose tokenizers lower-case unless they are told not to, whatever their tokenizer.json does.
BERT_LIKE = {"bert", "distilbert", "electra", "mpnet", "mobilebert", "layoutlm", "convbert", "squeezebert", "funnel"}


class Tokenize(Protocol):
    """Texts to token ids, cut to the model's window, and the number of leading tokens that are the prompt's."""

    def __call__(self, texts: Sequence[str], prompt: str, /) -> tuple[list[list[int]], int]:
        """Ids of `prompt + text` for each text, and the length of the prompt."""
        ...


class VocabularyTokenize(Tokenize, Protocol):
    """… by a vocabulary, which does not have all words."""

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """How each text is read: which of its words the vocabulary has nothing for, or takes for others."""
        ...


class TextTokenizer:
    """Token ids of texts, cut to what the model reads; the special tokens at both ends survive the cut."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, *, special: bool = True, left: bool = False) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens  # special tokens included
        self.special = special
        self.left = left  # cut at the beginning instead of the end
        probe = tokenizer.encode("a", add_special_tokens=special)
        mask = probe.special_tokens_mask
        body = [i for i, flag in enumerate(mask) if not flag]
        self.head = body[0] if body else 0
        self.tail = len(mask) - 1 - body[-1] if body else 0
        self.truncated = 0  # texts so far that were longer, and were cut
        self._prompt_lengths: dict[str, int] = {"": 0}

    def __call__(self, texts: Sequence[str], prompt: str = "") -> tuple[list[list[int]], int]:
        """Token ids of `prompt + text` for each text, and how many leading ones are the prompt's."""
        return [self._cut(ids) for ids in self._ids(texts, prompt)], self.prompt_length(prompt)

    def spans(self, text: str, prompt: str = "") -> list[tuple[int, int]]:
        """The characters of `text` behind each token of `prompt + text`; none for special tokens and the prompt's."""
        encoding = self.tokenizer.encode(self._clip(prompt + text), add_special_tokens=self.special)
        cut = self.truncated
        kept = self._cut(list(range(len(encoding.ids))))
        self.truncated = cut  # nothing was encoded
        own = len(prompt)
        return [
            (max(start - own, 0), end - own) if not special and end > own else (0, 0)
            for special, (start, end) in ((encoding.special_tokens_mask[at], encoding.offsets[at]) for at in kept)
        ]

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """How each text is read: which of its words the vocabulary has nothing for, or takes for others."""
        return read(self.tokenizer, texts)

    @property
    def unlimited(self) -> bool:
        """Whether texts of any length are read whole."""
        return self.max_tokens >= UNLIMITED

    def prompt_length(self, prompt: str) -> int:
        """Leading tokens that belong to the prompt: its tokens alone, without the special tokens that end them."""
        if prompt not in self._prompt_lengths:
            mask = self.tokenizer.encode(prompt, add_special_tokens=self.special).special_tokens_mask
            self._prompt_lengths[prompt] = len(mask) - bool(mask and mask[-1])
        return self._prompt_lengths[prompt]

    def window(self, prompt: str) -> int:
        """Tokens of a text itself that fit beside the prompt and the special tokens."""
        own = len(self.tokenizer.encode(prompt, add_special_tokens=False).ids) if prompt else 0
        return self.max_tokens - self.head - self.tail - own

    def _ids(self, texts: Sequence[str], prompt: str) -> Iterator[list[int]]:
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise UsageError(f"text {place} is no text but {named_kind(type(text))}: {text!r:.80}")
        with _told():
            whole = [self._clip(prompt + text) for text in texts]
        try:
            with _told():
                encodings = self.tokenizer.encode_batch_fast(whole, add_special_tokens=self.special)
        except (UnicodeEncodeError, TypeError) as error:  # half a surrogate pair, which is no character
            raise unencodable(whole) from error
        return (encoding.ids for encoding in encodings)

    def _cut(self, ids: list[int]) -> list[int]:
        over = len(ids) - self.max_tokens
        if over <= 0:
            return ids
        self.truncated += 1
        if self.left:
            return ids[: self.head] + ids[self.head + over :]
        end = len(ids) - self.tail
        return ids[: end - over] + ids[end:]

    def _clip(self, text: str) -> str:
        """A text without the megabytes that the model would not see anyway, where that provably changes nothing."""
        limit = self.max_tokens * CHARACTERS_A_TOKEN
        if len(text) <= limit or self.left:
            return text
        end = text.rfind(" ", 0, limit)
        if end < 0:
            return text
        clipped = text[:end]
        seen = len(self.tokenizer.encode(clipped, add_special_tokens=False).ids)
        return clipped if seen > self.max_tokens else text


class Model2VecTokenizer(TextTokenizer):
    """Without special and unknown tokens, and cut to 512."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer, MODEL2VEC_TOKENS, special=False)
        unknown = getattr(tokenizer.model, "unk_token", None)
        self._unknown = tokenizer.token_to_id(unknown) if unknown is not None else None

    def __call__(self, texts: Sequence[str], prompt: str = "") -> tuple[list[list[int]], int]:
        """Token ids of each text."""
        known = ([token for token in ids if token != self._unknown] for ids in self._ids(texts, prompt))
        return [self._cut(ids) for ids in known], self.prompt_length(prompt)


@contextmanager
def _told() -> Iterator[None]:
    """The tokenizers library panics over some regular expressions of a tokenizer.json, which is no `Exception`."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ModelError(
            f"the model's tokenizer can't split a text ({error}): fetch the model anew, or choose another."
        ) from error


def unencodable(texts: Iterable[str]) -> DataError:
    """The error that names the first of `texts` that holds half a surrogate pair, which is no character."""
    bad = next((text for text in texts if not _encodable(text)), "")
    return DataError(f"the text {bad[:80]!a} can't be written as UTF-8: it holds half a surrogate pair.")


def read(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Reading]:
    """How a tokenizer reads each text, whole and without special tokens."""
    try:
        with _told():
            found = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    except (UnicodeEncodeError, TypeError) as error:
        raise unencodable(texts) from error
    return readings(tokenizer, zip(texts, found, strict=True))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def load_tokenizer(folder: Path, *, lower: bool = False, options: Mapping[str, Any] | None = None) -> Tokenizer:
    """The tokenizer in a folder.

    Args:
        folder: Holds tokenizer.json, or the vocabulary files of the older kinds.
        lower: Texts are lower-cased first, whatever the tokenizer does itself.
        options: The settings of tokenizer_config.json, where they are already read.
    """
    settings = dict(options) if options is not None else read_json(folder / "tokenizer_config.json")
    if "auto_map" in settings and (settings["auto_map"] or {}).get("AutoTokenizer"):
        raise ModelError(
            f"{folder} needs code of its own for its tokenizer, and semsearch runs no code from checkpoints. "
            "Choose another model."
        )
    file = folder / "tokenizer.json"
    if file.is_file() and not (settings.get("add_bos_token") or settings.get("add_eos_token")):
        tokenizer = _from_file(file)
        _bert_options(tokenizer, folder, settings)
    else:
        tokenizer = _through_transformers(folder)
    if lower and not _lowers(tokenizer.normalizer):
        own = tokenizer.normalizer
        tokenizer.normalizer = NormalizerSequence([Lowercase(), own] if own is not None else [Lowercase()])
    return tokenizer


def as_siglip(tokenizer: Tokenizer) -> None:
    """Texts as SigLIP's own tokenizer has them: lower-cased, without punctuation, with single blanks."""
    own = tokenizer.normalizer
    steps = [Lowercase(), Replace(Regex(r"[!-/:-@\[-`{-~]"), ""), Replace(Regex(r"\s+"), " "), Strip()]
    tokenizer.normalizer = NormalizerSequence([*steps, own] if own is not None else steps)


def max_tokens(said: int | None, tokenizer_says: float | None, config: Mapping[str, Any]) -> int:
    """How many tokens a model reads, special ones included.

    The checkpoint's own `max_seq_length` counts, else the tokenizer's `model_max_length`; neither may exceed the
    positions that the model has (RoBERTa's begin after the padding id, so two of its 514 are never used).
    """
    limits = [UNLIMITED]
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    relative = config.get("model_type") in ("xlnet", "t5", "mt5", "umt5", "longt5")
    if isinstance(positions, int) and positions > 0 and not relative:
        offset = config.get("pad_token_id", 1) + 1 if config.get("model_type") in OFFSET_POSITIONS else 0
        limits.append(positions - offset)
    if said:
        limits.append(int(said))
    elif tokenizer_says and tokenizer_says > 0:
        limits.append(int(min(tokenizer_says, UNLIMITED)))
    if min(limits) < 1:
        raise ModelError(f"the model is said to read {min(limits):,} tokens of a text: fetch it anew.")
    return min(limits)


def _from_file(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"{file} can't be read as a tokenizer ({first_line(error)}): fetch the model anew.") from error


def _bert_options(tokenizer: Tokenizer, folder: Path, settings: Mapping[str, Any]) -> None:
    """Let tokenizer_config.json overrule tokenizer.json on a BERT normaliser's options, as transformers does."""
    own = tokenizer.normalizer
    if not isinstance(own, BertNormalizer):
        return
    named = str(settings.get("tokenizer_class") or "").removesuffix("Fast").removesuffix("Tokenizer").lower()
    kind = named or str(read_json(folder / "config.json").get("model_type", "")).replace("-", "")
    wanted = {
        "lowercase": settings.get("do_lower_case", True if kind in BERT_LIKE else own.lowercase),
        "strip_accents": settings.get("strip_accents", own.strip_accents),
        "handle_chinese_chars": settings.get("tokenize_chinese_chars", own.handle_chinese_chars),
    }
    if any(getattr(own, name) != value for name, value in wanted.items()):
        tokenizer.normalizer = BertNormalizer(clean_text=own.clean_text, **wanted)


def _through_transformers(folder: Path) -> Tokenizer:
    from transformers import AutoTokenizer

    for name, said in read_json(folder / "tokenizer_config.json").items():
        outside = name.endswith("_file") and isinstance(said, str) and Path(said).name != said
        if outside and (folder / said).exists() and not (folder / said).resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"{folder} names a file outside of itself ('{said}') as its {name}, and is not opened.")
    pieces = [path.name for path in tokenizer_files(folder) if path.suffix == ".model"]
    if pieces and not (folder / "tokenizer.json").is_file() and find_spec("sentencepiece") is None:
        raise MissingDependency(
            f"{folder} describes its tokenizer in {pieces[0]} alone, which takes sentencepiece to read: "
            "pip install 'semsearch[sentencepiece]'"
        )
    try:
        found = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises whatever its converters raise
        raise ModelError(f"the tokenizer in {folder} can't be opened ({first_line(error)}).") from error
    tokenizer = getattr(found, "backend_tokenizer", None)
    if not isinstance(tokenizer, Tokenizer):
        raise ModelError(
            f"the tokenizer in {folder} ({type(found).__name__}) has no form for the tokenizers library, "
            "which is what semsearch counts and cuts texts with. Choose another model."
        )
    return tokenizer


def _lowers(normalizer: Normalizer | None) -> bool:
    if isinstance(normalizer, NormalizerSequence):
        return any(_lowers(part) for part in list(normalizer))  # type: ignore[call-overload]
    return isinstance(normalizer, Lowercase)
