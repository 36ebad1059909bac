"""Documents and questions of two vocabularies: a question's words are never its document's, and say the same.

Each question is of two words, and the document that answers it of their two counterparts. Whoever has learnt from some
questions which word means which can answer others, and nobody can by the words alone.
"""

from itertools import combinations

import numpy as np

from semsearch.types import Document
from support import tiny

ASKED = ["cat", "dog", "house", "river", "water", "city", "weather", "stadium", "vaccines", "work", "mat", "sea"]
SAID = ["runs", "sleeps", "sunny", "drove", "big", "small", "lovely", "boils", "level", "new", "york", "today"]
FILLER = ["the", "a", "on", "under", "at", "is", "he", "to"]
COUNT = 66  # questions, and documents that answer them


def documents(seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for number, (one, other) in enumerate(combinations(range(12), 2)):
        words = [SAID[one], SAID[other], *rng.choice(FILLER, 3)]
        made.append(Document(f"d{number}", " ".join(rng.permutation(words))))
    return made


def questions():
    return {
        f"q{number}": f"{ASKED[one]} {ASKED[other]}" for number, (one, other) in enumerate(combinations(range(12), 2))
    }


def files(folder, answers=None):
    """`queries.tsv` and `qrels.tsv`; `answers(number)` gives the number of the document that is judged relevant."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = questions()
    (folder / "queries.tsv").write_text("".join(f"{one}\t{text}\n" for one, text in asked.items()), "utf-8")
    answers = answers or (lambda number: number)
    lines = [f"q{number}\td{answers(number)}\t1" for number in range(len(asked))]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n", "utf-8")
    return folder / "queries.tsv", folder / "qrels.tsv"


def base(folder):
    """A tiny encoder that tells texts apart."""
    tiny.bert(folder, layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    tiny.write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    tiny.pooling(folder / "1_Pooling", pooling_mode_mean_tokens=True)
    tiny.modules_json(
        folder,
        ("", tiny.OLD + "Transformer"),
        ("1_Pooling", tiny.OLD + "Pooling"),
        ("2_Normalize", tiny.OLD + "Normalize"),
    )
    (folder / "2_Normalize").mkdir()
    return folder


def table(folder, dim=32):
    """A static encoder: random vectors of words, which learn in no time."""
    import torch
    from tokenizers import Tokenizer

    from semsearch.training.encoder_folder import write_static

    own = folder.parent / "tokenizer"
    tiny.bert_tokenizer(own)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn((len(tiny.SPECIAL) + len(tiny.WORDS), dim), generator=generator)
    write_static(folder, vectors, Tokenizer.from_file(str(own / "tokenizer.json")))
    return folder
