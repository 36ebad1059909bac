"""Passages: they fit the model's window as they are encoded, end where sentences end, are even, and lose nothing."""

import itertools
import json
import random

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from semsearch.chunking import SIZE, EvenSplitter, WholeDocument, sentences, splitter_for
from semsearch.errors import UsageError
from semsearch.types import Document, Span, Windowed
from semsearch.validation import is_empty

PROSE = (
    "Bread rises because yeast turns sugar into gas. The gas is caught in a web of gluten! How long should one knead? "
    "Dr. Smith says ten minutes, e.g. by the clock; J. Doe says until it is smooth. Cold dough rises slowly, but it "
    "tastes better.\n\nA hot oven sets the crust.\nSteam keeps it soft for the first minutes… then it browns. "
)


def words() -> Tokenizer:
    """A token a word or mark: counts can be checked by hand."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def pieces() -> Tokenizer:
    """WordPiece, as BERT has it."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator([PROSE], trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[UNK]"]))
    return tokenizer


def byte_pairs() -> Tokenizer:
    """Byte-level BPE, as GPT-2 has it: a character may be several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([PROSE], trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
    return tokenizer


def unigrams() -> Tokenizer:
    """Unigram with a mark before each word, as SentencePiece has it: the parts of a text count more than the whole."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=80, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator([PROSE], trainer)
    return tokenizer


TOKENIZERS = {"words": words(), "pieces": pieces(), "byte pairs": byte_pairs(), "unigrams": unigrams()}


def count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False))


def seen(text: str) -> str:
    """What can be seen of a text: a passage of nothing else is none."""
    return "".join(letter for letter in text if not is_empty(letter))


def check(tokenizer, splitter, document, spans):
    """What every splitting must keep."""
    text = document.text
    for span in spans:
        assert span.start < span.end
        assert not text[span.start].isspace() or len(spans) == 1
        assert count(tokenizer, splitter.text_to_embed(document, span)) <= splitter.size
    covered = "".join(text[a:b] for a, b in spans)
    assert seen(covered) == seen(text)  # nothing lost, nothing twice
    assert all(before.end <= after.start for before, after in itertools.pairwise(spans))


ALPHABET = st.sampled_from(
    [*"ab .!?\n\t\"')", "Word ", "word. ", "\n\n", "。", "漢", "é", "e\u0301", "😀", "ﬃ", "؟", "…", "12"]
)
ANYTHING = st.lists(ALPHABET, min_size=1, max_size=400).map("".join) | st.text(min_size=1, max_size=300)


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150)
@given(texts=st.lists(st.tuples(ANYTHING, ANYTHING | st.just("")), min_size=1, max_size=4), size=st.integers(16, 40))
def test_passages_fit_and_lose_nothing_whatever_the_text(name, texts, size):
    tokenizer = TOKENIZERS[name]
    documents = [Document(str(i), text, title) for i, (text, title) in enumerate(texts) if not text.isspace()]
    splitter = EvenSplitter(tokenizer, 64, size)
    found = splitter.split_many(documents)
    assert len(found) == len(documents)
    for document, spans in zip(documents, found, strict=True):
        check(tokenizer, splitter, document, spans)
        assert splitter.split(document) == spans  # whatever stands beside it


def test_a_document_that_fits_is_one_passage_and_one_token_more_are_two():
    splitter = EvenSplitter(words(), 32)
    text = "One two three four. Five six seven eight. " * 3
    fitting = Document("1", text + "End here", "T")  # 1 + 30 + 2 - 1
    assert count(words(), f"T {fitting.text}") == 33
    assert len(splitter.split(fitting)) == 2
    assert splitter.split(Document("2", text + "End", "T")) == [Span(0, len(text) + 3)]
    assert splitter.split(Document("3", text + "End here")) == [Span(0, len(text) + 8)]


def test_passages_end_where_sentences_end_and_are_the_evenest_of_the_fewest():
    """Against every way to cut between sentences."""
    rng = random.Random(5)
    for _ in range(60):
        lengths = [rng.randint(3, 14) for _ in range(rng.randint(4, 9))]
        text = " ".join("W" + "w " * (length - 2) + "w." for length in lengths)
        assert count(words(), text) == sum(lengths)
        ways = []
        for cuts in itertools.product([False, True], repeat=len(lengths) - 1):
            groups, group = [], [lengths[0]]
            for cut, length in zip(cuts, lengths[1:], strict=True):
                if cut:
                    groups.append(group)
                    group = []
                group.append(length)
            sums = [sum(group) for group in [*groups, group]]
            if max(sums) <= 20:
                ways.append((len(sums), sum(s * s for s in sums)))
        splitter = EvenSplitter(words(), 20)
        document = Document("1", text)
        passages = [text[a:b] for a, b in splitter.split(document)]
        assert all(passage.endswith(".") and passage.startswith("W") for passage in passages)
        sums = [count(words(), passage) for passage in passages]
        assert (len(sums), sum(s * s for s in sums)) == min(ways)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four… Five", ["One. ", "Two! ", "Three? ", "Four… ", "Five"]),
        ('He said "Go." Then (he left.) Off', ['He said "Go." ', "Then (he left.) ", "Off"]),
        (
            "Dr. Smith and J. Doe met Mrs. Poe vs. Roe et al. Then",
            ["Dr. Smith and J. Doe met Mrs. Poe vs. Roe et al. Then"],
        ),
        ("Use e.g. this, i.e. that. so on", ["Use e.g. this, i.e. that. so on"]),
        ("A line\nthat goes on.\nAnother\n- item", ["A line\nthat goes on.\n", "Another\n", "- item"]),
        ("a paragraph\n\nand one in small letters", ["a paragraph\n\n", "and one in small letters"]),
        ("Version 3.14 is out.Next", ["Version 3.14 is out.Next"]),
        ("一つ目。二つ目！三つ目", ["一つ目。", "二つ目！", "三つ目"]),
        ("هل هذا؟ نعم۔", ["هل هذا؟ ", "نعم۔"]),
        ("पहला। दूसरा।", ["पहला। ", "दूसरा।"]),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert [text[a:b] for a, b in sentences(text)] == expected


def test_a_sentence_that_is_too_long_is_cut_between_words_and_a_word_between_characters():
    splitter = EvenSplitter(TOKENIZERS["byte pairs"], 16)
    long = Document("1", "kneading " * 40 + "end.")
    for a, b in splitter.split(long):
        assert set(long.text[a:b].split()) <= {"kneading", "end."}
    word = Document("2", "zq" * 100)
    spans = splitter.split(word)
    assert len(spans) > 5
    check(TOKENIZERS["byte pairs"], splitter, word, spans)


def test_the_title_is_on_every_passage_and_a_long_one_is_cut():
    splitter = EvenSplitter(words(), 20)
    document = Document("1", "One two three four. " * 8, "The title")
    spans = splitter.split(document)
    assert len(spans) == 3
    for a, b in spans:
        assert splitter.text_to_embed(document, Span(a, b)) == f"The title {document.text[a:b]}"
    long = Document("2", "One two three four. " * 8, " ".join(f"word{i}" for i in range(50)))
    spans = splitter.split(long)
    check(words(), splitter, long, spans)
    assert all(splitter.text_to_embed(long, s).startswith("word0 word1 ") for s in spans)
    assert all(" word9 One" in splitter.text_to_embed(long, s) for s in spans)  # ten tokens: half of twenty
    assert splitter.text_to_embed(Document("3", "Text"), Span(0, 4)) == "Text"


@pytest.mark.slow
def test_time_and_passages_grow_with_the_text_and_no_faster():
    """Work is counted, not timed: tokens asked for, for texts that tempt a splitter to look again and again."""

    class Counting:
        def __init__(self):
            self.tokenizer, self.characters = TOKENIZERS["byte pairs"], 0

        def encode(self, text, **given):
            return self.tokenizer.encode(text, **given)

        def encode_batch_fast(self, texts, **given):
            self.characters += sum(map(len, texts))
            return self.tokenizer.encode_batch_fast(texts, **given)

    for unit in ("word ", "漢字", "a\n", ".'", "Word. ", "x"):
        work = []
        for size in (40_000, 80_000):
            tokenizer = Counting()
            splitter = EvenSplitter(tokenizer, 32)
            document = Document("1", (unit * size)[:size])
            spans = splitter.split(document)
            assert len(spans) > size / 32 / 8
            work.append(tokenizer.characters)
        assert work[1] < 2.1 * work[0] < 2.1 * 8 * 40_000


def test_splitting_is_the_same_each_time_and_its_identity_says_what_decides_it():
    document = Document("1", PROSE * 5, "Bread")
    tokenizer = TOKENIZERS["pieces"]
    assert EvenSplitter(tokenizer, 64).split(document) == EvenSplitter(tokenizer, 64).split(document)
    identities = {
        EvenSplitter(tokenizer, 64).identity,
        EvenSplitter(tokenizer, 64, 32).identity,
        WholeDocument().identity,
    }
    assert len(identities) == 3
    assert EvenSplitter(tokenizer, 64, 32).identity == EvenSplitter(tokenizer, 128, 32).identity


def test_off_gives_one_passage_and_counts_what_no_vector_sees():
    documents = [
        Document("1", "one two three", "T"),
        Document("2", "word " * 100, "Two words"),
        Document("3", "w " * 200_000),
    ]
    whole = WholeDocument(words(), 20)
    assert whole.split_many(documents) == [(Span(0, len(document.text)),) for document in documents]
    assert whole.text_to_embed(documents[1], Span(0, 500)) == "Two words " + "word " * 100
    assert whole.unseen(documents) == [0, 82, 199_980]
    assert WholeDocument().unseen(documents) == [0, 0, 0]
    assert EvenSplitter(words(), 20).unseen(documents) == [0, 0, 0]


def test_sizes_that_can_not_be_are_refused():
    for window, size in ((64, 65), (64, 15), (8, None), (64, 0)):
        with pytest.raises(UsageError, match=r"passages of \d+ tokens can't be made: at least 16 .* sees \d+"):
            EvenSplitter(words(), window, size)


class Reader:
    """As much of an encoder as splitting needs."""

    def __init__(self, window):
        self.window = window
        self.tokenizer = words()


def test_the_encoder_decides_how_documents_are_split():
    assert isinstance(Reader(64), Windowed)
    assert isinstance(splitter_for(Reader(64)), EvenSplitter)
    assert isinstance(splitter_for(Reader(64), passages=False), WholeDocument)
    assert isinstance(splitter_for(object()), WholeDocument)
    assert splitter_for(Reader(64)).size == 64
    assert splitter_for(Reader(512)).size == SIZE
    assert isinstance(splitter_for(Reader(8)), WholeDocument)  # no room for a title and a text


@pytest.mark.real
@pytest.mark.parametrize("size", [None, 254])
def test_no_passage_of_real_abstracts_is_longer_than_the_window(data, minilm, size):
    tokenizer = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with (data / "scifact" / "corpus.jsonl").open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in itertools.islice(lines, 1_500)]
    documents = [Document(record["_id"], record["text"], record["title"]) for record in records]
    splitter = EvenSplitter(tokenizer, 254, size)
    found = splitter.split_many(documents)
    for document, spans in zip(documents, found, strict=True):
        check(tokenizer, splitter, document, spans)
    lengths = [
        [count(tokenizer, splitter.text_to_embed(document, span)) for span in spans]
        for document, spans in zip(documents, found, strict=True)
        if len(spans) > 1
    ]
    assert len(lengths) > 800
    uneven = sum(max(each) > 2 * min(each) for each in lengths)
    assert uneven < 0.1 * len(lengths)
    ends = [document.text[span.end - 1] for document, spans in zip(documents, found, strict=True) for span in spans]
    assert sum(end in ".!?:;)]\"'”" for end in ends) > 0.97 * len(ends)


def test_no_passage_is_of_nothing_that_can_be_seen():
    text = "whales dive deep. " * 40 + "\u200b\u2060\u200b " * 400 + "bread rises. " * 40
    spans = EvenSplitter(TOKENIZERS["byte pairs"], 32).split_many([Document("1", text)])[0]
    passages = [text[span.start : span.end] for span in spans]
    assert len(passages) > 10
    assert all(any(letter.isalpha() for letter in passage) for passage in passages)
    assert "".join(passages).count("whales") == "".join(passages).count("bread") == 40
